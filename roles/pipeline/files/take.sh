# shellcheck shell=bash
# Arguments: the user, its folder, root's folder that gets what lies there.
# The user itself reads its files, so that no link makes root read another's; tar keeps names inside the folder.
set -euo pipefail
umask 022
runuser --user="$1" -- tar --create --directory="$2" . | tar --extract --no-same-owner --no-same-permissions --directory="$3"
odd=$(find "$3" ! -type f ! -type d)
if [ -n "$odd" ]; then
    echo "A prepared model has files and folders only, but these are neither: $odd" >&2
    exit 1
fi
chmod -R u=rwX,go=rX "$3"
