#!/usr/bin/env python3
"""From opening a model to its first token, beside llama.cpp; the file is in the page cache.

    python first_token.py INCIPIT MODEL.gguf [MODEL.gguf …] [--threads 1 2] [--rounds 9] [--prompt TEXT]

Each run is a process of its own, in turns. Ours is counted whole, from its start to its end: `incipit run` with one token to
write. Of llama.cpp only what is its own counts: loading the file, making a context, tokenizing, prefill and the choice of the
token; not the start of Python and the library. Medians as Markdown rows; ends with 1 where llama.cpp is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def peer(path, prompt, threads):
    """One run, in this process: prints the seconds and the token's text."""
    import llama_cpp as api

    import llama_cpp_engine as engine

    start = time.monotonic()
    model = engine.load(path)
    vocabulary = api.llama_model_get_vocab(model)
    text = prompt.encode()
    ids = (api.llama_token * (len(text) + 8))()
    count = api.llama_tokenize(vocabulary, text, len(text), ids, len(ids), True, False)
    settings = api.llama_context_default_params()
    settings.n_ctx = 512
    settings.n_threads = settings.n_threads_batch = threads
    context = engine.context(model, settings)
    if api.llama_decode(context, api.llama_batch_get_one(ids, count)) != 0:
        raise SystemExit("llama_decode failed")
    sampler = api.llama_sampler_init_greedy()
    token = api.llama_sampler_sample(sampler, context, -1)
    seconds = time.monotonic() - start
    import ctypes
    buffer = ctypes.create_string_buffer(64)
    length = api.llama_token_to_piece(vocabulary, token, buffer, 64, 0, True)
    print(json.dumps({"seconds": seconds, "text": buffer.raw[:max(0, length)].decode(errors="replace")}), flush=True)
    os._exit(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("incipit")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--prompt", default="The capital of France is a city that lies on the river whose name is")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.peer:
        return peer(a.models[0], a.prompt, a.threads[0])
    slower = 0
    print("| model | threads | llama.cpp ms | incipit ms | ratio | first token |\n| --- | ---: | ---: | ---: | ---: | --- |")
    for path in a.models:
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
        for threads in a.threads:
            mine, theirs, texts = [], [], [set(), set()]

            def ours():
                start = time.monotonic()
                done = subprocess.run(
                    [a.incipit, "run", path, a.prompt, "--raw", "--max-tokens", "1", "--temperature", "0", "--threads",
                     str(threads), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
                mine.append(time.monotonic() - start)
                if done.returncode:
                    sys.exit(done.stderr.decode())
                texts[0].add(json.loads(done.stdout)["text"])

            def other():
                done = subprocess.run(
                    [sys.executable, __file__, a.incipit, path, "--peer", "--prompt", a.prompt, "--threads", str(threads)],
                    stdout=subprocess.PIPE, check=True)
                report = json.loads(done.stdout)
                theirs.append(report["seconds"])
                texts[1].add(report["text"])

            ours(), other()
            mine.clear(), theirs.clear()
            for turn in range(a.rounds):
                for run in (ours, other) if turn % 2 == 0 else (other, ours):
                    run()
            left, right = statistics.median(theirs), statistics.median(mine)
            agreed = "equal" if texts[0] == texts[1] else f"{texts[1]} and {texts[0]}"
            slower += right >= left
            print(f"| {os.path.basename(path)} | {threads} | {left * 1e3:.0f} | {right * 1e3:.0f} | {left / right:.2f} | {agreed} |",
                  flush=True)
    sys.exit(bool(slower))


if __name__ == "__main__":
    main()
