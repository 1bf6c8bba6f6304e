# A site on this kernel and a device in a network namespace of its own: the operator isolates it and takes it back.
# /site holds the operator's keys and the site, made before.
export PICKET_HOME=/site/operator
# Emulated, the agent takes a multiple of its share of a core, and would let go of events.
export PICKET_OWN_CPU_PERCENT=1600
hostname kernel-test
echo 'root:*:20000:0:99999:7:::' > /etc/shadow
echo 'root:x:0:0:root:/root:/bin/bash' > /etc/passwd
picket model score cmdline /events.ndjson --json | report scores

ip netns add device
ip link add to-device type veth peer name to-site netns device
ip addr add 192.0.2.1/24 dev to-device
ip link set to-device up
ip -n device addr add 192.0.2.2/24 dev to-site
ip -n device link set lo up
ip -n device link set to-site up
on_device() { ip netns exec device "$@"; }

logs() { report broker-log < /run/broker.log; report agent-log < /run/agent.log; }
trap logs EXIT
touch /run/agent.log
picket broker --config /site/site.toml > /run/broker.log 2>&1 &
broker=$!
until_line $broker 'broker listens' /run/broker.log || exit 3
picket token create --out /run/token || exit 4
on_device picket-agent enroll --name arm --token-file /run/token 2>> /run/agent.log || exit 5
on_device picket-agent run 2>> /run/agent.log &
agent=$!
until_line $agent '"connected"' /run/agent.log || exit 6

# Anything but the broker's ports, on the broker's own host.
nc -ll -p 7777 -e cat &
can_reach() { if on_device timeout 10 bash -c "exec 3<>/dev/tcp/192.0.2.1/$1" 2> /dev/null; then echo yes; else echo no; fi; }
cat > /run/live.sh <<'LIVE'
exec 3<>/dev/tcp/192.0.2.1/7777
echo before >&3
read -r -t 60 -u 3 answer
echo "before: $answer"
until [ -e /run/isolated ]; do read -r -t 1 -u 3; done
{ echo after >&3; } 2> /dev/null
if read -r -t 10 -u 3 answer; then echo "after: $answer"; else echo 'after: dead'; fi
LIVE
on_device bash /run/live.sh > /run/live.log 2>&1 &
live=$!
until_line $live '^before: before' /run/live.log || exit 7
can_reach 7777 | report other-before

picket events --follow --type process.exec --json > /run/events.ndjson &
events=$!
picket isolate arm --yes --reason 'kernel test' --json | report isolate
touch /run/isolated
wait $live
report live < /run/live.log
can_reach 7777 | report other-isolated
can_reach 8883 | report broker-isolated
on_device nft list counters | grep -A1 dropped_output | grep packets | report dropped

# What happens on the device now still gets to the site.
bash -c : marked-isolated
# In the arguments of what looks for it, the quotes are escaped.
marked='"argv":."bash","-c",":","marked-isolated"'
until_line $events "$marked" /run/events.ndjson || exit 8
grep "$marked" /run/events.ndjson | report event
kill $events

picket release arm --json | report release
can_reach 7777 | report other-released
on_device nft list ruleset | report ruleset-released
grep VmRSS /proc/$(pidof picket-agent)/status | tr -dc 0-9 | report rss-kb
kill $agent
wait $agent
kill $broker
wait $broker
trap - EXIT
exit 0
