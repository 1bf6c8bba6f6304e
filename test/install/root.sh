#!/bin/bash
# Makes the throw-away root "$1" of the release "$2" from the mirror "$3" with the packages "$4", unless it is there. The other arguments are units that never start in it.
set -euo pipefail
root=$1 suite=$2 mirror=$3 packages=$4
shift 4
[ ! -e "$root" ] || exit 0
fresh=$root.new
rm -rf "$fresh"
debootstrap --variant=minbase --include="$packages" "$suite" "$fresh" "$mirror"
for unit in "$@"; do ln -sf /dev/null "$fresh/etc/systemd/system/$unit"; done
rm -f "$fresh"/var/cache/apt/archives/*.deb
mv "$fresh" "$root"
