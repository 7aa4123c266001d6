# shellcheck shell=sh disable=SC1091
# Runs on hosts whose Python may be too old for any module, hence plain sh. Answers: lines "orchard:name=value".
say() { printf 'orchard:%s=%s\n' "$1" "$2"; }

disk() {
    folder=$1
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    # shellcheck disable=SC2046
    set -- "$1" $(df -Pk "$folder" | tail -n 1)
    say "disk:$1" "$2 $5"
}

say sent "$ORCHARD_SENT"
say time "$(date -u +%s)"
say python "$("$ORCHARD_PYTHON" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)"
say os "$(. /etc/os-release; echo "$ID $VERSION_ID")"
say os_name "$(. /etc/os-release; echo "$PRETTY_NAME")"
say machine "$(uname -m)"
say kernel "$(uname -r)"
say name "$(uname -n)"
# Another one for each machine and each of its starts.
say boot "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
flags=" $(sed -n '/^flags/{s/.*://p;q}' /proc/cpuinfo) " features=
for feature in avx2 avx512f amx_bf16; do
    case $flags in *" $feature "*) features="$features$feature " ;; esac
done
say processor "${features:-plain }"
if getent ahosts "$(uname -n)" >/dev/null 2>&1; then say resolves yes; else say resolves no; fi
if [ -d /run/systemd/system ]; then say systemd yes; else say systemd no; fi
if [ -e "$ORCHARD_ROOT/current" ]; then say provisioned yes; else say provisioned no; fi
if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then say sudo yes; else say sudo no; fi
while read -r name value _; do
    if [ "$name" = MemTotal: ]; then say memory_kb "$value"; fi
    if [ "$name" = SwapTotal: ]; then say swap_kb "$value"; fi
done </proc/meminfo
say memory_limit "$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)"
say processors "$(nproc)"
for folder in $ORCHARD_FOLDERS; do disk "$folder"; done
