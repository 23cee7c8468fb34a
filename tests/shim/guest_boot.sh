# Runs in a guest with systemd, twice: before its reboot and after. /src has install.sh, /dhow the
# programs and /pages the rest of what it puts in place; tests/guest/words.sh goes before. With
# LONG=1 also as a user, with units of single containers, and with the journal.
long() { [ "${LONG:-}" != 1 ] || "$@"; }
export XDG_RUNTIME_DIR=
tester() {
    setpriv --reuid=1000 --regid=1000 --init-groups env HOME=/home/tester USER=tester \
        XDG_RUNTIME_DIR=/run/user/1000 PATH=/home/tester/.local/bin:/usr/bin:/bin "$@"
}

first() {
    systemctl set-default multi-user.target
    systemctl add-wants multi-user.target guest-agent.service
    /src/install.sh --bin /dhow --pages /pages --enable
} >/tmp/installing 2>&1

# A user whose systemd runs from the boot on, and their container.
user() {
    mkdir -p /var/lib/systemd/linger
    touch /var/lib/systemd/linger/tester
    systemctl start user@1000.service
    tester /src/install.sh --bin /dhow --pages /pages --enable >/tmp/installing 2>&1
    tar -C /tmp/bb -c bin | tester dhow import - bb >/dev/null
    tester dhow run -d --stop-signal KILL --name own --restart always --network none bb sleep 1000 >/dev/null
}

# What says that it is ready.
libraries() {
    cp --parents $(ldd /usr/bin/systemd-notify | grep -o '/[^ ]*') /usr/bin/systemd-notify /tmp/bb
    [ -e /tmp/bb/lib64 ] || { mkdir -p /tmp/bb/lib64; cp -L /lib64/ld-linux-x86-64.so.2 /tmp/bb/lib64/; }
}

images() {
    mkdir -p /tmp/bb/bin /tmp/bb/etc
    cp /bin/busybox /tmp/bb/bin/
    for name in sh sleep echo; do ln -s busybox /tmp/bb/bin/$name; done
    long libraries
    tar -C /tmp/bb -c . | dhow import - bb >/dev/null
}

wait_for_term='trap "echo asked to end; exit 0" TERM; while :; do sleep 1 & wait $!; done'

containers() {
    local run="dhow run -d --network none --stop-signal KILL"
    dhow run -d --network none --name always --restart always bb sh -c "$wait_for_term" >/dev/null
    $run --name unless --restart unless-stopped bb sleep 1000 >/dev/null
    $run --name halted --restart unless-stopped bb sleep 1000 >/dev/null
    $run --name plain bb sleep 1000 >/dev/null
    dhow run -d --stop-signal KILL --name leaning --restart always --network container:always bb sleep 1000 >/dev/null
    dhow stop -t 0 halted >/dev/null
    until_so 'dhow ps -q --filter name=always | grep .'
}

# A unit of a container that says itself when it is ready; another that dhow speaks for.
notifying() {
    local ready="trap 'exit 0' TERM; sleep 1; : >/ready; /usr/bin/systemd-notify --ready; sleep 1000 & wait"
    dhow create --name speaks --network none --sdnotify container bb sh -c "$ready" >/dev/null
    dhow create --name silent --rm --network none -e 'A=$b %h "c"' bb sh -c 'trap "exit 0" TERM; echo "A is $A"; sleep 1000 & wait' >/dev/null
    cd /etc/systemd/system
    dhow system generate --files --name speaks >/dev/null
    dhow system generate --new --files silent >/dev/null
    cd /
    dhow rm silent >/dev/null
    systemctl daemon-reload
    systemctl start container-speaks container-silent
    dhow cp speaks:/ready - >/dev/null && echo "ready came before the start's end"
    for unit in container-speaks container-silent; do
        pid=$(systemctl show -P MainPID $unit)
        say $unit systemctl show -P ActiveState -P SubState $unit
        tr '\0' ' ' <"/proc/$pid/cmdline" | sed 's/^.*dhow/dhow/; s/ bb .*//'
        echo
    done
    until_so 'journalctl --sync; journalctl -u container-silent -o cat | grep "A is"'
    journalctl -u container-silent -o cat | grep 'A is'
    systemctl stop container-speaks container-silent
    for unit in container-speaks container-silent; do say $unit systemctl show -P ActiveState -P Result $unit; done
    say left dhow ps -a --format '{{.Names}} {{.State}}' --filter name=speaks --filter name=silent
    dhow rm speaks >/dev/null
    rm /etc/systemd/system/container-*.service
}

# A socket of systemd's: whoever comes to it has the container started, and that has the socket.
activated() {
    dhow create --name given --network none --stop-signal KILL bb sh -c \
        'echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; [ -e /proc/self/fd/3 ] && echo open; sleep 1000' >/dev/null
    cd /etc/systemd/system
    dhow system generate --files --name --listen-stream 127.0.0.1:8099 given >/dev/null
    cd /
    systemctl daemon-reload
    systemctl start container-given.socket
    say 'before anybody came' dhow ps -a --format '{{.State}}' --filter name=given
    exec 9<>/dev/tcp/127.0.0.1/8099
    until_so 'dhow logs given | grep open'
    say given dhow logs given
    exec 9>&-
    systemctl stop container-given.socket container-given
    dhow rm given >/dev/null
    rm /etc/systemd/system/container-given.*
}

journal() {
    { printf 'big='; head -c 400000 /dev/zero | tr '\0' x; echo; } >/tmp/labels
    dhow run --name told --network none --log-driver journald --log-opt 'tag={{.Name}}/x' bb \
        sh -c 'echo to the journal; echo an error >&2' >/dev/null 2>&1
    dhow run --name big --network none --log-driver journald --log-opt labels=big --label-file /tmp/labels bb \
        echo of many labels >/dev/null
    until_so 'journalctl --sync; journalctl CONTAINER_NAME=big | grep "many labels"'
    say logs dhow logs told
    journalctl -q CONTAINER_NAME=told -o json MESSAGE='to the journal' | tr ',' '\n' | tr -d '{}\t ' |
        grep -E '"(CONTAINER_NAME|CONTAINER_TAG|IMAGE_NAME|SYSLOG_IDENTIFIER|PRIORITY)"' | sort
    say big sh -c 'dhow logs big; journalctl -q --all -o json CONTAINER_NAME=big | grep -o xxx* | wc -c'
    dhow rm told big >/dev/null
}

if [ ! -e /var/lib/rebooted ]; then
    first || { cat /tmp/installing; exit 1; }
    images
    containers
    long user
    long notifying
    long activated
    long journal
    cat /proc/sys/kernel/random/boot_id >/var/lib/rebooted
    echo rebooting
    sync
    systemctl reboot
    sleep 1000
fi
[ "$(cat /var/lib/rebooted)" != "$(cat /proc/sys/kernel/random/boot_id)" ] && echo rebooted
until_so 'systemctl is-active dhow'
say system systemctl show -P ActiveState -P Result -P UnitFileState dhow
dhow ps -a --format '{{.Names}} {{.State}}' | sort
say asked dhow logs always
back() {
    until_so 'tester dhow ps -q | grep .'
    tester dhow ps --format 'own: {{.Names}} {{.State}}'
}
long back
systemctl stop dhow
dhow ps --format 'still {{.Names}}'
systemctl start dhow
say again sh -c "dhow ps --format '{{.Names}}' | sort"
systemctl disable --now dhow 2>/dev/null
/src/install.sh --uninstall | sed 's/;.*//'
ls /usr/local/bin /usr/local/lib/systemd/system
