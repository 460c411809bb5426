#!/usr/bin/env python3
"""Write ids.json: five prompts of 64 tokens each, as lists of ids.   python make_ids.py HF_FOLDER ids.json"""

import json
import os
import sys

from tokenizers import Tokenizer

POSITIONS = 64
PROMPTS = [
    # prose
    "The harbour master kept two ledgers. In the first he wrote what the ships declared, and in the second what he had "
    "seen with his own eyes from the window above the customs house. For thirty years nobody asked for the second one, "
    "and then, on a wet morning in March, a young woman came in and asked for nothing else.",
    # exposition
    "Photosynthesis is the process by which green plants, algae and some bacteria turn light into chemical energy. "
    "Water is split in the light reactions, oxygen is released, and the energy is stored in molecules that later drive "
    "the fixing of carbon dioxide into sugars. The rate depends on light, temperature and water, and above a certain "
    "brightness it no longer rises, because the enzymes that fix the carbon are already as busy as they can be.",
    # code
    "def merge(left, right):\n    result = []\n    i = j = 0\n    while i < len(left) and j < len(right):\n        "
    "if left[i] <= right[j]:\n            result.append(left[i])\n            i += 1\n        else:\n            "
    "result.append(right[j])\n            j += 1\n    return result + left[i:] + right[j:]\n",
    # conversation
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHow do I keep basil fresh for a week "
    "in summer?<|im_end|>\n<|im_start|>assistant\nTrim the stems, put them in a glass of water like flowers, cover the "
    "leaves loosely with a bag and keep the glass at room temperature, away from the sun.<|im_end|>\n",
    # labelled examples, numbers, other scripts
    "a small bird with a red breast\nAnswer: animal\n\na tool for driving nails\nAnswer: artifact\n\na soft white cheese "
    "made from sheep's milk\nAnswer: food\n\nIn 1897 the town had 12,480 inhabitants; in 2011, 96,003. Æbleskiver, "
    "crème brûlée, Москва, 東京.\nAnswer: place\n",
]


def main():
    tokenizer = Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
    lists = [tokenizer.encode(prompt).ids[:POSITIONS] for prompt in PROMPTS]
    short = [i for i, ids in enumerate(lists) if len(ids) < POSITIONS]
    if short:
        sys.exit(f"prompts {short} have fewer than {POSITIONS} tokens")
    with open(sys.argv[2], "w") as file:
        json.dump(lists, file)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
