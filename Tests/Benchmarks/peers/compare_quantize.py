#!/usr/bin/env python3
"""Time `incipit quantize` against llama.cpp's quantizer, alternating, on the same file and threads.

    python compare_quantize.py --incipit EXE --model F16.gguf --work DIR [--mixes Q4_K_M Q8_0] [--threads N] [--rounds 5]

llama.cpp's is called through llama-cpp-python (what `llama-quantize` calls); where that is missing, libgguf's encoder runs on
as many threads over the same tensors, without reading or writing a file, and the row says so. Times are of the whole process
for incipit and of the call alone for the other. Prints Markdown rows; ends with 1 if Q4_K_M is less than twice as fast.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

FILE_TYPES = {
    "Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ4_XS": 30,
    "IQ4_NL": 25,
}


def time_incipit(arguments, mix):
    target = os.path.join(arguments.work, "bench-ours.gguf")
    command = [
        arguments.incipit, "quantize", arguments.model, target, mix, "--force", "--threads", str(arguments.threads),
    ]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


CHILD = """
import ctypes, os, sys, time
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
import llama_cpp
source, target, kind, threads = sys.argv[1:]
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype, parameters.nthread = int(kind), int(threads)
start = time.perf_counter()
assert llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)) == 0
print(time.perf_counter() - start)
"""


def time_llama_cpp(arguments, mix):
    target = os.path.join(arguments.work, "bench-llama.gguf")
    command = [sys.executable, "-c", CHILD, arguments.model, target, str(FILE_TYPES[mix]), str(arguments.threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


class Libgguf:
    """The encoder alone, on pieces of rows, with the types that incipit chose."""

    def __init__(self, arguments):
        import gguf
        import numpy as np

        self.arguments = arguments
        self.gguf, self.np = gguf, np
        self.sources = {t.name: t for t in gguf.GGUFReader(arguments.model).tensors}

    def time(self, mix):
        import libgguf

        ours = self.gguf.GGUFReader(os.path.join(self.arguments.work, "bench-ours.gguf"))
        jobs = []
        for tensor in ours.tensors:
            source = self.sources[tensor.name]
            if source.tensor_type == tensor.tensor_type:
                continue
            values = self.np.array(source.data).reshape(-1, int(source.shape[0]))
            rows = max(1, 32 * 512 // values.shape[1])
            jobs += [(values[i : i + rows], int(tensor.tensor_type)) for i in range(0, len(values), rows)]
        start = time.perf_counter()
        with ThreadPoolExecutor(self.arguments.threads) as pool:
            list(pool.map(lambda job: libgguf.quantize_rows(job[0].astype(self.np.float32), job[1]), jobs))
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--incipit", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--mixes", nargs="+", default=["Q4_K_M", "Q8_0", "Q6_K", "IQ4_XS"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    try:
        import llama_cpp  # noqa: F401

        name, peer = "llama.cpp", lambda mix: time_llama_cpp(arguments, mix)
    except ImportError:
        name, peer = "libgguf, encoding only", Libgguf(arguments).time
    print(f"| mix | threads | incipit, s | {name}, s | times as fast |\n| --- | ---: | ---: | ---: | ---: |")
    missed = False
    for mix in arguments.mixes:
        time_incipit(arguments, mix)  # the source is in memory, its fingerprint known
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(time_incipit(arguments, mix))
            theirs.append(peer(mix))
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"| {mix} | {arguments.threads} | {a:.2f} | {b:.2f} | {b / a:.2f} |", flush=True)
        missed |= mix == "Q4_K_M" and b < 2 * a
    for file in ["bench-ours.gguf", "bench-llama.gguf"]:
        if os.path.exists(os.path.join(arguments.work, file)):
            os.unlink(os.path.join(arguments.work, file))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
