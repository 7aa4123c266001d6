# shellcheck shell=sh
# Arguments: the link to the generation, the unit, the seconds to wait. Jupyter starts anew and answers; where the generation has none,
# "none" is said and none runs.
set -eu
configuration=$1/conf/jupyter/jupyter_server_config.py unit=$2 left=$(($3 * 5))
systemctl daemon-reload
systemctl reset-failed "$unit" 2>/dev/null || true
systemctl restart "$unit"
if [ ! -e "$configuration" ]; then
    echo none
    exit
fi
port=$(sed -n 's/^c\.ServerApp\.port = //p' "$configuration")
ask='import sys, urllib.request as r; r.urlopen("http://127.0.0.1:" + sys.argv[1] + "/api", timeout=5)'
until systemctl is-active --quiet "$unit" && /usr/bin/python3 -I -c "$ask" "$port" 2>/dev/null; do
    left=$((left - 1))
    if [ "$left" -le 0 ] || [ "$(systemctl show -p NRestarts --value "$unit")" != 0 ]; then
        said=$(journalctl --unit="$unit" --lines=60 --output=cat --no-pager)
        { printf '%s\n' "$said" | grep -E '^\[[CE] |Error: ' || printf '%s\n' "$said"; } | tail -n 4 >&2
        exit 1
    fi
    sleep 0.2
done
