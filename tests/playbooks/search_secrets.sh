#!/bin/bash
# Search a host for the fixed strings in the file $1: process arguments, the journal, files that others can read and logs.
# Each prints how many places were searched and which had one; the file of patterns is removed. Nothing prints a secret.
patterns=$1
trap 'rm -f "$patterns"' EXIT

answer() { printf 'SEARCHED %d FOUND %s\n' "$1" "$(tr '\n' ' ' <<<"$2" | sed 's/ *$//')"; }

mapfile -t processes < <(ls -d /proc/[0-9]*)
found=$(for process in "${processes[@]}"; do
  [ -r "$process/cmdline" ] || continue
  tr '\0' '\n' 2>/dev/null <"$process/cmdline" | grep -qFf "$patterns" && cat "$process/comm"
done)
answer "${#processes[@]}" "$found"

found=$(journalctl -o cat --no-pager | grep -cFf "$patterns" | grep -vx 0)
answer "$(journalctl -o cat --no-pager | wc -l)" "$found"

files() {
  find /etc /home /opt /var /tmp /srv /usr/local -xdev -type f -perm /0044 -size -20M -print0
  find /var/log /var/lib/orchard -xdev -type f -print0 2>/dev/null
}
answer "$(files | tr -cd '\0' | wc -c)" "$(files | xargs -0 grep -lFf "$patterns" 2>/dev/null)"
