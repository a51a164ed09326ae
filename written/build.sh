#!/bin/sh
# Build the report: build.sh NOTEBOOKS OUTPUT
#   NOTEBOOKS  folder of the executed notebooks
#   OUTPUT     the PDF to make; there is none where TeX is missing and cannot be installed
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
    echo "make: no report is built without TeX (sudo apt-get install" $packages")," \
        "so it is written/a4-writeup.pdf as committed"
    exit 0
}
mkdir -p build
# a folder of its own: two runs cannot meet, and TeX does not see the characters of our path
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/build"
cp -R written "$work"
$python written/lift.py "$notebooks" "$work/build/written/lifted"
$python written/proof_figures.py "$work/build/written"
(cd "$work/written" &&
    latexmk -xelatex -halt-on-error -outdir=../build/written a4-writeup.tex) \
    >build/latex.log 2>&1 || {
    tail -n 40 build/latex.log
    exit 1
}
mv "$work/build/written/a4-writeup.pdf" "$output"
