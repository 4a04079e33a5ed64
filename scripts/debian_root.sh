# To be sourced. debian_root DIRECTORY SUITE PACKAGES makes the root directory of another Debian release there, with
# these packages (a,b,c), unless there is one. It takes root, and mmdebstrap.
debian_root() {
    local root=$1 suite=$2 packages=$3 mirror
    [ "$(id -u)" = 0 ] || { echo "It takes root: a root directory of its own is entered by chroot." >&2; return 1; }
    [ -d "$root" ] && return
    command -v mmdebstrap >/dev/null || { echo "mmdebstrap is not installed." >&2; return 1; }
    # from where this host itself has its packages
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian Debian //p' | head -n1)
    [ -n "$mirror" ] || { echo "apt has no source of Debian's own packages." >&2; return 1; }
    mkdir -p "$(dirname "$root")"
    rm -rf "$root.part"
    # a mirror that stands still serves lists that have run out
    mmdebstrap --variant=apt --include="$packages" --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$root.part" "$mirror"
    # whom this host trusts beside the usual: a proxy, say
    mkdir -p "$root.part/usr/local/share/ca-certificates"
    cp -r /usr/local/share/ca-certificates "$root.part/usr/local/share/"
    [ ! -x "$root.part/usr/sbin/update-ca-certificates" ] || chroot "$root.part" update-ca-certificates
    mv "$root.part" "$root"
}
