# shellcheck shell=sh
# Runs as the account itself: a link that it may have laid leads only to what it could write anyway.
# Arguments: set or remove, the folder, the file's name, the role's mark, whether nothing may change (True).
# Standard input: the text to set. Says "changed" when the file is, or would be, another one than before.
set -eu
umask 077
wish=$1 folder=$2 file=$2/$3 mark=$4 only_look=$5

if [ "$wish" = remove ]; then
    grep -qxsF -e "$mark" "$file" || exit 0
    echo changed
    [ "$only_look" = True ] || rm -f "$file"
    exit
fi

new=$(cat)
if [ "$(stat -Lc '%a' "$folder" 2>/dev/null)" = 700 ] && [ "$(stat -Lc '%a' "$file" 2>/dev/null)" = 600 ] && [ "$(cat "$file")" = "$new" ]; then
    exit
fi
echo changed
[ "$only_look" != True ] || exit 0
mkdir -p "$folder"
chmod 0700 "$folder"
rm -f "$file.new"
printf '%s\n' "$new" >"$file.new"
mv -f "$file.new" "$file"
