#!/bin/sh
# Let the Colab badges open the notebooks of a GitHub repository: badges.sh OWNER/NAME
set -eu
echo "$1" | grep -Eqx '[A-Za-z0-9-]+/[A-Za-z0-9._-]+' || {
    echo "name the repository: make badges REPOSITORY=owner/name" >&2
    exit 1
}
colab='https://colab\.research\.google\.com/github/'
for notebook in a4-gnn.ipynb a4-unet.ipynb; do
    sed -i "s|\($colab\)[^)\\\"]*|\1$1/blob/main/$notebook|g" "$notebook"
    sed -i "/$notebook/s|\($colab\)[^)\"]*|\1$1/blob/main/$notebook|g" README.md
done
echo "the badges open $1; the notebooks have changed, so run: make pdf"
