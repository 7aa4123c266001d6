# shellcheck shell=sh disable=SC2016
# Arguments: the job's user, the run's folder, its unit, the generation, the command. Standard input: the job's settings.
# The run's folder is the user's, who may have laid links in it: root opens nothing there, the user itself does.
set -eu
user=$1 folder=$2 unit=$3 generation=$4
shift 4
case $(systemctl show -p ActiveState --value "$unit") in
active | activating | deactivating | reloading)
    echo "The run's unit $unit is active already; it goes on and nothing of it was changed. Run again to watch it." >&2
    exit 1
    ;;
esac
systemctl reset-failed "$unit" 2>/dev/null || true
runuser --user="$user" -- sh -c '
    set -eu
    umask 027
    mkdir -p "$1"
    cd "$1"
    rm -f progress.jsonl settings.json
    cat >settings.json' prepare "$folder"
# The unit outlives who started it; its log is opened by its own shell.
exec systemd-run --quiet --unit="$unit" --description="Orchard: images to a PCA matrix" \
    --uid="$user" --gid="$user" \
    --property=WorkingDirectory="$folder" \
    --property=EnvironmentFile="$generation/conf/orchard.env" \
    --property=UMask=0027 \
    --property=NoNewPrivileges=yes \
    --property=OOMPolicy=continue \
    --setenv=LANG=C.UTF-8 \
    --setenv=TMPDIR="$(dirname "$(dirname "$folder")")/local" \
    -- /bin/sh -c 'exec </dev/null >>job.log 2>&1; exec "$@"' job "$@"
