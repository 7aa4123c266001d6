#!/bin/sh
# Stops lab hosts: stop.sh TREES MACHINE:SUPERVISOR:LEADER:NAME…, with the folder of their trees, and for each the process
# numbers of systemd-nspawn and of the guest's PID 1.
# SIGRTMIN+4 asks systemd to power off; what is still there after 20 seconds altogether is killed.
set -eu
trees=$1
shift
for host in "$@"; do
    leader=${host#*:*:} leader=${leader%:*}
    [ "$leader" = 0 ] || kill -s RTMIN+4 "$leader" 2>/dev/null || true
done
tries=200
for host in "$@"; do
    machine=${host%%:*} supervisor=${host#*:} leader=${host#*:*:}
    supervisor=${supervisor%%:*} leader=${leader%:*}
    while [ "$leader" != 0 ] && [ -d "/proc/$supervisor" ] && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    [ "$supervisor" = 0 ] || kill -s KILL "$supervisor" 2>/dev/null || true
    "${0%/*}/clear.sh" "$machine" "$trees/${host##*:}"
done
