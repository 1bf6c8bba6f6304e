# A device whose state is on the disk: the agent, and deeds before its eyes, each with a number, until the power fails.
hostname device
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
mkdir /disk
mount -t ext4 /dev/vda /disk || exit 3
echo 'root:x:0:0:root:/root:/bin/bash' > /etc/passwd
# What runs from there has a hit of a rule on the device.
cp /bin/busybox /tmp/true
# Emulated, the agent takes a multiple of its share of a core, and would let go of events.
export PICKET_OWN_CPU_PERCENT=1600
touch /run/agent.log
tail -f /run/agent.log | report agent &
picket-agent --config /agent.toml run 2> /run/agent.log &
agent=$!
until_line $agent '"connected"' /run/agent.log || exit 4
echo | report ready
read -r boot < /proc/sys/kernel/random/boot_id
nth=0
while [ $nth -lt 80 ]; do
  program=/busybox/true
  [ $((nth % 10)) -ne 5 ] || program=/tmp/true
  $program deed-$boot-$nth
  echo "$boot $nth $EPOCHREALTIME" | report deed
  nth=$((nth + 1))
  sleep 0.2
done
echo | report done
wait $agent
exit 5
