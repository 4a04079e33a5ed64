#!/usr/bin/env bash
# Runs a command in a fresh clone on another Debian release: in a root directory of its own, with its own Python and
# programs, processes and network (loopback is all there is of that once the set-up is done).
# usage: scripts/in_debian.sh SUITE [COMMAND...; without any: make test]
#        as root, with mmdebstrap installed; SUITE is trixie, sid, ... The roots stay in $STREAMSD_DEBIAN_ROOTS.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:?usage: scripts/in_debian.sh SUITE [COMMAND...]}
shift
[ $# -gt 0 ] || set -- make test
roots=${STREAMSD_DEBIAN_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/streamsd/debian}
root=$roots/$suite clone=srv/streamsd
. scripts/debian_root.sh
debian_root "$root" "$suite" ca-certificates,git,make

cp /etc/resolv.conf /etc/hosts "$root/etc/"
[ -d "$root/$clone" ] || git clone --quiet . "$root/$clone"
git -C "$root/$clone" fetch --quiet "$PWD" HEAD
git -C "$root/$clone" reset --quiet --hard FETCH_HEAD

enter() { # the first process takes in orphans, as an init does
    unshare --mount --pid --fork --kill-child "$@" -- /bin/bash -c 'set -e
root=$1; shift
ip link set lo up
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
for place in /dev /sys; do mount --rbind "$place" "$root$place"; done
exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    STREAMSD_REQUIRE_PROGRAMS=1 /bin/bash -c "cd /'"$clone"'; \"\$@\"; exit \$?" in_debian "$@"' in_debian "$root" "${command[@]}"
}

command=(make setup)
enter
command=("$@")
enter --net
