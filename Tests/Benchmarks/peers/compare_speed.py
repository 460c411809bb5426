#!/usr/bin/env python3
"""Decode and prefill speed, ours against llama.cpp, alternating:   Markdown rows for RESULTS.md on stdout.

    python compare_speed.py --measure INCIPIT_MEASURE --model MODEL.gguf [--threads 1 2] [--rounds 5]
        [--require-prefill 1.5] [--require-decode 1.0]
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
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--require-prefill", type=float, default=1.5)
    parser.add_argument("--require-decode", type=float, default=1.0)
    a = parser.parse_args()
    if load_average() > 0.5:
        print(f"note: load average is {load_average():.2f}; a foreign load spoils the figures", file=sys.stderr)
    lengths = ["--prefill", str(a.prefill), "--decode", str(a.decode)]
    print("| model | threads | test | llama.cpp tokens/s | Incipit tokens/s | ratio | required |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    passed = True
    for threads in a.threads:
        ours, theirs = alternate(
            [a.measure, "speed", a.model, "--threads", str(threads), *lengths, "--json"],
            [sys.executable, os.path.join(HERE, "speed_llama_cpp.py"), a.model, "--threads", str(threads), *lengths],
            rounds=a.rounds)
        for test, count, required in (("prefill", a.prefill, a.require_prefill), ("decode", a.decode, a.require_decode)):
            key = f"{test}TokensPerSecond"
            peer, mine = median(theirs, key), median(ours, key)
            passed &= mine / peer >= required
            print(f"| {os.path.basename(a.model)} | {threads} | {test} {count} | {peer:.1f} | {mine:.1f} | "
                  f"{mine / peer:.2f} | {required:.2f} |", flush=True)
        peer, mine = median(theirs, "peakMemoryMegabytes"), median(ours, "peakMemoryMegabytes")
        print(f"| {os.path.basename(a.model)} | {threads} | peak memory, MB (in Python / ours) | {peer:.0f} | {mine:.0f} | "
              f"{mine / peer:.2f} | |", flush=True)
    print(f"\nMedians of {a.rounds} alternating rounds. {'pass' if passed else 'FAIL'}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
