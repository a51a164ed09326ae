#!/bin/sh
# Build the report, in the project's folder: sh written/build.sh NOTEBOOKS OUTPUT
#   NOTEBOOKS  the folder of the executed notebooks
#   OUTPUT     the PDF to make; TeX's log goes beside it
set -eu
notebooks=$1
output=$2
python=.venv/bin/python

work=$(mktemp -d) # its path has no characters that TeX cannot read
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
"$python" written/fill.py "$notebooks" "$work"
"$python" written/proof_figures.py "$work"
if (cd "$work" && latexmk -xelatex -halt-on-error a4-writeup.tex) >"$work/output" 2>&1; then
    mv "$work/a4-writeup.log" "${output%.pdf}.log"
    mv "$work/a4-writeup.pdf" "$output"
else
    tail -n 40 "$work/output"
    exit 1
fi
