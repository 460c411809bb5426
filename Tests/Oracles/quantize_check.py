#!/usr/bin/env python3
"""Compare what `incipit quantize` writes with ggml's own encoders, tensor by tensor.

    python quantize_check.py --incipit EXE --model F16.gguf --work DIR [--imatrix FILE] MIX ...

Each tensor of each mix is encoded again from the source by libgguf (ggml's code); bytes must be equal. Where
llama-cpp-python is installed, llama.cpp quantizes the same file and the whole results are compared; with an importance
matrix, which llama.cpp is given as well, type and bytes of every tensor (the metadata tells where a matrix came from).
Prints a row a mix; ends with 1 if any differs. Needs numpy, gguf, libgguf.
"""

import argparse
import ctypes
import os
import subprocess
import sys

import gguf
import libgguf
import numpy as np

ENCODED_BY_NUMPY = {gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.BF16}


def importance(path):
    """Mean squares by tensor, one row a matrix, as llama-quantize takes them from a GGUF imatrix."""
    if path is None:
        return {}
    tensors = {t.name: np.array(t.data, np.float32) for t in gguf.GGUFReader(path).tensors}
    result = {}
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            counts = np.rint(tensors[name[: -len("in_sum2")] + "counts"].reshape(-1, 1))
            sums = sums.reshape(counts.shape[0], -1)
            result[name[: -len(".in_sum2")]] = np.where(counts > 0, sums / np.where(counts > 0, counts, 1), 1)
    return result


def floats(tensor):
    values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    return values.reshape([int(d) for d in reversed(tensor.shape)])


def encode(values, kind, weights):
    """The bytes ggml's encoder gives; a stack of matrices is encoded matrix by matrix."""
    if kind in ENCODED_BY_NUMPY:
        return gguf.quantize(values, kind).tobytes()
    matrices = values.reshape(-1, values.shape[-2], values.shape[-1])
    parts = []
    for number, matrix in enumerate(matrices):
        row = None if weights is None else np.ascontiguousarray(weights[min(number, len(weights) - 1)], np.float32)
        parts.append(libgguf.quantize_rows(np.ascontiguousarray(matrix), int(kind), imatrix=row).tobytes())
    return b"".join(parts)


def reference_file(source, target, file_type, weights):
    """llama.cpp's result, or None where llama-cpp-python is not installed."""
    try:
        import llama_cpp
    except ImportError:
        return None
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = file_type
    parameters.nthread = os.cpu_count()
    if weights:
        rows = [(name.encode(), np.ascontiguousarray(values, np.float32).ravel()) for name, values in weights.items()]
        pointer = ctypes.POINTER(ctypes.c_float)
        entries = (llama_cpp.llama_model_imatrix_data * (len(rows) + 1))(
            *[(name, values.ctypes.data_as(pointer), values.size) for name, values in rows], (None, None, 0))
        parameters.imatrix = ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_model_imatrix_data))
    # It tells every tensor on stderr.
    kept, silence = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    try:
        status = llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
    finally:
        os.dup2(kept, 2)
        os.close(kept), os.close(silence)
    return target if status == 0 else None


def same_bytes(left, right):
    with open(left, "rb") as a, open(right, "rb") as b:
        while True:
            x, y = a.read(1 << 22), b.read(1 << 22)
            if x != y:
                return False
            if not x:
                return True


def same_tensors(left, right):
    one, two = ({t.name: t for t in gguf.GGUFReader(path).tensors} for path in (left, right))
    return list(one) == list(two) and all(
        one[name].tensor_type == two[name].tensor_type and np.array_equal(one[name].data, two[name].data) for name in one)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--incipit", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--imatrix")
    parser.add_argument("mixes", nargs="+")
    arguments = parser.parse_args()
    weights = importance(arguments.imatrix)
    sources = {t.name: t for t in gguf.GGUFReader(arguments.model).tensors}
    failures = 0
    print("| mix | tensors | equal to libgguf | equal to llama.cpp's file |\n| --- | ---: | ---: | --- |")
    for mix in arguments.mixes:
        target = os.path.join(arguments.work, f"ours-{mix}.gguf")
        command = [arguments.incipit, "quantize", arguments.model, target, mix, "--force", "--no-provenance"]
        if arguments.imatrix:
            command += ["--imatrix", arguments.imatrix]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        reader = gguf.GGUFReader(target)
        equal, different = 0, []
        for tensor in reader.tensors:
            source = sources[tensor.name]
            if source.tensor_type == tensor.tensor_type:
                expected = np.ascontiguousarray(source.data).tobytes()
            else:
                expected = encode(floats(source), tensor.tensor_type, weights.get(tensor.name))
            if np.ascontiguousarray(tensor.data).tobytes() == expected:
                equal += 1
            else:
                different.append(f"{tensor.name} ({tensor.tensor_type.name})")
        whole = "not compared"
        file_type = int(reader.get_field("general.file_type").contents())
        other = reference_file(arguments.model, os.path.join(arguments.work, f"llama-{mix}.gguf"), file_type, weights)
        if other:
            whole = "yes" if (same_tensors if weights else same_bytes)(target, other) else "NO"
            os.unlink(other)
        print(f"| {mix} | {len(reader.tensors)} | {equal} | {whole} |", flush=True)
        if different:
            print("  different: " + ", ".join(different[:5]), file=sys.stderr)
        failures += bool(different) + (whole == "NO")
        os.unlink(target)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
