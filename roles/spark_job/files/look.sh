# shellcheck shell=sh
# Arguments: the folder of components, the run's folder, its unit, the job's user. Answers a line each: the generation in service, its model, who is at
# work on the cluster of which this host is the master (site.yml, rollback.yml), and what the run is.
readlink -e "$1/current" || echo
basename "$(readlink -e "$1/current/model" || echo none)"
# The lock is that of the action hold_host, and so are the words.
if [ -e /etc/systemd/system/orchard-spark-master.service ] && ! flock --shared --nonblock / true; then
    holder=$(ps -eo args | sed -n 's/^bash -c echo taken;.*held by orchard: //p' | head -n 1)
    echo "${holder:-another run}"
else
    echo
fi
case $(systemctl show -p ActiveState --value "$3") in
active | activating | deactivating | reloading)
    echo active
    exit
    ;;
esac
# As the user, whose links root does not follow.
case $(runuser --user="$4" -- tail -n 1 "$2/progress.jsonl" 2>/dev/null) in
*'"event": "done"'*) echo 'done' ;;
*) if runuser --user="$4" -- test -e "$2/settings.json" 2>/dev/null; then echo failed; else echo none; fi ;;
esac
