#!/usr/bin/env python3
"""Writes Golden/tensor-types.tsv: digests of what ggml's own code (libgguf) encodes, for TensorTypeDigestTests.swift.

Input is made of SplitMix64 (seed 1) by exact or correctly rounded steps, so that the test makes the same floats: eight
rows of 512, each value from 24 bits u in [-0.5, 0.5): u; u cubed; u or, seven times of eight, 0; u with every third group of
32 zero; u times 2^-60; u + 1; -1, 0 or 1 by thirds; one u and zeros. Then 512 importances u + 0.75.

A line: type, "plain" or "importance", FNV-1a (64 bits) of the encoded rows. Needs numpy and libgguf.
"""

import pathlib

import libgguf
import numpy as np

LENGTH = 512
MASK = (1 << 64) - 1
F = np.float32
TYPES = (
    "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 "
    "IQ3_S IQ3_XXS IQ2_S IQ2_XS IQ2_XXS IQ1_S IQ1_M"
).split()


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def value(self):
        return F(self.next() >> 40) / F(1 << 24) - F(0.5)


def rows(random):
    values = lambda: np.array([random.value() for _ in range(LENGTH)], dtype=np.float32)
    result = [values()]
    u = values()
    result.append(u * u * u)
    result.append(np.array([random.value() if random.next() % 8 == 0 else 0 for _ in range(LENGTH)], dtype=np.float32))
    u = values()
    u.reshape(-1, 32)[::3] = 0
    result.append(u)
    result.append(values() * F(2.0**-60))
    result.append(values() + F(1))
    result.append(np.array([random.next() % 3 for _ in range(LENGTH)], dtype=np.float32) - F(1))
    u = np.zeros(LENGTH, dtype=np.float32)
    u[300] = random.value()
    result.append(u)
    return np.array(result, dtype=np.float32), values() + F(0.75)


def fnv(data):
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = ((digest ^ byte) * 0x100000001B3) & MASK
    return digest


def main():
    values, importance = rows(SplitMix64(1))
    lines = []
    for name in TYPES:
        kind = int(getattr(libgguf.GGMLQuantizationType, name))
        for what, weights in (("plain", None), ("importance", importance)):
            if weights is None and libgguf.quantize_requires_imatrix(kind):
                continue
            data = np.asarray(libgguf.quantize_rows(values, kind, imatrix=weights)).tobytes()
            lines.append(f"{name}\t{what}\t{fnv(data):016x}\n")
    path = pathlib.Path(__file__).parent.parent / "Golden" / "tensor-types.tsv"
    path.write_text("".join(lines))


if __name__ == "__main__":
    main()
