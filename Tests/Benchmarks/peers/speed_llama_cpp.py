#!/usr/bin/env python3
"""Prefill and decode speed of llama.cpp through its C interface, as llama-bench measures it.

    python speed_llama_cpp.py MODEL.gguf [--threads 2] [--prefill 512] [--decode 128] [--depth 0] [--repeat 3]

Prefill: that many tokens in one batch in an empty context. Decode: tokens one at a time in an empty context (or after
--depth tokens), logits computed for each. One warm-up of each is not counted; the median of the repeats is.
Prints one JSON line.
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
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    a = parser.parse_args()

    model = engine.load(a.model)
    settings = api.llama_context_default_params()
    settings.n_ctx = max(a.prefill, a.depth + a.decode)
    settings.n_batch = settings.n_ubatch = max(a.prefill, a.depth, 512)
    settings.n_threads = settings.n_threads_batch = a.threads
    context = engine.context(model, settings)
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    ids = [(7919 * i + 13) % vocabulary for i in range(settings.n_ctx)]

    def clear():
        api.llama_memory_clear(api.llama_get_memory(context), True)

    def decode(part):
        values = (api.llama_token * len(part))(*part)
        if api.llama_decode(context, api.llama_batch_get_one(values, len(part))) != 0:
            raise SystemExit("llama_decode failed")
        api.llama_synchronize(context)

    def timed_prefill(count):
        clear()
        start = time.monotonic()
        decode(ids[:count])
        return count / (time.monotonic() - start)

    def timed_decode(count):
        clear()
        if a.depth:
            decode(ids[: a.depth])
        start = time.monotonic()
        for i in range(count):
            decode(ids[a.depth + i : a.depth + i + 1])
        return count / (time.monotonic() - start)

    timed_prefill(a.prefill), timed_decode(min(16, a.decode))
    prefill = [timed_prefill(a.prefill) for _ in range(a.repeat)]
    decoding = [timed_decode(a.decode) for _ in range(a.repeat)]
    print(json.dumps({
        "engine": "llama.cpp", "threads": a.threads, "prefill": a.prefill, "decode": a.decode, "depth": a.depth,
        "prefillTokensPerSecond": round(statistics.median(prefill), 2),
        "decodeTokensPerSecond": round(statistics.median(decoding), 2),
        "peakMemoryMegabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))


if __name__ == "__main__":
    main()
