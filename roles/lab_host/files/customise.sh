#!/bin/sh
# What every lab host has in common, written into the image's root folder: customise.sh ROOT
# The user `admin` is what an EC2 image gives: a key, sudo, no password.
set -eu
root=$1
cp -a /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
[ ! -f /etc/apt/apt.conf ] || cp /etc/apt/apt.conf "$root/etc/apt/apt.conf"
# Hooks of programs that only the controller has would fail in the guest.
for file in "$root"/etc/apt/apt.conf.d/*; do
    if grep -qE '^[[:space:]]*(DPkg|Dpkg|APT)::(Pre|Post|Update)' "$file" && grep -qE 'packagekit|appstream|etckeeper' "$file"; then
        rm "$file"
    fi
done
[ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
mkdir -p "$root/usr/local/share/ca-certificates"
find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \;
chroot "$root" update-ca-certificates >/dev/null 2>&1

chroot "$root" useradd --create-home --shell /bin/bash --password '*' admin
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/admin"
chmod 0440 "$root/etc/sudoers.d/admin"
chroot "$root" usermod --password '*' root
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'SSHD'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthenticationMethods publickey
UseDNS no
SSHD
rm -f "$root"/etc/ssh/ssh_host_*

: >"$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
chroot "$root" systemctl --quiet enable systemd-networkd.service
# A guest shares the machine's kernel: it has no modules to load, no consoles to log in at, and no
# hypervisor whose sockets should lead to its sshd.
chroot "$root" systemctl --quiet mask systemd-modules-load.service systemd-sysctl.service console-getty.service \
    getty.target sshd-vsock.socket apt-daily.timer apt-daily-upgrade.timer
