#!/bin/sh
# The lab's bridge, its way out, and the links of the guests that already run: network.sh up|down|check-up|check-down
# Environment: LAB BRIDGE SUBNET GATEWAY, MACHINES (those of it that run).
# Says one line for each thing that it made or removed, nothing when all is as it should be; the checks only say it.
# What labs share and change on the machine is noted in /run, which a reboot empties together with what it notes.
set -eu
action=$1
shared=/run/orchard-lab
mkdir -p /run/lock
exec 9>/run/lock/orchard-lab.lock
flock 9
table=$(echo "orchard_$BRIDGE" | tr - _)
mark="orchard lab $LAB"

run() {
    case $action in
    check-*) ;;
    *) "$@" ;;
    esac
}

has_nat() {
    if command -v nft >/dev/null; then
        nft list table ip "$table" 2>/dev/null | grep -qF "$SUBNET"
    else
        iptables -w -t nat -S POSTROUTING | grep -qF -- "--comment \"$mark\""
    fi
}

add_nat() {
    if command -v nft >/dev/null; then
        nft -f - <<RULES
table ip $table
delete table ip $table
table ip $table {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr $SUBNET ip daddr != $SUBNET masquerade comment "$mark"
    }
}
RULES
    else
        iptables -w -t nat -A POSTROUTING -s "$SUBNET" ! -d "$SUBNET" -m comment --comment "$mark" -j MASQUERADE
    fi
}

remove_nat() {
    if command -v nft >/dev/null; then
        nft delete table ip "$table"
    else
        iptables -w -t nat -D POSTROUTING -s "$SUBNET" ! -d "$SUBNET" -m comment --comment "$mark" -j MASQUERADE
    fi
}

# Docker sets the policy of FORWARD to drop; no rule in another table can allow what it refuses.
forward_is_closed() {
    command -v iptables >/dev/null && iptables -w -S FORWARD 2>/dev/null | grep -qx -- '-P FORWARD DROP'
}

has_forward() {
    iptables -w -S FORWARD | grep -qF -- "--comment \"$mark\""
}

forward_rules() {
    iptables -w "$1" FORWARD -i "$BRIDGE" -m comment --comment "$mark" -j ACCEPT
    iptables -w "$1" FORWARD -o "$BRIDGE" -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "$mark" -j ACCEPT
}

add_bridge() {
    ip link show dev "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge
    ip address replace "$GATEWAY/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
}

# A bridge that was deleted under running guests leaves their links without a master.
# systemd-nspawn shortens a long name of a link, and gives it the whole one as an alternative.
attach_guests() {
    for machine in $MACHINES; do
        link=$(ip -o link show dev "vb-$machine" 2>/dev/null || true)
        case $link in
        "" | *" master $BRIDGE "*) ;;
        *)
            echo "$machine is attached to $BRIDGE"
            run ip link set "vb-$machine" master "$BRIDGE" up
            ;;
        esac
    done
}

up() {
    umask 077
    run mkdir -p "$shared/$BRIDGE"
    if [ "$(stat -f -c %T /run)" != tmpfs ] && ! grep -q ' /run/systemd/nspawn ' /proc/mounts; then
        echo "/run/systemd/nspawn is a tmpfs"
        run mkdir -p /run/systemd/nspawn
        run mount -t tmpfs -o mode=0755 orchard-lab /run/systemd/nspawn
    fi
    if ! ip -o -4 address show dev "$BRIDGE" up 2>/dev/null | grep -qF " $GATEWAY/24 "; then
        echo "$BRIDGE is up with $GATEWAY/24"
        run add_bridge
    fi
    attach_guests
    if [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
        echo "net.ipv4.ip_forward is 1"
        run touch "$shared/ip_forward_was_0"
        run sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    fi
    if ! has_nat; then
        echo "$SUBNET is masqueraded"
        run add_nat
    fi
    if forward_is_closed && ! has_forward; then
        echo "FORWARD accepts $BRIDGE"
        run forward_rules -I
    fi
}

down() {
    for socket in "$shared/$BRIDGE"/*; do
        [ ! -S "$socket" ] || run ssh -q -O exit -o ControlPath="$socket" lab 2>/dev/null || true
    done
    if has_nat; then
        echo "$SUBNET is not masqueraded any more"
        run remove_nat
    fi
    if command -v iptables >/dev/null && has_forward; then
        echo "FORWARD does not accept $BRIDGE any more"
        run forward_rules -D
    fi
    if ip link show dev "$BRIDGE" >/dev/null 2>&1; then
        echo "$BRIDGE is gone"
        run ip link delete "$BRIDGE"
    fi
    run rm -rf "${shared:?}/$BRIDGE"
    # The last lab gives back what the labs had changed for the whole machine.
    if [ -d "$shared" ] && [ -z "$(find "$shared" -mindepth 1 -maxdepth 1 -type d)" ]; then
        if [ -e "$shared/ip_forward_was_0" ]; then
            echo "net.ipv4.ip_forward is 0 again"
            run sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'
        fi
        if grep -q '^orchard-lab /run/systemd/nspawn ' /proc/mounts; then
            echo "/run/systemd/nspawn is no tmpfs any more"
            run umount /run/systemd/nspawn
        fi
        run rm -rf "$shared"
    fi
}

case $action in
*down) down ;;
*up) up ;;
esac
