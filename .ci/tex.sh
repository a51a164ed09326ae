#!/bin/sh
# Succeed if TeX is there; install it as root (or with sudo, if that asks for no password).
set -eu

have_tex() {
    command -v latexmk >/dev/null && command -v xelatex >/dev/null &&
        kpsewhich fvextra.sty lmodern.sty tikz.sty ulem.sty >/dev/null
}

packages='texlive-xetex texlive-latex-extra texlive-pictures texlive-plain-generic
    texlive-fonts-recommended lmodern latexmk fonts-dejavu-core'

if have_tex; then exit 0; fi
if sh .ci/install.sh $packages && have_tex; then exit 0; fi
echo "make: no TeX, so no new report; submission/ holds the report as committed." \
    "For TeX: sudo apt-get install" $packages >&2
exit 1
