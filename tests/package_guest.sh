# Runs in a guest with systemd: /debs has the package and the next version of it;
# tests/guest/words.sh goes before.
quiet() { "$@" >/tmp/out 2>&1 || { cat /tmp/out; false; }; }
export DEBIAN_FRONTEND=noninteractive
systemctl set-default multi-user.target 2>/dev/null
# What belongs to the package, its own settings of the system's included.
left() { find / -xdev \( -path /debs -o -path /proc -o -path /tmp -o -path /var/lib/dhow \) -prune -o -iname '*dhow*' -print | sort; }
left >/tmp/before

quiet dpkg -i /debs/old.deb
say installed systemctl show -P UnitFileState -P ActiveState -P Result dhow
say programs sh -c 'for p in dhow dhow-image dhow-runtime; do command -v $p; done'
mkdir -p /tmp/bb/bin
cp /bin/busybox /tmp/bb/bin/
ln -s busybox /tmp/bb/bin/sleep
tar -C /tmp/bb -c . | dhow import - bb >/dev/null
dhow run -d --name lives --restart always --stop-signal KILL --network none bb sleep 1000 >/dev/null
pid=$(dhow inspect -f '{{.State.Pid}}' lives)

quiet dpkg -i /debs/new.deb
say version dpkg-query -W -f '${Version}' dhow | sed 's/ .*[+]/ +/'
say upgraded systemctl show -P UnitFileState -P ActiveState dhow
[ "$(dhow inspect -f '{{.State.Pid}}' lives)" = "$pid" ] && echo 'the container runs on'
dhow exec lives /bin/busybox echo 'and answers the new version'

quiet dpkg -r dhow
until_so "! kill -0 $pid"
say removed sh -c 'command -v dhow dhow-image dhow-runtime || echo no programs'
systemctl is-active dhow || true
ls -d /var/lib/dhow/images /var/lib/dhow/containers

# Images and containers are the user's.
quiet dpkg -i /debs/new.deb
until_so "dhow ps -q | grep ."
say 'installed again' dhow ps --format '{{.Names}} {{.State}}'
quiet dpkg -P dhow
left >/tmp/after
diff /tmp/before /tmp/after && echo 'purged without a trace'
ls -d /var/lib/dhow/images
