#!/usr/bin/env python3
"""Teacher-forced logits by transformers, F32:   python reference_logits.py HF_FOLDER ids.json out.f32

The output is raw little-endian F32, all positions of all lists one after the other, vocabulary innermost.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM


def main():
    folder, ids_path, out = sys.argv[1:4]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with open(out, "wb") as file, torch.no_grad():
        for ids in json.load(open(ids_path)):
            file.write(model(torch.tensor([ids])).logits[0].numpy().astype("<f4").tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main()
