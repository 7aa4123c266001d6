# shellcheck shell=sh
# Arguments: the folder of components, the run's folder, its unit. Answers: the generation in service, its model, and what the run is.
readlink -e "$1/current" || echo
basename "$(readlink -e "$1/current/model" || echo none)"
case $(systemctl show -p ActiveState --value "$3") in
active | activating | deactivating | reloading)
    echo active
    exit
    ;;
esac
case $(tail -n 1 "$2/progress.jsonl" 2>/dev/null) in
*'"event": "done"'*) echo 'done' ;;
*) if [ -e "$2/settings.json" ]; then echo failed; else echo none; fi ;;
esac
