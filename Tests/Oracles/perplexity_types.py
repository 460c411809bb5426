#!/usr/bin/env python3
"""Perplexity and KL divergence of every tensor type, beside llama.cpp:

    python perplexity_types.py INCIPIT MODEL.gguf TEXT WORKFOLDER [--windows 16] [--threads 2] [--types Q4_0,…]

`incipit quantize` makes each type of the model, and from it an F32 file with the same (dequantized) weights: the reference.
Both engines run the same windows of 512 tokens, of which the second half counts (`incipit perplexity`, llama.cpp's method).
Passes when our perplexity is within 0.3 % of llama.cpp's, or lower, and our mean KL(reference ‖ ours) is no larger than
KL(reference ‖ llama.cpp), by the same F32 reference, whose logits llama.cpp computes with an F32 cache.
"""

import argparse
import json
import math
import os
import subprocess
import sys

import llama_cpp
import numpy as np

TYPES = ["Q4_0", "Q4_1", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16"]
WINDOW = 512


def run(*words):
    out = subprocess.run(words, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{' '.join(words)}: {out.stderr.strip()}")
    return out.stdout


def scored(path, windows, threads, exact=False):
    """Log-probabilities at the positions that count, a window at a time, and the targets."""
    more = {"type_k": 0, "type_v": 0} if exact else {}
    llama = llama_cpp.Llama(path, n_ctx=WINDOW, n_batch=WINDOW, n_threads=threads, n_threads_batch=threads,
                            logits_all=True, verbose=False, **more)
    half = WINDOW // 2
    for window in windows:
        llama.reset()
        llama.eval(window)
        rows = np.asarray(llama.scores[half : WINDOW - 1], dtype=np.float64)
        rows -= rows.max(axis=-1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=-1, keepdims=True))
        yield rows, np.asarray(window[half + 1 :])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("incipit", "model", "text", "work"):
        parser.add_argument(name)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--types", default=",".join(TYPES))
    a = parser.parse_args()
    os.makedirs(a.work, exist_ok=True)
    failed = False
    print("| type | llama.cpp PPL | Incipit PPL | difference | KL llama.cpp | KL Incipit | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    windows = None
    for kind in a.types.split(","):
        path = os.path.join(a.work, f"{kind}.gguf")
        exact = os.path.join(a.work, "F32.gguf")
        run(a.incipit, "quantize", a.model, path, kind, "--allow-requantize", "--force")
        run(a.incipit, "quantize", path, exact, "F32", "--allow-requantize", "--force")
        if windows is None:
            vocabulary = llama_cpp.Llama(path, vocab_only=True, verbose=False)
            ids = vocabulary.tokenize(open(a.text, "rb").read(), add_bos=False, special=False)
            windows = [ids[i : i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)][: a.windows]
        loss = divergence = 0.0
        count = 0
        for (p, targets), (q, _) in zip(scored(exact, windows, a.threads, exact=True), scored(path, windows, a.threads)):
            loss -= float(q[np.arange(len(targets)), targets].sum())
            divergence += float((np.exp(p) * (p - q)).sum())
            count += len(targets)
        theirs, their_kl = math.exp(loss / count), divergence / count
        ours = json.loads(run(a.incipit, "perplexity", path, "--file", a.text, "--window", str(WINDOW), "--chunks",
                              str(len(windows)), "--kl-divergence", exact, "--threads", str(a.threads), "--json"))
        assert ours["scored"] == count, (ours["scored"], count)
        difference = ours["perplexity"] / theirs - 1
        kl = ours["reference"]["meanKL"]
        good = difference <= 0.003 and kl <= their_kl * 1.0 + 1e-9
        failed |= not good
        print(f"| {kind} | {theirs:.4f} | {ours['perplexity']:.4f} | {100 * difference:+.3f} % | {their_kl:.6f} | {kl:.6f} "
              f"| {'pass' if good else 'FAIL'} |", flush=True)
        os.remove(exact)
    sys.exit(failed)


if __name__ == "__main__":
    main()
