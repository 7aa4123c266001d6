#!/bin/sh
# Builds versitygw from its Go module, once: build_gateway.sh TARGET VERSION PYTHON REQUIREMENTS
# TARGET is a folder: versitygw and SHA256SUMS in it, complete or not there. Go's checksum database vouches for the sources.
# PYTHON makes an environment with Go in it (REQUIREMENTS, by hash) where the system's own Go is missing or too old.
set -eu
target=$1 version=$2 python=$3 requirements=$4
mkdir -p "$(dirname "$target")"
exec 9>"$target.lock"
flock 9
if [ -f "$target/SHA256SUMS" ] && (cd "$target" && sha256sum --quiet --check SHA256SUMS); then
    exit 0
fi
work=$target.build
rm -rf "$work" "$target"
mkdir -p "$work/bin"

go=$(command -v go || true)
if [ -z "$go" ] || ! "$go" version | awk '{ split($3, v, /[go.]+/); exit !(v[2] > 1 || v[3] >= 25) }'; then
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet --require-hashes --requirement "$requirements"
    go=$work/venv/bin/go
fi
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-trimpath -modcacherw -buildvcs=false'
export GOBIN="$work/bin" GOPATH="$work/path" GOCACHE="$work/cache" GOTMPDIR="$work"
nice "$go" install -ldflags='-s -w' "github.com/versity/versitygw/cmd/versitygw@v$version"
(cd "$work/bin" && sha256sum versitygw >SHA256SUMS)
mv "$work/bin" "$target"
rm -rf "$work"
echo "built $target/versitygw"
