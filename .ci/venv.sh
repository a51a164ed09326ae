#!/bin/sh
# Make a virtual environment: venv.sh FOLDER REQUIREMENTS...
# RUN, where it is set, is a prefix that ends a command together with this script.
set -eu

fail() {
    echo "make: $*" >&2
    exit 1
}

venv=$1
shift
for file; do
    set -- "$@" -r "$file"
    shift
done

python3 -c 'import ensurepip, venv' 2>/dev/null || sh .ci/install.sh python3 python3-venv ||
    fail "Python 3 with its venv module is missing: sudo apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "Python 3.10 or newer is needed, and this is $(python3 --version)"
${RUN:-} python3 -m venv "$venv" || fail "there is no virtual environment, for the reason above"
rm -f "$venv/pip.log"
${RUN:-} "$venv/bin/python" -m pip install --log "$venv/pip.log" "$@" || {
    ! grep -Eqi 'connection broken|name resolution|timed out|proxy' "$venv/pip.log" ||
        fail "there is no network to download the packages: connect, and run make again"
    fail "pip could not install the packages, for the reason above"
}
