#!/usr/bin/env bash
# Make sure that what Incipit links against is there: Swift 6.3 and a few Debian packages. Installs only what is missing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(libzstd-dev libsqlite3-dev pkg-config curl unzip ca-certificates make)

missing=()
if command -v dpkg-query > /dev/null; then
    for package in "${packages[@]}"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
        [ "$state" = installed ] || missing+=("$package")
    done
elif ! { command -v pkg-config && pkg-config --exists libzstd sqlite3; } > /dev/null; then
    fail "zstd and SQLite with their headers are needed, and this is not a Debian system: install what your" \
        "system calls ${packages[*]}, then run this again"
fi

[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"

where='get it from https://www.swift.org/install/linux/ and put its usr/bin on PATH'
command -v swift > /dev/null || fail "Swift 6.3 or newer is needed and no swift is on PATH; $where"
version=$(swift --version 2> /dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | head -n 1)
read -r major minor <<< "${version:-0 0}"
if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 3 ]; }; then
    fail "Swift 6.3 or newer is needed, this is $major.$minor; $where"
fi
