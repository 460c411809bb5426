#!/usr/bin/env python3
"""Prefill and decode of every common tensor type, ours against llama.cpp, alternating: Markdown rows on stdout.

    python compare_types.py --incipit INCIPIT --measure INCIPIT_MEASURE --source F16.gguf --work FOLDER
        [--large LARGE_F16.gguf] [--types Q4_0 …] [--threads 1 2] [--rounds 3]

The files are made by `incipit quantize` from the source and kept in the folder. The required ratios of the small model
are 1.5 times the fastest processor engine known for prefill, 1.3 times for decode, over llama.cpp, where these were
measured (AVX-512 VNNI); the large model is held against what this machine can do at most, measured in the same run.
"""

import argparse
import json
import os
import subprocess
import sys

from alternating import alternate, load_average, median, run

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = {"Q4_0": (2.2, 1.3), "Q4_1": (5.7, 1.9), "Q4_K_M": (3.1, 1.5), "Q5_K_M": (3.9, 1.5), "Q6_K": (2.3, 1.5),
           "Q8_0": (2.8, 1.5), "F16": (2.1, 1.05)}


def quantized(a, source, kind):
    """The file of that type, made from `source` unless it is there."""
    if kind == "F16":
        return source
    path = os.path.join(a.work, f"{os.path.splitext(os.path.basename(source))[0].removesuffix('-F16')}-{kind}.gguf")
    if not os.path.exists(path):
        subprocess.run([a.incipit, "quantize", source, path, kind], check=True, stdout=subprocess.DEVNULL)
    return path


def pair(a, model, threads, prefill, decode, rounds):
    lengths = ["--prefill", str(prefill), "--decode", str(decode), "--repeat", "1"]
    return alternate(
        [a.measure, "speed", model, "--threads", str(threads), *lengths, "--json"],
        [sys.executable, os.path.join(HERE, "speed_llama_cpp.py"), model, "--threads", str(threads), *lengths],
        rounds=rounds)


def small(a):
    print("| type | threads | test | llama.cpp tokens/s | Incipit tokens/s | ratio | target | |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |")
    missed = 0
    for kind in a.types:
        model = quantized(a, a.source, kind)
        for threads in a.threads:
            ours, theirs = pair(a, model, threads, 512, 128, a.rounds)
            for test, target in zip(("prefill", "decode"), TARGETS[kind]):
                peer, mine = (median(x, f"{test}TokensPerSecond") for x in (theirs, ours))
                passes = mine / peer >= target
                missed += not passes
                print(f"| {kind} | {threads} | {test} | {peer:.1f} | {mine:.1f} | {mine / peer:.2f} | {target} | "
                      f"{'pass' if passes else '**short**'} |", flush=True)
            peer, mine = (median(x, "peakMemoryMegabytes") for x in (theirs, ours))
            missed += mine > peer
            print(f"| {kind} | {threads} | peak memory, MB (llama.cpp's with Python) | {peer:.0f} | {mine:.0f} | "
                  f"{mine / peer:.2f} | 1.0 | {'pass' if mine <= peer else '**short**'} |", flush=True)
    return missed


def large(a):
    print("\n| type | threads | test | llama.cpp tokens/s | Incipit tokens/s | ratio | of the machine's limit | wanted | |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |")
    missed = 0
    for kind in a.types:
        model = quantized(a, a.large, kind)
        # What a token reads and multiplies: all weights but the embedding table, of which it takes one row.
        listed = subprocess.run([a.incipit, "inspect", model, "--json"], check=True, capture_output=True, text=True).stdout

        tensors = [t for t in json.loads(listed)["tensors"] if t["name"] != "token_embd.weight"]
        weights = sum(size(t["dimensions"]) for t in tensors)
        read = sum(t["bytes"] for t in tensors)
        for threads in a.threads:
            limits = [run([a.measure, "limits", "--threads", str(threads), "--json"])]
            ours, theirs = pair(a, model, threads, 256, 64, max(1, a.rounds - 1))
            limits.append(run([a.measure, "limits", "--threads", str(threads), "--json"]))
            for test, wanted in (("prefill", 0.6), ("decode", 0.9)):
                peer, mine = (median(x, f"{test}TokensPerSecond") for x in (theirs, ours))
                if test == "decode":
                    share = mine * read / 1e9 / max(float(x["readGigabytesPerSecond"]) for x in limits)
                else:
                    share = mine * 2 * weights / 1e9 / max(float(x["int8Gops"]) for x in limits)
                applies = test == "decode" or kind != "F16"
                passes = share >= wanted
                missed += applies and not passes
                note = ("pass" if passes else "**short**") if applies else "no int8"
                print(f"| {kind} | {threads} | {test} | {peer:.1f} | {mine:.1f} | {mine / peer:.2f} | {share:.0%} | "
                      f"{wanted:.0%} | {note} |", flush=True)
    return missed


def size(shape):
    product = 1
    for extent in shape:
        product *= extent
    return product


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incipit", required=True)
    parser.add_argument("--measure", required=True, help="the executable incipit-measure")
    parser.add_argument("--source", required=True)
    parser.add_argument("--large")
    parser.add_argument("--work", required=True)
    parser.add_argument("--types", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    if load_average() > 0.5:
        print(f"note: load average is {load_average():.2f}; a foreign load spoils the figures", file=sys.stderr)
    missed = small(a)
    if a.large:
        missed += large(a)
    print(f"\nMedians of {a.rounds} alternating rounds; {missed} figures miss their target.")
    sys.exit(missed != 0)


if __name__ == "__main__":
    main()
