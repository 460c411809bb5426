#!/usr/bin/env python3
"""GGUF and safetensors files against the official packages: python container_files.py path/to/incipit

Makes files with gguf-py and safetensors, lets `incipit` split, merge, edit and inspect them, and looks at the results
with the official readers. Prints a line for each comparison; ends with 1 if any fails. Needs numpy, gguf, safetensors.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

incipit = sys.argv[1]
failures = 0


def check(what, fine):
    global failures
    failures += not fine
    print(f"{'pass' if fine else 'FAIL'}  {what}")


def run(*arguments, fails=False):
    result = subprocess.run([incipit, *map(str, arguments)], capture_output=True, text=True)
    if (result.returncode != 0) != fails:
        check(f"incipit {' '.join(map(str, arguments))}: {result.stderr.strip()}", False)
    return result.stdout


def tensors_of(path):
    return {t.name: (t.tensor_type, t.shape.tolist(), t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


def fields_of(path):
    skipped = ("split.", "GGUF.")
    return {
        name: (field.types, field.contents())
        for name, field in gguf.GGUFReader(path).fields.items()
        if not name.startswith(skipped)
    }


rng = np.random.default_rng(1)
floats = rng.standard_normal((8, 512), dtype=np.float32)
quantized = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"]


def write(path, endianess=gguf.GGUFEndian.LITTLE, alignment=None, types=quantized):
    writer = gguf.GGUFWriter(path, "llama", endianess=endianess)
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_name("Otter")
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -5)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -300)
    writer.add_uint32("t.u32", 4_000_000_000)
    writer.add_int32("t.i32", -70000)
    writer.add_uint64("t.u64", 2**63 + 1)
    writer.add_int64("t.i64", -(2**40))
    writer.add_float32("t.f32", 1.5)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.bool", True)
    writer.add_array("t.strings", ["a", "", "é", "long " * 50])
    writer.add_array("t.integers", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -1.0])
    writer.add_array("t.flags", [True, False])
    for name in types:
        kind = gguf.GGMLQuantizationType[name]
        data = floats if name == "F32" else gguf.quants.quantize(floats, kind)
        data = floats.astype(np.float16) if name == "F16" else data
        writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)
    writer.add_tensor("bias", floats[0, :5].copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for alignment in (None, 8, 256):
        label = f"alignment {alignment or 32}"
        model = folder / f"model{alignment}.gguf"
        write(model, alignment=alignment)
        prefix = folder / f"part{alignment}"
        parts = json.loads(run("split", model, prefix, "--max-tensors", 4, "--json"))["parts"]
        found, total = {}, 0
        for number, part in enumerate(parts):
            reader = gguf.GGUFReader(part["path"])
            check(
                f"{label}: gguf-py finds the numbers of part {number + 1}",
                reader.fields["split.no"].contents() == number
                and reader.fields["split.no"].types == [gguf.GGUFValueType.UINT16]
                and reader.fields["split.count"].contents() == len(parts)
                and reader.fields["split.count"].types == [gguf.GGUFValueType.UINT16]
                and reader.fields["split.tensors.count"].contents() == len(quantized) + 1
                and reader.fields["split.tensors.count"].types == [gguf.GGUFValueType.INT32],
            )
            found |= tensors_of(part["path"])
        check(f"{label}: gguf-py finds the same tensors in the parts", found == tensors_of(model))
        check(f"{label}: the first part has the metadata", fields_of(parts[0]["path"]) == fields_of(model))
        merged = folder / f"merged{alignment}.gguf"
        run("merge", parts[0]["path"], merged)
        check(f"{label}: split and merged, the file is gguf-py's byte for byte", merged.read_bytes() == model.read_bytes())
        run("merge", parts[0]["path"], merged, fails=True)
        run("split", model, prefix, "--max-tensors", 4, fails=True)

    model = folder / "modelNone.gguf"
    before, old = tensors_of(model), fields_of(model)
    run("metadata", "set", model, "t.u32", "7")
    run("metadata", "set", model, "general.name", "a longer name " * 20)
    run("metadata", "set", model, "general.tags", '["x","é"]')
    run("metadata", "delete", model, "t.strings")
    run("metadata", "rename", model, "t.f64", "t.double")
    after = fields_of(model)
    check("edited: gguf-py finds the same tensors", tensors_of(model) == before)
    check(
        "edited: gguf-py finds the new values with their types",
        after["t.u32"] == ([gguf.GGUFValueType.UINT32], 7)
        and after["general.name"][1] == "a longer name " * 20
        and after["general.tags"][1] == ["x", "é"]
        and "t.strings" not in after
        and after["t.double"] == old["t.f64"]
        and after["t.integers"] == old["t.integers"],
    )

    big, little = folder / "big.gguf", folder / "little.gguf"
    write(big, gguf.GGUFEndian.BIG, types=["F32", "F16"])
    write(little, types=["F32", "F16"])
    run("metadata", "set", big, "general.name", "Heron")
    run("metadata", "set", little, "general.name", "Heron")
    check("a big-endian file edited is the little-endian one byte for byte", big.read_bytes() == little.read_bytes())

    shards = folder / "hf"
    shards.mkdir()
    for number in (1, 2):
        save_file(
            {f"t{number}.{i}": floats[i].astype(t) for i, t in enumerate((np.float32, np.float16, np.int32))},
            shards / f"model-0000{number}-of-00002.safetensors",
            metadata={"format": "np"},
        )
    names = {f"t{n}.{i}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2) for i in range(3)}
    (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    report = json.loads(run("inspect", shards, "--json"))
    expected = {}
    for file in sorted(shards.glob("*.safetensors")):
        with safe_open(file, "np") as opened:
            for name in opened.keys():
                part = opened.get_slice(name)
                expected[name] = (part.get_dtype(), part.get_shape())
    check(
        "inspect lists the tensors of a sharded folder as the official reader does",
        {t["name"]: (t["type"], t["dimensions"]) for t in report["tensors"]} == expected,
    )

sys.exit(failures > 0)
