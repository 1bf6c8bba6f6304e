# A site on the disk: broker and detector, until the power fails.
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
mkdir /disk
mount -t ext4 /dev/vda /disk || exit 3
echo 'root:x:0:0:root:/root:/bin/bash' > /etc/passwd
touch /run/broker.log /run/detector.log
tail -f /run/broker.log | report broker &
tail -f /run/detector.log | report detector &
picket broker --config /site.toml > /run/broker.log 2>&1 &
broker=$!
until_line $broker 'broker listens' /run/broker.log || exit 4
echo | report broker-listens
picket detector --config /site.toml > /run/detector.log 2>&1 &
detector=$!
until_line $detector 'following the broker' /run/detector.log || exit 5
echo | report ready
wait -n $broker $detector
exit 6
