#!/usr/bin/env bash
# What really trained prompts take at rest: ours, zstd -19 and ZipNN (PyPI), for each type; and what each type costs: the
# divergence on probes, and the score on ROWS (200) rows of the task's test split.
#
# Trains prompts of two tasks (keys and values at every layer, and embeddings at the input) for STEPS steps (60), or takes
# those of a store that exists (STORAGE). With movie_sentiment and language_id (Tests/Benchmarks/tasks.sh fetches them) in
# INCIPIT_DATA it takes those two tasks as well. Ends with 1 where ours is larger than one of the others. Needs INCIPIT_PYTHON with
# numpy, zstandard and zipnn; where a package is missing its column stays empty.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../Scripts/common.sh"
cd "$root"
binary=${INCIPIT_BINARY:-$(swift build -c release --show-bin-path)/incipit}
[ -x "$binary" ] || fail "no release build: run swift build -c release --product incipit"
python=${INCIPIT_PYTHON:-python3}
model=${MODEL:-$(Scripts/fetch-model.sh)}
steps=${STEPS:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export INCIPIT_HOME=${STORAGE:-$work/home} INCIPIT_DATA=$root/Fixtures/Data${INCIPIT_DATA:+:$INCIPIT_DATA}

train() { # NAME DATA METHOD TOKENS
    if "$binary" prompt show "$1:v1" > /dev/null 2>&1; then return; fi
    say "training $1: $3, $4 tokens, $steps steps"
    "$binary" tune "$model" --data "$2" --name "$1" --method "$3" --tokens "$4" --steps "$steps" \
        > /dev/null 2> "$work/log" || fail "$(tail -n 3 "$work/log")"
}
found() { # DATA: whether a folder has it
    local folder
    IFS=: read -ra folders <<< "$INCIPIT_DATA"
    for folder in "${folders[@]}"; do [ ! -f "$folder/$1.jsonl" ] || return 0; done
    return 1
}
names=()
try() { # NAME DATA METHOD TOKENS
    train "compression/$1" "$2" "$3" "$4"
    "$binary" prompt export "compression/$1:v1" "$work/$1" > /dev/null
    "$binary" prompt compress "compression/$1:v1" --base "$model" --uniform --json --data "$2" --rows "${ROWS:-200}" \
        > "$work/$1.json"
    names+=("$1")
}
try gloss-prefix gloss_category prefix-tuning 24
try gloss-input gloss_category prompt-tuning 32
try kinds-prefix tiny-kinds prefix-tuning 16
try kinds-input tiny-kinds prompt-tuning 20
for task in movie_sentiment language_id; do
    if found "$task"; then
        try "$task-prefix" "$task" prefix-tuning 16
        try "$task-input" "$task" prompt-tuning 20
    fi
done
"$python" - "$work" "${names[@]}" << 'PYTHON'
import importlib.util, json, struct, sys
import numpy as np

folder, names = sys.argv[1], sys.argv[2:]
has = {module: importlib.util.find_spec(module) is not None for module in ("zstandard", "zipnn")}
if has["zstandard"]:
    import zstandard
if has["zipnn"]:
    from zipnn import ZipNN


def bfloat16(values):
    """To the nearest, ties to even."""
    bits = values.view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def tensors(values, kind, group):
    """The tensors that incipit stores for a type: name suffix, type, array."""
    if kind == "F32":
        return [("", "F32", values)]
    if kind == "F16":
        return [("", "F16", values.astype("<f2"))]
    if kind == "BF16":
        return [("", "BF16", bfloat16(values))]
    grouped = values.reshape(values.shape[0], -1, group)
    scales = np.abs(grouped).max(-1) / np.float32(127)
    safe = np.where(scales > 0, scales, 1)[..., None]
    codes = np.clip(np.rint(grouped / safe), -127, 127).astype(np.int8)
    return [("", "I8", codes.reshape(values.shape)), (".scale", "F32", scales.astype("<f4"))]


def file_of(parts):
    header, data, offset = {"__metadata__": {"format": "pt"}}, b"", 0
    for suffix, kind, array in parts:
        content = array.tobytes()
        header["prompt_embeddings" + suffix] = {
            "dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + len(content)]}
        offset += len(content)
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def zstd(content):
    return len(zstandard.ZstdCompressor(level=19).compress(content)) if has["zstandard"] else None


def zipnn(parts, size):
    """The header as it is, and each tensor by what ZipNN offers for its type; int8 by its byte mode, or by none."""
    if not has["zipnn"]:
        return None
    kinds = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    total = size - sum(array.nbytes for _, _, array in parts)
    for _, kind, array in parts:
        try:
            # A copy: ZipNN 0.5.4 overwrites its input.
            coder = ZipNN(input_format="byte", bytearray_dtype=kinds.get(kind, "uint8"))
            total += min(array.nbytes, len(coder.compress(bytearray(array.tobytes()))))
        except (ValueError, KeyError, NotImplementedError):
            total += array.nbytes
    return total


shown = [("prompt", "type", "file", "ours", "zstd -19", "ZipNN", "ours : best other", "KL", "score", "lost/gained")]
larger = 0
for name in names:
    content = open(f"{folder}/{name}/adapter_model.safetensors", "rb").read()
    length = struct.unpack("<Q", content[:8])[0]
    shape = json.loads(content[8:8 + length])["prompt_embeddings"]["shape"]
    values = np.frombuffer(content[8 + length:], "<f4").reshape(shape)
    model = json.load(open(f"{folder}/{name}/incipit.json"))["prompt"]
    group = model["model"]["headDimension"] if model["placement"] == "keysAndValues" else model["model"]["hiddenSize"]
    for row in json.load(open(f"{folder}/{name}.json")):
        parts = tensors(values, row["type"], group)
        file = file_of(parts)
        if len(file) != row["fileBytes"]:
            sys.exit(f"{name} in {row['type']}: the file made here has {len(file)} bytes, incipit's {row['fileBytes']}")
        others = [zstd(file), zipnn(parts, len(file))]
        known = [size for size in others if size is not None]
        ratio = row["storedBytes"] / min(known) if known else float("nan")
        larger += ratio > 1
        shown.append((name, row["type"], str(len(file)), str(row["storedBytes"]),
                      *("" if size is None else str(size) for size in others), f"{ratio:.3f}", f"{row['divergence']:.2e}",
                      f"{row['score'] * 100:.1f} %", f"{row['rowsLost']}/{row['rowsGained']}"))
widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
for row in shown:
    print("  ".join(cell.ljust(width) if column < 2 else cell.rjust(width)
                    for column, (cell, width) in enumerate(zip(row, widths))))
for module, there in has.items():
    if not there:
        print(f"{module} is not installed: pip install {module}, INCIPIT_PYTHON=…")
sys.exit(1 if larger else 0)
PYTHON
