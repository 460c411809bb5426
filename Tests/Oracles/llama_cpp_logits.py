#!/usr/bin/env python3
"""Teacher-forced logits by llama.cpp:   python llama_cpp_logits.py MODEL.gguf ids.json out.f32 [threads]

Same layout as reference_logits.py. Each list is one batch in an empty context, as a prompt would be.
"""

import json
import sys

import llama_cpp
import numpy as np


def main():
    model, ids_path, out = sys.argv[1:4]
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    lists = json.load(open(ids_path))
    longest = max(len(ids) for ids in lists)
    llama = llama_cpp.Llama(
        model, n_ctx=longest, n_batch=longest, n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False)
    with open(out, "wb") as file:
        for ids in lists:
            llama.reset()
            llama.eval(ids)
            file.write(np.asarray(llama.scores[: len(ids)], dtype="<f4").tobytes())


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main()
