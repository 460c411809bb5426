#!/usr/bin/env python3
"""How `incipit convert` conducts itself on large models: memory, interruption, a disk that is full.

    python conduct.py INCIPIT --work FOLDER [--gigabytes 16]

The model is a llama of that many GiB in BF16 whose shards are holes: they read as zeros and take no room; the result
does. Checks: peak resident memory below 1 GiB for convert and fingerprint; split output is read back and has the
source's fingerprint; Ctrl-C and a kill in the middle leave nothing (a kill: nothing but a temporary file); a file system
without room is refused before the work, one that fills up meanwhile (a small tmpfs, where mounting is permitted) gives
one sentence and leaves nothing. Ends with 1 if anything fails.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time

failures = []


def check(condition, what):
    print(("ok      " if condition else "FAILED  ") + what, flush=True)
    if not condition:
        failures.append(what)


def write_shard(path, tensors):
    """`tensors` maps names to shapes, BF16; the data is one hole."""
    header, offset = {}, 0
    for name, shape in tensors.items():
        size = 2
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return offset


def write_model(folder, gigabytes):
    """A vocabulary of 288 tokens, so that the tokenizer is small, and wide layers."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    import conversion_models

    folder.mkdir(parents=True)
    width, rows = 8192 if gigabytes >= 8 else 2048, conversion_models.VOCABULARY
    inner = width * 7 // 2
    shapes = {
        "input_layernorm": [width], "post_attention_layernorm": [width], "self_attn.q_proj": [width, width],
        "self_attn.k_proj": [1024, width], "self_attn.v_proj": [1024, width], "self_attn.o_proj": [width, width],
        "mlp.gate_proj": [inner, width], "mlp.up_proj": [inner, width], "mlp.down_proj": [width, inner],
    }
    layer = 2 * sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes.values())
    layers = max(2, round(gigabytes * 2**30 / layer))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "vocab_size": rows,
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": width // 128,
        "num_key_value_heads": 8, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": True, "rope_theta": 10000.0, **conversion_models.IDS,
    }
    (folder / "config.json").write_text(json.dumps(config))
    conversion_models.write_tokenizer(folder, rows)
    weights, size = {}, 0
    for number in range(layers):
        tensors = {f"model.layers.{number}.{name}.weight": shape for name, shape in shapes.items()}
        if number == 0:
            tensors |= {"model.embed_tokens.weight": [rows, width], "model.norm.weight": [width]}
        file = f"model-{number + 1:05}-of-{layers:05}.safetensors"
        size += write_shard(folder / file, tensors)
        weights |= {name: file for name in tensors}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": weights}))
    return size


def run(*command):
    """The process's result and its peak resident memory in MiB."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as file:
                peak = max([peak] + [int(line.split()[1]) >> 10 for line in file if line.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.02)
    out, error = process.communicate()
    return process.returncode, out, error.strip(), peak


def stop_in_the_middle(incipit, model, folder, number):
    """Sends a signal once some data was written; gives the names that are left."""
    folder.mkdir()
    process = subprocess.Popen(
        [incipit, "convert", model, folder / "x.gguf", "--type", "f16", "--no-fingerprint"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        if any(file.stat().st_blocks > 40000 for file in folder.iterdir()):
            break
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    code = process.wait(timeout=120)
    left = sorted(file.name for file in folder.iterdir())
    shutil.rmtree(folder)
    return code, left


def full_disk(incipit, model, work):
    """On a file system in memory of exactly the size that is wanted."""
    mount, small = work / "small", work / "tiny"
    mount.mkdir()
    size = write_model(small, 0.5)

    def mounted(room):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", mount], capture_output=True).returncode == 0

    if not mounted(64 << 20):
        print("skipped a full disk: mounting is not permitted here")
        return
    try:
        code, _, error, _ = run(incipit, "convert", model, mount / "x.gguf", "--no-fingerprint")
        check(code != 0 and "free" in error, f"too little room is refused before the work: {error.splitlines()[-1:]}")
        check(not list(mount.iterdir()), "nothing is left there")
    finally:
        subprocess.run(["umount", mount], check=True)
    if not mounted(size + (128 << 20)):
        return
    try:
        # There is room when the work begins; then another program takes it.
        process = subprocess.Popen(
            [incipit, "convert", small, mount / "x.gguf", "--no-fingerprint", "--max-size", "50M"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not any(file.stat().st_blocks for file in mount.iterdir()):
            time.sleep(0.001)
        with open(mount / "another program's", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 20))
            except OSError:
                pass
        error = process.communicate(timeout=300)[1].strip()
        check(process.returncode != 0 and "disk is full" in error, f"a disk that fills up: {error.splitlines()[-1:]}")
        left = sorted(file.name for file in mount.iterdir())
        check(left == ["another program's"], f"nothing is left: {left}")
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", mount], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("incipit")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=16)
    options = parser.parse_args()
    work = options.work / "conduct"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        examine(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if failures else 0)


def examine(options, work):
    model = work / "model"
    size = write_model(model, options.gigabytes)
    print(f"a folder of {size / 2**30:.1f} GiB")
    for name, number in (("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM)):
        code, left = stop_in_the_middle(options.incipit, model, work / "stopped", number)
        check(code != 0 and not left, f"{name} leaves nothing (status {code}, left {left})")
    full_disk(options.incipit, model, work)
    code, out, error, peak = run(options.incipit, "fingerprint", model, "--no-cache")
    source = out.split("\n")[0]
    check(code == 0 and peak < 1024, f"fingerprint of the folder: {peak} MiB resident {error}")
    if shutil.disk_usage(work).free < size * 1.1:
        print("skipped the conversion: the result would not fit on this disk")
        return
    target = work / "out.gguf"
    limit = "4G" if options.gigabytes >= 8 else "400M"
    start = time.time()
    code, _, error, peak = run(
        options.incipit, "convert", model, target, "--type", "f16", "--max-size", limit, "--no-fingerprint")
    took = time.time() - start
    parts = sorted(file.name for file in work.glob("out-*.gguf"))
    check(code == 0 and peak < 1024, f"convert: {peak} MiB resident, {size / 1e6 / took:.0f} MB/s, parts {parts} {error}")
    if code != 0 or not parts:
        return
    check(all((work / part).stat().st_size <= (2**32 if limit == "4G" else 400 * 2**20) for part in parts), "no part is larger than asked for")
    code, out, error, peak = run(options.incipit, "fingerprint", work / parts[0], "--no-cache")
    check(code == 0 and peak < 1024, f"fingerprint of the parts: {peak} MiB resident {error}")
    check(out.split("\n")[0] == source, "the parts have the folder's fingerprint")
    if options.gigabytes <= 2:
        code, _, error, _ = run(options.incipit, "merge", work / parts[0], work / "whole.gguf")
        _, out, _, _ = run(options.incipit, "fingerprint", work / "whole.gguf", "--no-cache")
        check(code == 0 and out.split("\n")[0] == source, f"so has the merged file {error}")


if __name__ == "__main__":
    main()
