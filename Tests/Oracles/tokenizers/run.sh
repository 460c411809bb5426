#!/usr/bin/env bash
# Judge `incipit tokenize` by llama.cpp's known answers and by Hugging Face's tokenizers and sentencepiece on random text.
# Further arguments go to compare.py (--strings N, --only NAME …).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../../Scripts/common.sh"
cd "$root"

folder=$cache/tokenizer-oracles
python=$folder/bin/python
"$python" -c 'import gguf, sentencepiece, tokenizers' 2> /dev/null || {
    python3 -m venv "$folder"
    "$folder/bin/pip" install -q tokenizers==0.23.3 sentencepiece gguf==0.19.0 >&2
}
vocabularies=$(INCIPIT_PYTHON=$python "$here/../llama_cpp_source.sh")/models
"$python" "$here/compare.py" "${INCIPIT:-$(swift build -c release --show-bin-path)/incipit}" "$vocabularies" "$@"
