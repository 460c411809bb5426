#!/usr/bin/env bash
# Memory, interruption and full disks of `incipit convert` on a model of 16 GiB (INCIPIT_GIGABYTES) that takes no room; its
# result takes that much for some minutes. INCIPIT names the executable (default: the release build), INCIPIT_WORK the
# place (default: the cache). Ends with 1 if anything is not as it should be.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

python=${INCIPIT_PYTHON:-$(Tests/Oracles/setup.sh)/bin/python}
work=${INCIPIT_WORK:-$cache/oracles-out}
mkdir -p "$work"
"$python" Tests/Oracles/conduct.py "${INCIPIT:-.build/release/incipit}" --work "$work" \
    --gigabytes "${INCIPIT_GIGABYTES:-16}"
