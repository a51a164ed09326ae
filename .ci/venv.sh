#!/bin/sh
# Create a virtual environment, or complete one: venv.sh FOLDER -r FILE [-r FILE]
# RUN is the Makefile's prefix of a long command.
set -eu

fail() {
    echo "make: $*" >&2
    exit 1
}

venv=$1
shift # what is left is for pip

if [ ! -x "$venv/bin/python" ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        sh .ci/install.sh python3 python3-venv ||
        fail "Python 3 with its module venv is missing: sudo apt-get install python3-venv"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "Python 3.10 or newer is needed; this is $(python3 --version)"
    ${RUN:-} python3 -m venv "$venv" || fail "could not create $venv; the reason is above"
fi
${RUN:-} "$venv/bin/python" -m pip install "$@" ||
    fail "pip stopped, and says why above. It needs the network and 6 GB of disk;" \
        "make goes on from here when you run it again."
