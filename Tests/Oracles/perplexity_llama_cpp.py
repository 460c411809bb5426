#!/usr/bin/env python3
"""Perplexity by llama.cpp:   python perplexity_llama_cpp.py MODEL.gguf TEXT [--tokens 16384] [--window 512]

The first `tokens` ids of the text (no begin-of-text token added) are cut into windows that do not overlap; each runs in
an empty context, and every id of a window but its first is predicted from those before it: 511 losses a window of 512.
perplexity = exp(mean of all losses). `incipit-measure perplexity` counts the same way. Prints one JSON line.
"""

import argparse
import json
import math

import llama_cpp
import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ids", help="also write the ids used, as a JSON list of windows")
    a = parser.parse_args()
    llama = llama_cpp.Llama(a.model, n_ctx=a.window, n_batch=a.window, n_threads=a.threads, n_threads_batch=a.threads,
                            logits_all=True, verbose=False)
    with open(a.text, "rb") as file:
        ids = llama.tokenize(file.read(), add_bos=False, special=False)[: a.tokens]
    windows = [ids[i : i + a.window] for i in range(0, len(ids) - a.window + 1, a.window)]
    if a.ids:
        json.dump(windows, open(a.ids, "w"))
    total, count = 0.0, 0
    for window in windows:
        llama.reset()
        llama.eval(window)
        rows = np.asarray(llama.scores[: len(window) - 1], dtype=np.float64)
        highest = rows.max(axis=-1)
        normalizer = highest + np.log(np.exp(rows - highest[:, None]).sum(axis=-1))
        total += float((normalizer - rows[np.arange(len(window) - 1), window[1:]]).sum())
        count += len(window) - 1
    print(json.dumps({"engine": "llama.cpp", "perplexity": round(math.exp(total / count), 5), "loss": round(total / count, 6),
                      "losses": count, "tokens": len(windows) * a.window, "window": a.window}))


if __name__ == "__main__":
    main()
