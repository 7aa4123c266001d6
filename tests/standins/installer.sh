#!/bin/sh
# A stand-in for @NAME@, made by Orchard's tests/standins: no Anaconda, but a Python @VERSION@ that is installed in the same way.
# The archive with the digest below follows the last line of this script.
set -u
SHA256=@SHA256@
LINES=@LINES@
PREFIX=${HOME:-/opt}/anaconda3
BATCH=0
FORCE=0

usage() {
  cat <<TEXT
usage: $0 [options]

A stand-in for @NAME@: installs a Python @VERSION@.

-b           run install in batch mode (without manual intervention),
             it is expected the license terms are agreed upon
-f           no error if install prefix already exists
-h           print this help message and exit
-p PREFIX    install prefix, defaults to $PREFIX, must not contain spaces
-s           skip running pre/post-link/install scripts
-u           update an existing installation
-t           run package tests after installation (may install conda-build)
TEXT
}

while getopts "bfhp:sut" option; do
  case $option in
    b) BATCH=1 ;;
    f | u) FORCE=1 ;;
    h) usage && exit 2 ;;
    p) PREFIX=$OPTARG ;;
    s | t) ;;
    *) printf "ERROR: did not recognize option '%s', please try -h\n" "$option" >&2 && exit 1 ;;
  esac
done

if [ "$BATCH" = 0 ]; then
  echo "ERROR: this stand-in asks nothing; run it with -b." >&2
  exit 1
fi
case $PREFIX in
  *[[:space:]]*) printf 'ERROR: Cannot install into directories with spaces\n' >&2 && exit 1 ;;
esac
if [ "$FORCE" = 0 ] && [ -e "$PREFIX" ]; then
  printf "ERROR: File or directory already exists: '%s'\n" "$PREFIX" >&2
  printf 'If you want to update an existing installation, use the -u option.\n' >&2
  exit 1
fi
if ! mkdir -p "$PREFIX"; then
  printf "ERROR: Could not create directory: '%s'\n" "$PREFIX" >&2
  exit 1
fi
PREFIX=$(cd "$PREFIX" && pwd)
echo "PREFIX=$PREFIX"

found=$(tail -n "+$LINES" "$0" | sha256sum | cut -d ' ' -f 1)
if [ "$found" != "$SHA256" ]; then
  printf 'ERROR: sha256sum mismatch of tar archive\nexpected: %s\n     got: %s\n' "$SHA256" "$found" >&2
  exit 1
fi

echo "Unpacking payload ..."
if ! tail -n "+$LINES" "$0" | tar --extract --gzip --no-same-owner --directory="$PREFIX"; then
  echo "ERROR: could not extract the tar archive" >&2
  exit 1
fi
if ! "$PREFIX/bin/python3.8" -I -S "$PREFIX/conda-meta/place.py"; then
  echo "ERROR: could not write the prefix into its files" >&2
  exit 1
fi
echo "installation finished."
exit 0
