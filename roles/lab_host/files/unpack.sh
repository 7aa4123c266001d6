#!/bin/sh
# One host's tree, from the image: unpack.sh TAR LAB HOST ADDRESS/PREFIX GATEWAY MTU
# It gets its name last, by a rename: a tree under its own name is whole.
set -eu
tar=$1 lab=$2 host=$3 address=$4 gateway=$5 mtu=$6
tree=$lab/machines/$host new=$lab/machines/.$host.new
# A run that was killed may have left one of these at work.
exec 9>"$lab/.lock"
flock 9
[ ! -d "$tree" ] || exit 0
umask 022
rm -rf "$new"
mkdir -p "$new"
tar -xf "$tar" -C "$new" --numeric-owner --xattrs --xattrs-include='*'
echo "$host" >"$new/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n%s %s\n' "${address%/*}" "$host" >"$new/etc/hosts"
: >"$new/etc/resolv.conf"
# The number keeps it before 80-container-host0.network, which would take a link-local address.
cat >"$new/etc/systemd/network/10-lab.network" <<NETWORK
[Match]
Name=host0
[Link]
MTUBytes=$mtu
[Network]
Address=$address
Gateway=$gateway
LinkLocalAddressing=no
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
NETWORK
install -m 0600 "$lab/hostkeys/$host" "$new/etc/ssh/ssh_host_ed25519_key"
install -m 0644 "$lab/hostkeys/$host.pub" "$new/etc/ssh/ssh_host_ed25519_key.pub"
install -d -m 0700 "$new/root/.cache" "$new/root/.cache/pip"
install -d -m 0700 -o 1000 -g 1000 "$new/home/admin/.ssh"
install -m 0600 -o 1000 -g 1000 "$lab/id_ed25519.pub" "$new/home/admin/.ssh/authorized_keys"
# The lists are empty, so their age must not say that they are fresh.
touch -d @0 "$new/var/lib/apt/lists"
mv "$new" "$tree"
