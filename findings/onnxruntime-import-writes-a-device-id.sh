#!/usr/bin/env bash
# ONNX Runtime 1.31.1 and 1.32.0 for Linux (wheels for the CPU), seen 2026-11-27.
#
# `import onnxruntime` alone makes a device id and a database of events in the user's cache folder:
# official builds for Linux collect telemetry, switched on by default. A device that may not write to
# its home, or whose files are watched, meets this at the first import. What helps:
# ORT_DISABLE_TELEMETRY=1 in the environment before the import.
#
# Output seen:
#     1.31.1: deviceid onnxruntime.db
#     1.32.0: deviceid onnxruntime.db
#     1.32.0 with ORT_DISABLE_TELEMETRY=1: no files
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

written() {  # version, environment -> names of the files in the home folder after an import
    local home="$work/home-$1-$2"
    mkdir -p "$home"
    env -u XDG_CACHE_HOME HOME="$home" "$2" "$work/$1/bin/python" -c "import onnxruntime"
    (cd "$home" && find . -type f ! -name '*.db-*' -printf '%f\n' | sort | xargs)
}

for version in 1.31.1 1.32.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q --disable-pip-version-check "onnxruntime==$version" 2>/dev/null
done
first=$(written 1.31.1 UNUSED=1)
second=$(written 1.32.0 UNUSED=1)
off=$(written 1.32.0 ORT_DISABLE_TELEMETRY=1)
echo "1.31.1: ${first:-no files}"
echo "1.32.0: ${second:-no files}"
echo "1.32.0 with ORT_DISABLE_TELEMETRY=1: ${off:-no files}"
files="deviceid onnxruntime.db"
[ "$first" = "$files" ] && [ "$second" = "$files" ] && [ "$off" = "" ]
