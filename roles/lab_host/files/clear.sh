#!/bin/sh
# Ends what is left of a lab host whose systemd-nspawn is gone, and removes its cgroup: clear.sh MACHINE
# A guest with user IDs of its own outlives a systemd-nspawn that was killed, and keeps its network link.
# Where PID 1 is systemd, the guest is a unit and systemd does all this.
set -eu
find /sys/fs/cgroup -maxdepth 3 -path "*/orchard-lab/$1" 2>/dev/null | while read -r group; do
    tries=50
    while [ "$tries" -gt 0 ]; do
        processes=$(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null || true)
        [ -n "$processes" ] || break
        # shellcheck disable=SC2086  # a list of numbers
        kill -s KILL $processes 2>/dev/null || true
        sleep 0.1
        tries=$((tries - 1))
    done
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    rmdir "${group%/*}" 2>/dev/null || true
done
