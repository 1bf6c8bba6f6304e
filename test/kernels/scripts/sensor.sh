# What `picket-agent` sees on this kernel: marked doings one by one, then opens in a row; and the marked ones again without `syscalls` tracepoints.
hostname kernel-test
echo 'root:*:20000:0:99999:7:::' > /etc/shadow
echo 'root:x:0:0:root:/root:/bin/bash' > /etc/passwd
picket-agent check --json | report check

ip netns add elsewhere
ip link add near type veth peer name far netns elsewhere
ip addr add 192.0.2.1/24 dev near
ip link set near up
ip -n elsewhere addr add 192.0.2.2/24 dev far
ip -n elsewhere link set far up
ip netns exec elsewhere nc -ll -p 4444 -e cat &

true_program=$(type -P true)
# Emulated, the agent takes a multiple of its share of a core, and would let go of events.
export PICKET_OWN_CPU_PERCENT=1600
# watch NAME: starts the agent, and waits until it sees programs start.
watch() {
  events=/run/$1.ndjson
  PICKET_SENSOR_RING_BYTES=65536 picket-agent run --stdout > $events 2> /run/agent.log &
  agent=$!
  trap 'kill -9 $agent; report agent-log < /run/agent.log' EXIT
  until "$true_program"; grep -q process.exec $events; do kill -0 $agent || exit 3; sleep 0.5; done
}
# unwatch NAME: ends it; its last events are then in the file.
unwatch() {
  kill $agent
  wait $agent
  echo $? | report $1-exit
  trap - EXIT
  grep '"type":"sensor.state"' $events | report $1-state
}
mark() {
  cd /tmp
  bash -c : marked-exec 'two words' &
  echo $! | report $1-pid
  wait $!
  bash -c 'cat /etc/shadow > /dev/null' marked-open
  bash -c ': > /tmp/marked-file; chmod 4755 /tmp/marked-file; mv /tmp/marked-file /tmp/marked-moved; rm /tmp/marked-moved'
  bash -c 'exec 3<>/dev/tcp/192.0.2.2/4444' marked-connect
  cd /
  until_line $agent '"dstPort":4444' $events || exit 4
  grep -e marked- -e '"dstPort":4444' $events | report $1-event
}

watch tracepoints
mark tracepoints
grep VmRSS /proc/$agent/status | tr -dc 0-9 | report rss-kb
# More than the ring holds, so that its end is passed and its start used again.
bash -c 'for ((i = 0; i < 1500; i++)); do : < /etc/shadow; done' marked-many
opens() { grep '"type":"file.open"' $events | grep -c marked-many; }
lost() { local sum=0 count; for count in $(grep '"type":"sensor.lost"' $events | grep -o '"count":[0-9]*' | cut -d: -f2); do sum=$((sum + count)); done; echo $sum; }
accounted() { [ $(($(opens) + $(lost))) -ge 1500 ]; }
until_true 120 accounted
grep VmRSS /proc/$agent/status | tr -dc 0-9 | report rss-after-kb
unwatch tracepoints
opens | report opens
grep -o '"type":"[a-z.]*"' $events | sort | uniq -c | report types
grep '"type":"sensor.lost"' $events | report lost

# As Raspberry Pi OS before April 2025.
mount -t tmpfs none /sys/kernel/tracing/events/syscalls
picket-agent check --json | report raw-check
watch raw
mark raw
unwatch raw
exit 0
