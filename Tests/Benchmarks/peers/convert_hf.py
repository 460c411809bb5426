"""llama.cpp's convert_hf_to_gguf.py from the source folder given first, on a model whose tokenizer is its own.

    python convert_hf.py LLAMA_CPP_SOURCE MODEL_FOLDER --outfile FILE …

The script knows tokenizers by a digest of ids and refuses random ones; here their pre-tokenizer is said to be GPT-2's.
"""

import pathlib
import runpy
import sys

source = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(source))
sys.path.insert(1, str(source / "gguf-py"))
import conversion.base as base  # noqa: E402

base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")
