#!/bin/sh
# The lab's ssh keys, made before any host runs, so that known_hosts is right from the start: keys.sh LAB HOST=ADDRESS…
set -eu
lab=$1
shift
umask 077
exec 9>"$lab/.lock"
flock 9
mkdir -p "$lab/hostkeys"
make_key() {
    [ -s "$1" ] && [ -s "$1.pub" ] && return
    rm -f "$1" "$1.pub"
    ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1"
    echo "made $1"
}
make_key "$lab/id_ed25519" "orchard lab"
for pair in "$@"; do
    host=${pair%%=*}
    make_key "$lab/hostkeys/$host" "$host"
    printf '%s,%s %s\n' "${pair#*=}" "$host" "$(cut -d' ' -f1,2 "$lab/hostkeys/$host.pub")"
done >"$lab/known_hosts.new"
if cmp -s "$lab/known_hosts.new" "$lab/known_hosts"; then
    rm "$lab/known_hosts.new"
else
    mv "$lab/known_hosts.new" "$lab/known_hosts"
    echo "wrote $lab/known_hosts"
fi
