#!/usr/bin/env bash
# Check Fixtures/Data/gloss_category.jsonl, row by row, against WordNet as Debian ships it.
#
# The rows themselves are committed (WordNet's licence allows it), so neither demo nor tests need this.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

nouns=/usr/share/wordnet/data.noun
if [ ! -f "$nouns" ]; then
    nouns=$cache/wordnet/usr/share/wordnet/data.noun
    if [ ! -f "$nouns" ]; then
        mkdir -p "$cache/wordnet"
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
        (cd "$scratch" && apt-get download wordnet-base >&2) || fail "could not download Debian's package wordnet-base"
        dpkg-deb -x "$scratch"/wordnet-base_*.deb "$cache/wordnet"
    fi
fi
command -v python3 > /dev/null || fail "python3 is needed to check the rows"
python3 "$root/Fixtures/Scripts/verify_gloss_category.py" "$nouns"
