# shellcheck shell=sh
# Arguments: the generation, the folder of packs, the outside master's URL. Answers: the pack, the digest of its components, and the
# address by which the master's host is reached from here. Python and model travel; Spark and Java are the outside cluster's own.
set -eu
components=$(sed -n 's/^ORCHARD_COMPONENTS=//p' "$1/conf/orchard.env")
pack=$2/$components.tar.gz
if [ ! -e "$pack" ]; then
    umask 027
    mkdir -p "$2"
    python=$(readlink -e "$1/python_env") model=$(readlink -e "$1/model")
    # Only names in the archive are changed, not where links lead (S).
    tar --create --absolute-names --transform="s,^$python,python,S" --transform="s,^$model,model,S" "$python" "$model" |
        gzip -1 >"$pack.new"
    # Those of other versions are of no use any more.
    rm -f "$2"/*.tar.gz
    mv "$pack.new" "$pack"
fi
host=$(printf '%s\n' "$3" | sed -n 's,^[a-z0-9]*://\(https://\)*\([^:/]*\).*,\2,p')
address=$(getent ahosts "${host:-$(hostname)}" | sed -n '1s/ .*//p')
printf '%s\n%s\n%s\n' "$pack" "$components" "$(ip -o route get "$address" | sed -n 's/.* src \([^ ]*\).*/\1/p')"
