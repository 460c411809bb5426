#!/usr/bin/env python3
"""Model files: Incipit beside OpenSSL's SHA-256, llama.cpp's convert_hf_to_gguf.py, and fixed limits, in one sitting.

    python compare_formats.py --incipit EXE --measure EXE --models FOLDER --work FOLDER [--llama-cpp SOURCE] [--rounds 5]

`--models` is what make_large_models.py wrote; `--work` holds results for a moment: a folder in memory (/dev/shm) keeps
the disk out of it. Both tools read from and write to the same places; runs alternate and medians count. Processor seconds
are of the whole process, all threads. Prints Markdown rows; ends with 1 when a required value is missed.
"""

import argparse
import hashlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

here = pathlib.Path(__file__).resolve().parent
misses = []


def row(what, ours, theirs, value, required, passes):
    print(f"| {what} | {ours} | {theirs} | {value} | {required} | {'pass' if passes else '**short**'} |", flush=True)
    if not passes:
        misses.append(what)


def measure(options, *words):
    done = subprocess.run([options.measure, *map(str, words), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def opening(options):
    found = measure(options, "open", "--tensors", 10000, "--runs", 3 * options.rounds)
    for kind in ("gguf", "safetensors"):
        value = found[f"{kind}_ms"]
        row(f"open a {kind} file of 10 000 tensors", f"{value:.1f} ms", "–", "–", "< 50 ms", value < 50)


def vocabulary(options):
    import tokenizers

    folder = options.models / "vocabulary"
    ours, theirs = [], []
    for _ in range(options.rounds):
        found = measure(options, "vocabulary", folder, "--runs", 1)
        ours.append(found["seconds"])
        start = time.perf_counter()
        tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        theirs.append(time.perf_counter() - start)
    a, b = statistics.median(ours), statistics.median(theirs)
    row(f"import {found['tokens']} tokens to GGUF keys", f"{a:.2f} s", f"tokenizers, load alone: {b:.2f} s",
        f"{b / a:.2f}", "< 2 s", a < 2)


def sha256_speed(megabytes, threads):
    """MB/s of OpenSSL's SHA-256 on all threads, in pieces of 4 MB that stay out of each other's way."""
    pieces = [os.urandom(1 << 22) for _ in range(threads)]
    count = max(1, int(megabytes * 1e6) // (len(pieces) << 22))

    def work(piece):
        state = hashlib.sha256()
        for _ in range(count):
            state.update(piece)
        return state.digest()

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, pieces))
    return count * (len(pieces) << 22) / 1e6 / (time.perf_counter() - start)


def fingerprint(options, path, what):
    ours, theirs = [], []
    for _ in range(options.rounds):
        found = measure(options, "fingerprint", path)
        ours.append(found["mbPerSecond"])
        theirs.append(sha256_speed(found["hashed_bytes"] / 1e6, os.cpu_count()))
    a, b = statistics.median(ours), statistics.median(theirs)
    row(f"fingerprint {what}", f"{a:.0f} MB/s hashed", f"OpenSSL SHA-256, all cores: {b:.0f} MB/s", f"{a / b:.2f}",
        "0.80", a >= 0.8 * b)


def timed(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{command}\n{done.stderr[-3000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def converting(options):
    """BF16 to F16, the source in the page cache."""
    folder = options.models / "model"
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    for file in folder.glob("*.safetensors"):
        with open(file, "rb") as stream:
            while stream.read(1 << 24):
                pass
    ours, theirs = options.work / "ours.gguf", options.work / "theirs.gguf"
    own = [options.incipit, "convert", folder, ours, "--type", "f16", "--no-fingerprint", "--force"]
    other = [sys.executable, here / "convert_hf.py", options.llama_cpp, folder, "--outfile", theirs, "--outtype", "f16"]
    times = ([], [])
    for turn in range(options.rounds):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            times[side].append(timed((own, other)[side]))
    same = compare_tensors(ours, theirs)
    ours.unlink(), theirs.unlink()
    (a, a_cpu), (b, b_cpu) = ([statistics.median(each) for each in zip(*side)] for side in times)
    name = "convert a folder, BF16 to F16" + ("" if same else ", **bytes differ**")
    row(name, f"{size / 1e6 / a:.0f} MB/s, {a_cpu:.2f} s of processor",
        f"convert_hf_to_gguf.py: {size / 1e6 / b:.0f} MB/s, {b_cpu:.2f} s", f"{b / a:.2f}", "3.0",
        same and b >= 3 * a)


def compare_tensors(first, second):
    import gguf
    import numpy as np

    one = {tensor.name: tensor for tensor in gguf.GGUFReader(first).tensors}
    two = {tensor.name: tensor for tensor in gguf.GGUFReader(second).tensors}
    return set(one) == set(two) and all(
        one[name].tensor_type == two[name].tensor_type and np.array_equal(one[name].data, two[name].data) for name in one)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incipit", required=True)
    parser.add_argument("--measure", required=True)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--llama-cpp", type=pathlib.Path)
    parser.add_argument("--gguf", type=pathlib.Path, help="a quantized GGUF to fingerprint as well")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| what | ours | peer | ratio | required | |\n| --- | ---: | ---: | ---: | ---: | --- |")
    opening(options)
    vocabulary(options)
    fingerprint(options, options.models / "model", "a BF16 folder")
    if options.gguf:
        fingerprint(options, options.gguf, "a quantized GGUF")
    if options.llama_cpp:
        converting(options)
    for miss in misses:
        print(f"missed: {miss}", file=sys.stderr)
    sys.exit(1 if misses else 0)


if __name__ == "__main__":
    main()
