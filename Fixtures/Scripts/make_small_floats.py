#!/usr/bin/env python3
"""Writes Golden/small-floats.safetensors: for each small float type of safetensors, the F32 value of every bit pattern.

Values come from ml_dtypes, the file from the official safetensors package, so that it also shows how that package lays
a file out. Types of one width are tensors `<dtype>` of 2^bits values; further tensors of other types are there for the
order of the layout only. Needs numpy, ml_dtypes and safetensors.
"""
import pathlib

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

TYPES = {
    "F8_E4M3": (8, ml_dtypes.float8_e4m3fn),
    "F8_E5M2": (8, ml_dtypes.float8_e5m2),
    "F8_E8M0": (8, ml_dtypes.float8_e8m0fnu),
    "F8_E4M3FNUZ": (8, ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": (8, ml_dtypes.float8_e5m2fnuz),
    "F6_E2M3": (6, ml_dtypes.float6_e2m3fn),
    "F6_E3M2": (6, ml_dtypes.float6_e3m2fn),
    "F4": (4, ml_dtypes.float4_e2m1fn),
}

tensors = {
    name: np.arange(2**bits, dtype=np.uint8).view(kind).astype(np.float32) for name, (bits, kind) in TYPES.items()
}
tensors |= {
    "z.i64": np.array([[1, -2]], dtype=np.int64),
    "a.u8": np.array([3], dtype=np.uint8),
    "é \"quoted\"\n": np.array([1.5], dtype=np.float16),
    "scalar": np.array(2.5, dtype=np.float64),
    "empty": np.zeros((0, 3), dtype=np.int32),
    "flag": np.array([True, False]),
}
out = pathlib.Path(__file__).resolve().parent.parent / "Golden" / "small-floats.safetensors"
save_file(tensors, out, metadata={"made_by": "ml_dtypes"})
print(out, out.stat().st_size)
