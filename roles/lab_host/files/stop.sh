#!/bin/sh
# Stops lab hosts: stop.sh SUPERVISOR:LEADER…, process numbers of systemd-nspawn and of the guest's PID 1.
# SIGRTMIN+4 asks systemd to power off; what is still there after 20 seconds is killed.
set -eu
for pair in "$@"; do
    leader=${pair#*:}
    [ "$leader" = 0 ] || kill -s RTMIN+4 "$leader" 2>/dev/null || true
done
tries=200
for pair in "$@"; do
    supervisor=${pair%:*} leader=${pair#*:}
    while [ -d "/proc/$supervisor" ] && [ "$tries" -gt 0 ] && [ "$leader" != 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    [ ! -d "/proc/$supervisor" ] || kill -s KILL "$supervisor" 2>/dev/null || true
    [ "$leader" = 0 ] || [ ! -d "/proc/$leader" ] || kill -s KILL "$leader" 2>/dev/null || true
done
