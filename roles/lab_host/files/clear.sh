#!/bin/sh
# Ends and removes what a lab host leaves whose systemd-nspawn was killed: clear.sh MACHINE TREE
# A guest with user IDs of its own outlives it (where PID 1 is systemd, the guest is a unit, and systemd ends that).
# The kernel removes its link, but late. A systemd-nspawn from 257 on refuses to boot while the earlier one's mount is there.
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
ip link delete dev "vb-$1" 2>/dev/null || true
# The kernel keeps a file that it swaps to beyond the guest's end, and nobody may remove it. /proc/swaps has the path that it had
# in the guest or outside. What a link in the tree leads to elsewhere is not the guest's.
tree=$(realpath -e "$2" 2>/dev/null || true)
sed -n 's/ .*//; 2,$p' /proc/swaps | while [ -n "$tree" ] && read -r path; do
    for file in "$path" "$tree$path"; do
        case $(realpath -e "$file" 2>/dev/null) in
        "$tree"/*) swapoff "$file" 2>/dev/null || true ;;
        esac
    done
done
exported=/run/systemd/nspawn/unix-export/$1
if grep -q " $exported " /proc/mounts; then
    umount "$exported"
    rmdir "$exported"
fi
