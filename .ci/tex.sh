#!/bin/sh
# Succeed if TeX is there; install it as root (or with sudo, if that asks for no password).
set -eu

have_tex() {
    command -v latexmk >/dev/null && command -v xelatex >/dev/null &&
        kpsewhich fvextra.sty lmodern.sty tikz.sty ulem.sty >/dev/null
}

packages='texlive-xetex texlive-latex-extra texlive-pictures texlive-plain-generic
    texlive-fonts-recommended lmodern latexmk fonts-dejavu-core'

have_tex || sh .ci/install.sh $packages || true
have_tex || {
    echo "make: no TeX, so no new report; submission/ holds the report as committed." \
        "For TeX: sudo apt-get install" $packages >&2
    exit 1
}
