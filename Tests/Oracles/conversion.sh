#!/usr/bin/env bash
# Judge `incipit convert` on random models of every architecture against an independent transform, transformers, gguf-py
# and llama.cpp, from F32, F16 and BF16. INCIPIT names the executable (default: the release build). Arguments: names of models (`conversion_models.py` has them); all when none is given.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

python=${INCIPIT_PYTHON:-$(Tests/Oracles/setup.sh)/bin/python}
incipit=${INCIPIT:-.build/release/incipit}
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1
"$python" Tests/Oracles/conversion_check.py "$incipit" "$@" --work "$cache/oracles-out/conversion" --llama
