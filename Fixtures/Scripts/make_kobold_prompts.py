#!/usr/bin/env python3
"""Soft prompts as KoboldAI and mtj-softtuner pack them, by Python's own zipfile and lzma: stored, deflated and LZMA.

Writes Fixtures/SoftPrompts/kobold-{f16,f32,bf16}.zip; each holds 3 vectors of 8 values, value (i, j) = (i * 8 + j) / 4 - 2.
"""
import io
import json
import pathlib
import struct
import zipfile

OUT = pathlib.Path(__file__).resolve().parent.parent / "SoftPrompts"


def npy(descr: str, data: bytes) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (3, 8), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def main() -> None:
    OUT.mkdir(exist_ok=True)
    values = [i / 4 - 2 for i in range(24)]
    kinds = {
        "f16": (npy("<f2", struct.pack("<24e", *values)), zipfile.ZIP_LZMA),
        "f32": (npy("<f4", struct.pack("<24f", *values)), zipfile.ZIP_DEFLATED),
        "bf16": (npy("|V2", b"".join(struct.pack("<f", v)[2:] for v in values)), zipfile.ZIP_LZMA),
    }
    meta = json.dumps({"name": "A test", "supported": ["any"], "description": "three vectors"})
    for name, (array, method) in kinds.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for entry, data, packing in [("tensor.npy", array, method), ("meta.json", meta, zipfile.ZIP_STORED)]:
                info = zipfile.ZipInfo(entry, (2020, 1, 1, 0, 0, 0))
                info.compress_type = packing
                archive.writestr(info, data)
        (OUT / f"kobold-{name}.zip").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
