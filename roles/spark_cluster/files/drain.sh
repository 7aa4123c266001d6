# shellcheck shell=sh disable=SC2016
# Arguments: the folder of components, the port of the worker's page, the seconds that it may take. Answers: nothing, drained, or busy with what runs there.
unit=orchard-spark-worker.service
executors() {
    python3 -c '
import json, sys, urllib.request
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/json/", timeout=5) as page:
    print(", ".join(sorted({each["appdesc"]["name"] for each in json.load(page)["executors"]})))' "$1"
}
gone() {
    systemctl disable --quiet --now "$unit"
    echo drained
}
[ "$(systemctl show -p ActiveState --value "$unit")" = active ] || { systemctl disable --quiet "$unit" 2>/dev/null; exit 0; }
running=$(executors "$2" 2>/dev/null)
[ -n "$running" ] || { gone; exit; }
# Before 3.1 Spark knows no decommissioning, and the signal would end the worker.
case $(basename "$(readlink -f "$1/current/spark")") in
[12].* | 3.0.*)
    echo "busy $running"
    exit
    ;;
esac
systemctl kill --kill-whom=main --signal=SIGPWR "$unit"
left=$3
while [ "$left" -gt 0 ]; do
    # A decommissioned worker may end by itself, and systemd would start it again.
    running=$(executors "$2" 2>/dev/null)
    [ -n "$running" ] || { gone; exit; }
    sleep 2
    left=$((left - 2))
done
echo "busy $running"
