#!/bin/sh
# Install Debian packages as root, or with sudo if it asks for no password: install.sh PACKAGE...
command -v apt-get >/dev/null || exit 1
root=
[ "$(id -u)" = 0 ] || root='sudo -n'
$root true 2>/dev/null || exit 1 # sudo asks for a password
apt="$root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
echo "make: apt-get installs $*"
$apt update
$apt install -y --no-install-recommends "$@"
