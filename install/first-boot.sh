#!/bin/sh
# Runs before every start of picket-agent. On an image it makes the machine a device of its site, once, with a token that was put there.
#   first-boot.sh            enrols where there is a token
#   first-boot.sh --record   remembers on which board this machine was enrolled
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
state=/var/lib/picket/agent
agent=$(dirname "$(readlink -f "$0")")/picket-agent

# What two boards with copies of one card differ in: the Raspberry Pi's serial number, the virtual machine's UUID, else the machine id.
board() {
  for file in /proc/device-tree/serial-number /sys/class/dmi/id/product_uuid /etc/machine-id; do
    if [ -s "$file" ] && id=$(tr -d '\000\n' <"$file" 2>/dev/null) && [ -n "$id" ]; then
      printf %s "$id" | sha256sum | cut -c1-64
      return
    fi
  done
  uname -n | sha256sum | cut -c1-64
}

record() {
  umask 077
  board >"$state/board"
}

if [ "${1:-}" = --record ]; then
  record
  exit
fi

token=
for file in /etc/picket/enroll.token /boot/firmware/picket.token /boot/picket.token; do
  if [ -s "$file" ]; then
    token=$file
    break
  fi
done
[ -n "$token" ] || exit 0

replace=
if [ -e "$state/identity.json" ]; then
  if [ "$(cat "$state/board" 2>/dev/null)" = "$(board)" ]; then
    echo "this machine is a device already: $token is not needed and is removed"
    rm -f "$token"
    exit 0
  fi
  # A copy of a device's card on another board: with that identity the site would see two machines on one certificate.
  replace=--replace
fi

# Copies of one image have one host name.
name=$(uname -n | tr '[:upper:]' '[:lower:]' | tr -c 'a-z0-9' - | cut -c1-50 | sed 's/^-*//; s/-*$//')-$(board | cut -c1-6)
# systemd comes back in 5 s, which is too often for a site that says no.
"$agent" enroll --token-file "$token" --name "${name#-}" $replace || { sleep 25; exit 1; }
rm -f "$token"
record
