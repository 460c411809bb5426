#!/usr/bin/env bash
# Judge every architecture against transformers: random two-layer models of odd sizes, F32, 40 positions. Compares logits,
# greedy tokens, losses and input gradients (see Tests/LanguageModelsTests/ArchitectureTests.swift for what is allowed).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

python=$(Tests/Oracles/setup.sh)/bin/python
work=$cache/oracles-out/architectures
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1
"$python" Fixtures/Scripts/make_architecture_models.py --large --out "$work"
INCIPIT_ARCHITECTURE_MODELS=$work swift test -c release --scratch-path .build-tests -Xswiftc -enable-testing \
    --filter ArchitectureTests
