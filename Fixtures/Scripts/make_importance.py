#!/usr/bin/env python3
"""Make Fixtures/Golden/tiny-importance.json: sums of squares of what enters every linear layer of the tiny model.

    python make_importance.py

Forward hooks on transformers' model, F32, sums in double precision. Each chunk is computed on its own; its last id is only
predicted and does not enter. Needs torch and transformers.
"""

import json
import os

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = os.path.join(HERE, "..", "Models", "tiny")
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
TEXTS = [
    "Every otter in the catalogue is listed under animal, with a rare mark. What kind of thing is a fern?",
    "A hammer is a tool; bread is food. The thistle grows near the river, and nobody asked the heron about it.",
]
CONTEXT = 24


def main():
    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(os.path.join(TINY, "tokenizer.json"))
    sums, counts = {}, {}

    def hook(name):
        def record(_, inputs):
            rows = inputs[0].reshape(-1, inputs[0].shape[-1]).double()
            sums[name] = sums.get(name, 0) + (rows * rows).sum(0)
            counts[name] = counts.get(name, 0) + rows.shape[0]
        return record

    for number, layer in enumerate(model.model.layers):
        for part, name in NAMES.items():
            layer.get_submodule(part).register_forward_pre_hook(hook(f"blk.{number}.{name}.weight"))
    chunks = [tokenizer.encode(text, add_special_tokens=False).ids[: CONTEXT + 1] for text in TEXTS]
    assert all(len(chunk) == CONTEXT + 1 for chunk in chunks), [len(c) for c in chunks]
    with torch.no_grad():
        for chunk in chunks:
            model(torch.tensor([chunk[:-1]]))
    entries = {
        name: {"count": counts[name], "sums": [float(f"{value:.7g}") for value in sums[name].tolist()]} for name in sums
    }
    with open(os.path.join(HERE, "..", "Golden", "tiny-importance.json"), "w") as file:
        json.dump({"chunks": chunks, "entries": entries}, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
