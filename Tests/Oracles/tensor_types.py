#!/usr/bin/env python3
"""Compares tensor types with ggml: encoded bytes with libgguf (ggml's own code), decoded values with gguf-py.

    tensor_types.py --measure PATH/incipit-measure [--types Q4_K,Q6_K] [--rounds 4] [--seed 1] [--speed]

A round takes rows of one length between 256 and 4096: normal, heavy-tailed, constant, tiny, huge, zero, denormal, with a
single value, ternary, sparse, one-sided and so on; each type encodes them without an importance and with one. Bytes must
be equal. Values decoded from random bytes must be equal bit for bit (NaN equals NaN). With --speed, both encode the same
normal rows in turn, one thread each, and MB of floats a second are printed beside what is required. Ends with 1 if
anything differs or falls short.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import gguf
import libgguf
import numpy as np

TYPES = (
    "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 "
    "IQ3_S IQ3_XXS IQ2_S IQ2_XS IQ2_XXS IQ1_S IQ1_M"
).split()
SLOW = {name for name in TYPES if name.startswith(("IQ1", "IQ2", "IQ3"))}


def id_and_sizes(name):
    kind = getattr(libgguf.GGMLQuantizationType, name)
    return int(kind), *libgguf.GGML_QUANT_SIZES[kind]


def rows(random, length):
    """One row of each kind."""
    normal = lambda: random.standard_normal(length)
    single = np.zeros(length)
    single[random.integers(length)] = random.standard_normal()
    runs = normal().reshape(-1, 32)
    runs[random.random(len(runs)) < 0.4] = 0
    kinds = [
        normal(),
        normal() * 0.05,
        random.standard_t(1.5, length) * 0.02,
        np.full(length, random.standard_normal()),
        normal() * 1e-7,
        normal() * 1e-20,
        normal() * 1e-39,
        normal() * 1e4,
        np.where(normal() > 0, 65504.0, -65504.0),
        np.zeros(length),
        single,
        runs.ravel(),
        np.sign(normal()) * (np.abs(normal()) > 0.7) * 0.03,
        normal() * (random.random(length) < 0.05),
        normal() * np.exp(3 * random.standard_normal(length)),
        np.abs(normal()),
        -np.abs(normal()),
        np.round(normal() * 4) / 4,
    ]
    return np.array(kinds, dtype=np.float32)


def importances(random, length):
    return [
        random.random(length),
        np.exp(3 * random.standard_normal(length)),
        np.ones(length),
        random.random(length) * (random.random(length) < 0.8),
    ]


class Measure:
    def __init__(self, path, folder):
        self.path, self.folder = path, pathlib.Path(folder)

    def file(self, name, array=None):
        path = self.folder / name
        if array is not None:
            array.tofile(path)
        return str(path)

    def run(self, *words):
        return float(subprocess.run([self.path, *words], check=True, capture_output=True, text=True).stdout)

    def encode(self, name, values, importance, repeat=1):
        words = ["encode", name, self.file("in.f32", values), self.file("out.bin"), "--row", str(values.shape[1])]
        if importance is not None:
            words += ["--importance", self.file("importance.f32", importance)]
        speed = self.run(*words, "--repeat", str(repeat))
        return np.fromfile(self.folder / "out.bin", np.uint8), speed

    def decode(self, name, data, repeat=1):
        speed = self.run("decode", name, self.file("in.bin", data), self.file("out.f32"), "--repeat", str(repeat))
        return np.fromfile(self.folder / "out.f32", np.float32), speed


def reference(kind, values, importance):
    return np.asarray(libgguf.quantize_rows(values, kind, imatrix=importance)).reshape(-1).view(np.uint8)


def compare_encoded(measure, name, rounds, seed):
    """Gives how many rows were compared and a line for each combination that differs."""
    kind, block, _ = id_and_sizes(name)
    compared, differences = 0, []
    for number in range(seed, seed + rounds):
        random = np.random.default_rng(number)
        length = int(random.choice([256, 512, 1024] if name in SLOW else [256, 512, 768, 1024, 2048, 4096]))
        values = rows(random, length)
        weights = [np.asarray(each, dtype=np.float32) for each in importances(random, length)]
        choices = [None] + ([weights[number % len(weights)]] if name in SLOW else weights)
        for choice, importance in enumerate(choices):
            if importance is None and libgguf.quantize_requires_imatrix(kind):
                continue
            ours, _ = measure.encode(name, values, importance)
            theirs = reference(kind, values, importance)
            compared += len(values)
            unequal = np.nonzero((ours.reshape(len(values), -1) != theirs.reshape(len(values), -1)).any(axis=1))[0]
            if len(unequal):
                what = "plain" if importance is None else f"importance {choice}"
                differences.append(f"{name} seed {number}, length {length}, {what}: rows {unequal.tolist()}")
    return compared, differences


def compare_decoded(measure, name, seed):
    kind = getattr(gguf.GGMLQuantizationType, name, None)
    if kind is None:
        return 0, []
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.random.default_rng(seed).integers(0, 256, (256, size), dtype=np.uint8)
    try:
        theirs = gguf.quants.dequantize(data, kind).ravel()
    except NotImplementedError:
        return 0, []
    ours, _ = measure.decode(name, data)
    equal = (ours.view(np.uint32) == theirs.view(np.uint32)) | (np.isnan(ours) & np.isnan(theirs))
    return ours.size, [] if equal.all() else [f"{name}: {np.count_nonzero(~equal)} decoded values differ"]


def required_ratio(name):
    """How many times ggml's speed is asked for; None where nothing is."""
    if name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
        return 1.0
    return 2.0 if name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K") else None


def compare_speed(measure, name, seed):
    """Prints a row for each way to encode; gives whether what is required was reached."""
    passes = True
    kind, _, _ = id_and_sizes(name)
    random = np.random.default_rng(seed)
    values = (random.standard_normal((16 if name in SLOW else 512, 2048)) * 0.05).astype(np.float32)
    weights = random.random(2048).astype(np.float32) + np.float32(0.01)
    for importance in (None, weights):
        if importance is None and libgguf.quantize_requires_imatrix(kind):
            continue
        if importance is not None and name in ("Q8_0", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0"):
            continue
        ours = theirs = 0.0
        for _ in range(3):
            ours = max(ours, measure.encode(name, values, importance, repeat=3)[1])
            for _ in range(3):
                start = time.perf_counter()
                reference(kind, values, importance)
                theirs = max(theirs, values.nbytes / 1e6 / (time.perf_counter() - start))
        what = "" if importance is None else ", importance"
        required = required_ratio(name)
        passed = required is None or ours >= required * theirs
        passes = passes and passed
        verdict = f"{required:.1f} | {'pass' if passed else '**short**'}" if required else "– | "
        print(f"| {name}{what} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} | {verdict} |", flush=True)
    return passes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", required=True)
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        measure = Measure(options.measure, folder)
        if options.speed:
            print("| type | ours, MB/s | ggml, MB/s | ratio | required | |\n| --- | ---: | ---: | ---: | ---: | --- |")
            passes = [compare_speed(measure, name, options.seed) for name in options.types.split(",")]
            sys.exit(0 if all(passes) else 1)
        print("| type | rows encoded | values decoded | |\n| --- | ---: | ---: | --- |")
        for name in options.types.split(","):
            rows_compared, encoded = compare_encoded(measure, name, options.rounds, options.seed)
            values_compared, decoded = compare_decoded(measure, name, options.seed)
            failures += encoded + decoded
            print(f"| {name} | {rows_compared} | {values_compared} | {'FAIL' if encoded or decoded else 'equal'} |")
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
