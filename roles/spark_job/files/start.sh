# shellcheck shell=sh
# Arguments: the job's user, the run's folder, its unit, the generation, the command. The unit outlives who started it.
set -eu
user=$1 folder=$2 unit=$3 generation=$4
shift 4
systemctl reset-failed "$unit" 2>/dev/null || true
rm -f "$folder/progress.jsonl"
[ -e "$folder/job.log" ] || install -m 0640 -o "$user" -g "$user" /dev/null "$folder/job.log"
exec systemd-run --quiet --unit="$unit" --description="Orchard: images to a PCA matrix" \
    --uid="$user" --gid="$user" \
    --property=WorkingDirectory="$folder" \
    --property=EnvironmentFile="$generation/conf/orchard.env" \
    --property=StandardOutput="append:$folder/job.log" \
    --property=StandardError="append:$folder/job.log" \
    --property=UMask=0027 \
    --property=NoNewPrivileges=yes \
    --setenv=LANG=C.UTF-8 \
    --setenv=TMPDIR="$(dirname "$(dirname "$folder")")/local" \
    -- "$@"
