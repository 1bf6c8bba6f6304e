# Every kind of event of the kernel side, caused three times: with all there is, without `syscalls` tracepoints, and without BPF.
hostname kernel-test
echo 'root:*:20000:0:99999:7:::' > /etc/shadow
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n' > /etc/passwd
nc -ll -p 4444 -e cat &
# What a fileless program is made of.
ln -s busybox /usr/bin/true
# Emulated, the agent takes a multiple of its share of a core, and would let go of events.
export PICKET_OWN_CPU_PERCENT=1600

true_program=$(type -P true)
# watch NAME: starts the agent, and waits until it sees programs start.
watch() {
  events=/run/$1.ndjson
  picket-agent check --json | report $1-check
  picket-agent run --stdout > $events 2> /run/agent.log &
  agent=$!
  trap 'kill -9 $agent; report agent-log < /run/agent.log' EXIT
  until "$true_program" marked-first; grep -q marked-first $events; do kill -0 $agent || exit 3; sleep 0.5; done
}
unwatch() {
  kill $agent
  wait $agent
  echo $? | report $1-exit
  trap - EXIT
  grep -e marked- -e '"sensor.lost"' -e '"kernel.module"' $events | grep -v marked-first | report $1-event
}
# deed MARK DEED [ARGUMENT...]: under a name that says which.
deed() { ( exec -a "marked-$1" /usr/local/bin/deeds "${@:2}" ); }
doings() {
  cd /tmp
  bash -c 'sleep 2; exit 7' marked-exec 'two words'
  printf '#!/bin/bash -e\nsleep 2\n' > marked-script
  chmod 755 marked-script
  ./marked-script one
  LD_PRELOAD=/nonexistent/marked.so "$true_program" marked-preload
  cp "$true_program" marked-gone
  ./marked-gone
  rm marked-gone
  bash -c 'read -r line < /etc/shadow; sleep 2; :' marked-open
  bash -c ': > /tmp/marked-file; chmod 4755 /tmp/marked-file; mv /tmp/marked-file /tmp/marked-moved; rm /tmp/marked-moved; sleep 2' marked-files
  bash -c 'exec 3<>/dev/tcp/127.0.0.1/4444; bash -c "read -t 8 line" marked-shell <&3 >&3 2> /dev/null' marked-connect
  deed dns ask one.marked-dns.example two.marked-dns.example three.marked-dns.example four.marked-dns.example
  deed serve serve
  deed pieces ask-in-pieces pieces.marked-dns.example written.marked-dns.example
  deed ring ring /tmp/marked-by-ring 4444
  deed ptrace attach
  deed inject inject
  deed fileless fileless marked-memory
  deed setuid setuid 65534
  deed bpf bpf
  deed module module
  rmmod dummy
  bash -c 'exec insmod /modules/dummy.ko' marked-insmod
  mkdir -p marked-mount
  mount -t tmpfs marked-disk /tmp/marked-mount
  umount /tmp/marked-mount
  cd /
  "$true_program" marked-last
  until_line $agent marked-last $events
}
pass() {
  watch $1
  doings || exit 4
  sleep 2
  grep VmRSS /proc/$agent/status | tr -dc 0-9 | report $1-rss
  unwatch $1
}

pass tracepoints
# As Raspberry Pi OS before April 2025.
mount -t tmpfs none /sys/kernel/tracing/events/syscalls
pass raw
# As a system without libbpf1, or a kernel without bpf(2).
for file in /usr/lib/*/libbpf.so.1*; do [ -L "$file" ] || mount --bind /dev/null "$file"; done
pass without-bpf
exit 0
