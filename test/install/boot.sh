#!/bin/bash
# Boots systemd from the root "$1" (an overlay over "$2", changes kept in the tmpfs "$3") in the namespaces this was started in. What is the kernel's own is read-only.
set -euo pipefail
root=$1 lower=$2 changes=$3 name=$4
shift 4
mount --make-rprivate /
mkdir -p "$changes"/{upper,work}
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$changes/upper,workdir=$changes/work" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for n in 0 1 2; do ln -s "/proc/self/fd/$n" "dev/$(printf 'stdin\nstdout\nstderr\n' | sed -n "$((n + 1))p")"; done
# Read-only folders of the host, as pairs of path and place.
while [ $# -gt 0 ]; do
  mkdir -p ".$2"
  mount --rbind "$1" ".$2"
  mount -o remount,ro,bind ".$2"
  shift 2
done
# Only at its first boot: the listing of its disk says what was changed since.
[ "$(cat etc/hostname)" = "$name" ] || echo "$name" >etc/hostname
mkdir -p run/host
pivot_root . run/host
umount -l /run/host
rmdir /run/host
# PID 1 of a container: it does not touch what only the host may.
exec env -i container=picket-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init --log-target=null --show-status=0
