#!/usr/bin/env python3
"""Decode deep in a context and decode of many sequences, ours against llama.cpp, alternating: Markdown rows on stdout.

    python compare_context.py --measure INCIPIT_MEASURE --model MODEL.gguf [--threads 2] [--rounds 3] [--depth 1024]
        [--sequences 16]
"""

import argparse
import os
import sys

from alternating import alternate, load_average, median

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", required=True, help="the executable incipit-measure")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depth", type=int, default=1024)
    parser.add_argument("--sequences", type=int, default=16)
    a = parser.parse_args()
    if load_average() > 0.5:
        print(f"note: load average is {load_average():.2f}; a foreign load spoils the figures", file=sys.stderr)
    name, threads = os.path.basename(a.model), ["--threads", str(a.threads)]
    print("| model | threads | test | llama.cpp | Incipit | ratio | required |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    passed = True

    def row(test, peer, mine, required):
        nonlocal passed
        passed &= mine / peer >= required
        print(f"| {name} | {a.threads} | {test} | {peer:.1f} | {mine:.1f} | {mine / peer:.2f} | {required:.2f} |",
              flush=True)

    lengths = ["--prefill", "64", "--decode", "64", "--depth", str(a.depth), "--repeat", "1"]
    ours, theirs = alternate(
        [a.measure, "speed", a.model, *threads, *lengths, "--json"],
        [sys.executable, os.path.join(HERE, "speed_llama_cpp.py"), a.model, *threads, *lengths], rounds=a.rounds)
    key = "decodeTokensPerSecond"
    row(f"decode at depth {a.depth}, tokens/s", median(theirs, key), median(ours, key), 2)

    many = ["--sequences", str(a.sequences), "--repeat", "1"]
    ours_command = [a.measure, "batch", a.model, *threads, *many, "--json"]
    ours, theirs, one, different = alternate(
        ours_command, [sys.executable, os.path.join(HERE, "batch_llama_cpp.py"), a.model, *threads, *many],
        [*ours_command, "--prompts", "1"], [*ours_command, "--prompts", str(a.sequences)], rounds=a.rounds)
    key = "batchTokensPerSecond"
    row(f"{a.sequences} sequences, tokens/s together", median(theirs, key), median(ours, key), 3)
    same, others = median(one, key), median(different, key)
    passed &= others / same >= 0.95
    print(f"| {name} | {a.threads} | {a.sequences} sequences with one soft prompt / with {a.sequences} different | "
          f"{same:.1f} | {others:.1f} | {others / same:.2f} | 0.95 |", flush=True)
    print(f"\nMedians of {a.rounds} alternating rounds. {'pass' if passed else 'FAIL'}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
