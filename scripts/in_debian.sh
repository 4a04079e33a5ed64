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
[ "$(id -u)" = 0 ] || { echo "It takes root: a root directory of its own is entered by chroot." >&2; exit 1; }

if [ ! -d "$root" ]; then
    command -v mmdebstrap >/dev/null || { echo "mmdebstrap is not installed." >&2; exit 1; }
    # from where this host itself has its packages
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian Debian //p' | head -n1)
    [ -n "$mirror" ] || { echo "apt has no source of Debian's own packages." >&2; exit 1; }
    mkdir -p "$roots"
    rm -rf "$root.part"
    # a mirror that stands still serves lists that have run out
    mmdebstrap --variant=apt --include=ca-certificates,git,make --aptopt='Acquire::Check-Valid-Until "false"' \
        "$suite" "$root.part" "$mirror"
    # whom this host trusts beside the usual: a proxy, say
    cp -r /usr/local/share/ca-certificates "$root.part/usr/local/share/"
    chroot "$root.part" update-ca-certificates
    mv "$root.part" "$root"
fi

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
