#!/usr/bin/env python3
"""Soft-prompt tuning by PEFT on the CPU, F32: the losses (and the speed) that ours are compared with.

    python peft_losses.py --model HF_FOLDER --data TASK.jsonl --method prompt-tuning|prefix-tuning
        [--init INIT.npy | --make-init INIT.npy --init-text TEXT] [--optimizer sgd|adamw] [--steps 10] …

Rows {"input", "target", "split"}; an example is input + "\\nAnswer:" and then " " + target, the loss is the mean over the
batch's target tokens. Step s takes training rows (s * batch + i) mod count, in the file's order. INIT.npy is
[tokens, columns] F32 in PEFT's layout. --make-init writes one: the text's embeddings (cycled to --tokens), or the keys
and values of a real prefill of the text, which is what makes a prefix start as the text itself.
Prints one JSON line: losses, examplesPerSecond and tokensPerSecond without the first two steps (real tokens only),
peakMemoryMegabytes.
"""

import argparse
import json
import resource
import time

import numpy as np
import torch
from peft import PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM


def initial_values(model, tokenizer, text, method, tokens):
    ids = tokenizer.encode(text).ids
    ids = (ids * (tokens // len(ids) + 1))[:tokens]
    with torch.no_grad():
        if method == "prompt-tuning":
            return model.get_input_embeddings()(torch.tensor(ids)).numpy().astype(np.float32)
        cache = model(torch.tensor([ids]), use_cache=True).past_key_values
        columns = []  # layer by layer, keys before values; within, head by head
        for layer in cache.layers:
            for part in (layer.keys, layer.values):  # (1, heads, tokens, headDimension)
                columns.append(part[0].permute(1, 0, 2).reshape(tokens, -1))
        return torch.cat(columns, dim=1).numpy().astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--method", choices=["prompt-tuning", "prefix-tuning"], required=True)
    parser.add_argument("--init")
    parser.add_argument("--make-init")
    parser.add_argument("--init-text", default="Say what kind of thing is described. " * 8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--optimizer", choices=["sgd", "adamw"], default="sgd")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-final", help="write the trained values as .npy")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    tokenizer = Tokenizer.from_file(f"{a.model}/tokenizer.json")
    base = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
    if a.make_init:
        np.save(a.make_init, initial_values(base, tokenizer, a.init_text, a.method, a.tokens))
        a.init = a.init or a.make_init
    config = PromptTuningConfig if a.method == "prompt-tuning" else PrefixTuningConfig
    model = get_peft_model(base, config(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=a.tokens))
    weight = model.prompt_encoder["default"].embedding.weight
    if a.init:
        with torch.no_grad():
            weight.copy_(torch.from_numpy(np.load(a.init)))
    with open(a.data, encoding="utf-8") as file:
        train = [row for row in map(json.loads, file) if row["split"] == "train"]
    examples = [
        (tokenizer.encode(row["input"] + "\nAnswer:").ids, tokenizer.encode(" " + row["target"]).ids) for row in train
    ]

    def batch(step):
        chosen = [examples[(step * a.batch + i) % len(examples)] for i in range(a.batch)]
        longest = max(len(x) + len(y) for x, y in chosen)
        ids = torch.zeros((a.batch, longest), dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row, (x, y) in enumerate(chosen):
            ids[row, : len(x) + len(y)] = torch.tensor(x + y)
            mask[row, : len(x) + len(y)] = 1
            labels[row, len(x) : len(x) + len(y)] = torch.tensor(y)
        return ids, mask, labels, sum(len(x) + len(y) for x, y in chosen)

    optimizer = torch.optim.SGD([weight], lr=a.lr) if a.optimizer == "sgd" else torch.optim.AdamW(
        [weight], lr=a.lr, weight_decay=0)
    model.train()
    losses, seconds, tokens = [], [], []
    for step in range(a.steps):
        start = time.monotonic()
        ids, mask, labels, count = batch(step)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(round(loss.item(), 6))
        seconds.append(time.monotonic() - start)
        tokens.append(count)
    skip = min(2, a.steps - 1)
    if a.save_final:
        np.save(a.save_final, weight.detach().numpy())
    print(json.dumps({
        "engine": "peft", "method": a.method, "virtualTokens": a.tokens, "batch": a.batch, "steps": a.steps,
        "optimizer": a.optimizer, "learningRate": a.lr, "losses": losses,
        "examplesPerSecond": round((a.steps - skip) * a.batch / sum(seconds[skip:]), 3),
        "tokensPerSecond": round(sum(tokens[skip:]) / sum(seconds[skip:]), 1),
        "peakMemoryMegabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }))


if __name__ == "__main__":
    main()
