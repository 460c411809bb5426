#!/usr/bin/env bash
# Judge every architecture against transformers: random two-layer models, F32 of odd sizes and Q8_0, 40 positions. Compares
# logits, greedy tokens, losses and input gradients (Tests/LanguageModelsTests/ArchitectureTests.swift has what is allowed).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

python=$(Tests/Oracles/setup.sh)/bin/python
work=$cache/oracles-out/architectures
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1
for form in large quantized; do
    "$python" Fixtures/Scripts/make_architecture_models.py "--$form" --out "$work/$form"
    INCIPIT_ARCHITECTURE_MODELS=$work/$form swift test -c release --scratch-path .build-tests -Xswiftc -enable-testing \
        --filter ArchitectureTests
done
