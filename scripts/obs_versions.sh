#!/usr/bin/env bash
# The tests of OBS against the OBS of another Debian release: made once as a root directory of its own, and run in it.
# usage: scripts/obs_versions.sh SUITE [pytest's arguments; without any: all tests of OBS, with --slow]
#        as root, with mmdebstrap installed; SUITE is trixie, sid, ... The roots stay in $STREAMSD_OBS_ROOTS.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:?usage: scripts/obs_versions.sh SUITE [pytest\'s arguments]}
shift
roots=${STREAMSD_OBS_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/streamsd/obs}
root=$roots/$suite
. scripts/debian_root.sh
debian_root "$root" "$suite" obs-studio,libgl1-mesa-dri,fonts-dejavu-core

# An `obs` that enters the root with this host's files that a profile may name, and becomes OBS there: its process is
# the one that was started, and it can be signalled, traced and waited for as any other.
mkdir -p "$roots/bin-$suite"
cat >"$roots/bin-$suite/obs" <<EOF
#!/bin/sh
exec /usr/bin/unshare --mount -- /bin/sh -c 'set -e
for place in /tmp /dev /proc /sys /run /home /root /srv "$PWD"; do
    [ -d "\$place" ] || continue
    mkdir -p "$root\$place"
    mount --rbind "\$place" "$root\$place"
done
exec /usr/sbin/chroot "$root" /usr/bin/obs "\$@"' obs "\$@"
EOF
chmod 755 "$roots/bin-$suite/obs"

export PATH="$roots/bin-$suite:$PATH" STREAMSD_REQUIRE_PROGRAMS=1
obs --version
[ $# -gt 0 ] || set -- -q --slow tests/contract/test_obs_*.py tests/e2e/obs
exec .venv/bin/python -m pytest -n0 "$@"
