# What `picket-agent` sees on this kernel: one marked exec, open and connect, then many at once.
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

PICKET_SENSOR_RING_BYTES=65536 picket-agent run --stdout > /run/events.ndjson 2> /run/agent.log &
agent=$!
trap 'kill -9 $agent; report agent-log < /run/agent.log' EXIT
seen() { grep -q -e "$1" /run/events.ndjson; }
first_event() { true_program=$(type -P true); "$true_program"; seen process.exec; }
until_true 60 first_event || exit 3

cd /tmp
bash -c : marked-exec 'two words' &
echo $! | report exec-pid
wait $!
bash -c 'cat /etc/shadow > /dev/null' marked-open
bash -c 'exec 3<>/dev/tcp/192.0.2.2/4444' marked-connect
cd /
until_true 60 seen '"dstPort":4444' || exit 4
grep -e marked- -e '"dstPort":4444' /run/events.ndjson | report event
grep VmRSS /proc/$agent/status | tr -dc 0-9 | report rss-kb

# More than the ring holds, so that its end is passed and its start used again.
bash -c 'for ((i = 0; i < 1500; i++)); do : < /etc/shadow; done; exec cat /etc/shadow' marked-many > /dev/null
opens() { grep '"type":"file.open"' /run/events.ndjson | grep -c marked-many; }
settled() { local now; now=$(wc -c < /run/events.ndjson); sleep 2; [ "$now" = "$(wc -c < /run/events.ndjson)" ]; }
until_true 90 settled
opens | report opens
grep '"type":"sensor.lost"' /run/events.ndjson | report lost
grep '"type":"sensor.state"' /run/events.ndjson | report state
grep VmRSS /proc/$agent/status | tr -dc 0-9 | report rss-after-kb
kill $agent
wait $agent
echo $? | report agent-exit
trap - EXIT
exit 0
