#!/bin/sh
# Build the report: build.sh NOTEBOOKS OUTPUT
#   NOTEBOOKS  folder of the executed notebooks
#   OUTPUT     the PDF to make; there is none if TeX is missing and cannot be installed
set -eu
notebooks=$1
output=$2
python=.venv/bin/python
packages='texlive-xetex texlive-latex-extra texlive-pictures texlive-fonts-recommended lmodern
    latexmk fonts-dejavu-core'

have_tex() {
    command -v latexmk >/dev/null && command -v xelatex >/dev/null &&
        kpsewhich fvextra.sty tikz.sty lmodern.sty >/dev/null
}

rm -f "$output"
have_tex || sh .ci/install.sh $packages || true
have_tex || {
    echo "The report is not built, because TeX is missing (sudo apt-get install" $packages")."
    exit 0
}
work=$(mktemp -d) # its path has no characters that TeX cannot read
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
"$python" written/fill.py "$notebooks" "$work"
"$python" written/proof_figures.py "$work"
if (cd "$work" && latexmk -xelatex -halt-on-error a4-writeup.tex) >"$work/output" 2>&1; then
    mv "$work/a4-writeup.pdf" "$output"
    mv "$work/a4-writeup.log" "${output%.pdf}.log"
else
    tail -n 40 "$work/output"
    exit 1
fi
