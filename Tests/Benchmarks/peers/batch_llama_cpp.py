#!/usr/bin/env python3
"""Decode speed of many sequences at once in llama.cpp, through its C interface, as llama-batched-bench measures it.

    python batch_llama_cpp.py MODEL.gguf [--threads 2] [--sequences 16] [--decode 64] [--depth 32] [--repeat 3]

Every sequence reads --depth tokens of its own; then steps of one token for each sequence are timed, logits computed for
all. One warm-up is not counted; the median of the repeats is. Prints one JSON line.
"""

import argparse
import json
import resource
import statistics
import time

import llama_cpp as api

import llama_cpp_engine as engine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    a = parser.parse_args()

    model = engine.load(a.model)
    settings = api.llama_context_default_params()
    settings.n_ctx = a.sequences * (a.depth + a.decode)
    settings.n_batch = settings.n_ubatch = max(512, a.sequences)
    settings.n_seq_max = a.sequences
    settings.kv_unified = True  # what llama-batched-bench does without -kvu off; faster for sequences of equal length
    settings.n_threads = settings.n_threads_batch = a.threads
    context = engine.context(model, settings)
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    batch = api.llama_batch_init(settings.n_batch, 0, 1)

    def run(rows):
        """Rows are (token, position, sequence, wants logits)."""
        for index, (token, position, sequence, wants) in enumerate(rows):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0], batch.logits[index] = 1, sequence, wants
        batch.n_tokens = len(rows)
        if api.llama_decode(context, batch) != 0:
            raise SystemExit("llama_decode failed")
        api.llama_synchronize(context)

    def rate():
        api.llama_memory_clear(api.llama_get_memory(context), True)
        for sequence in range(a.sequences):
            run([((7919 * i + 13 + sequence) % vocabulary, i, sequence, i == a.depth - 1) for i in range(a.depth)])
        start = time.monotonic()
        for step in range(a.decode):
            position = a.depth + step
            token = (7919 * (position + 1) + 13) % vocabulary
            run([(token, position, sequence, True) for sequence in range(a.sequences)])
        return a.sequences * a.decode / (time.monotonic() - start)

    rate()
    rates = [rate() for _ in range(a.repeat)]
    print(json.dumps({
        "engine": "llama.cpp", "threads": a.threads, "sequences": a.sequences, "decode": a.decode, "depth": a.depth,
        "batchTokensPerSecond": round(statistics.median(rates), 2),
        "peakMemoryMegabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))


if __name__ == "__main__":
    main()
