#!/usr/bin/env python3
"""Encoding speed of `incipit tokenize` and of Hugging Face's `tokenizers`, one thread each, alternating.

    python tokenizer_speed.py INCIPIT VOCABULARIES [TEXT …]

Texts are cut into lines of some 2 KB; each round encodes all of them, and the median of five rounds counts. Without TEXT,
random text in many scripts is used. Needs tokenizers and gguf; INCIPIT must be a release build.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Oracles", "tokenizers"))
import peers  # noqa: E402
import random_text  # noqa: E402

incipit, folder, *files = sys.argv[1:]
texts = {os.path.basename(f): open(f, encoding="utf-8").read() for f in files}
texts["random, many scripts"] = "\n".join(random_text.strings(12000, 3))
print("| vocabulary | text | tokenizers MB/s | incipit MB/s | ratio |\n| --- | --- | ---: | ---: | ---: |")
for name in ("gpt-2", "qwen2", "llama-bpe", "deepseek-coder", "bert-bge"):
    path = os.path.join(folder, f"ggml-vocab-{name}.gguf")
    if not os.path.exists(path):
        continue
    tokenizer, _ = peers.from_gguf(path)
    for label, text in texts.items():
        parts = [text[i:i + 2000] for i in range(0, len(text), 2000)]
        size = sum(len(p.encode()) for p in parts)
        lines = "".join(json.dumps(p) + "\n" for p in parts).encode()
        theirs, ours = [], []
        for _ in range(5):
            start = time.perf_counter()
            for part in parts:
                tokenizer.encode(part, add_special_tokens=False)
            theirs.append(size / (time.perf_counter() - start) / 1e6)
            run = subprocess.run([incipit, "tokenize", path, "--json-lines", "--no-bos", "--time"], input=lines,
                                 capture_output=True, check=True)
            ours.append(float(re.search(rb"([0-9.]+) MB/s", run.stderr).group(1)))
        a, b = statistics.median(theirs), statistics.median(ours)
        print(f"| {name} | {label} | {a:.1f} | {b:.1f} | {b / a:.1f} |", flush=True)
