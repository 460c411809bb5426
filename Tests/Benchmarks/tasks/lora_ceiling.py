#!/usr/bin/env python3
"""What a task's ceiling is on this base: LoRA on every linear layer, by PEFT in F32. Prints one JSON line.

    python lora_ceiling.py --model HF_FOLDER --data TASK.jsonl --instruction TEXT [--rank 16] [--steps 400]

HF_FOLDER holds the same weights (Tests/Oracles/hf_from_gguf.py). A prompt of 32 virtual tokens has 368 640 numbers; LoRA of
rank 16 has 4.9 million, at every place of the network. Every row follows the instruction, as it does in use: without one
the row's first token is the one that all attention rests on, and what it says is lost. The checkpoint is chosen on dev;
test is scored there too, and only reported for the one chosen. Labels compete by the logit of their (one) token, free
answers count when every token of target and end of text is the likeliest, which is what greedy generation would give.
"""

import argparse
import json
import random
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer


class Task:
    def __init__(self, path, instruction, tokenizer):
        with open(path, encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        self.tokenizer, self.end = tokenizer, tokenizer.eos_token_id
        self.before = instruction + "\n\n" if instruction else ""
        self.split = {name: [row for row in rows if row["split"] == name] for name in ("train", "dev", "test")}
        labels = sorted({row["target"] for row in self.split["train"]})
        self.labels = labels if len(labels) <= 64 else []
        self.first = [tokenizer(" " + label)["input_ids"][0] for label in self.labels]

    def batch(self, rows):
        """Ids, attention mask and labels, padded at the end."""
        encoded = []
        for row in rows:
            context = self.tokenizer(self.before + row["input"] + "\nAnswer:")["input_ids"]
            target = self.tokenizer(" " + row["target"])["input_ids"] + [self.end]
            encoded.append((context + target, [-100] * len(context) + target))
        longest = max(len(ids) for ids, _ in encoded)
        return (
            torch.tensor([ids + [self.end] * (longest - len(ids)) for ids, _ in encoded]),
            torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in encoded]),
            torch.tensor([targets + [-100] * (longest - len(targets)) for _, targets in encoded]),
        )

    def accuracy(self, model, split):
        model.eval()
        right, rows = 0, self.split[split]
        with torch.no_grad():
            for start in range(0, len(rows), 32):
                part = rows[start:start + 32]
                ids, mask, targets = self.batch(part)
                logits = model(input_ids=ids, attention_mask=mask).logits
                for k, row in enumerate(part):
                    places = (targets[k] != -100).nonzero()[:, 0]
                    if self.labels:
                        right += self.labels[int(logits[k, places[0] - 1, self.first].argmax())] == row["target"]
                    else:
                        right += bool((logits[k, places - 1].argmax(-1) == targets[k, places]).all())
        model.train()
        return right / len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--instruction", default="", help="the hand-written prompt that stands before every row")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    order = random.Random(a.seed)
    task = Task(a.data, a.instruction, AutoTokenizer.from_pretrained(a.model))
    base = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(
        r=a.rank, lora_alpha=2 * a.rank, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=a.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 10) * (1 - 0.9 * step / a.steps))
    model.train()
    left, best, began = [], None, time.time()
    for step in range(1, a.steps + 1):
        if len(left) < a.batch:
            again = list(task.split["train"])
            order.shuffle(again)
            left += again
        rows, left = left[:a.batch], left[a.batch:]
        ids, mask, targets = task.batch(rows)
        loss = model(input_ids=ids, attention_mask=mask, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % a.evaluate_every == 0 or step == a.steps:
            dev = task.accuracy(model, "dev")
            print(f"step {step}: loss {loss.item():.3f}, dev {100 * dev:.1f} %, {time.time() - began:.0f} s",
                  file=sys.stderr, flush=True)
            if best is None or dev > best["dev"]:
                best = {"step": step, "dev": dev, "test": task.accuracy(model, "test")}
    print(json.dumps({"data": a.data, "rank": a.rank, "parameters": sum(p.numel() for p in parameters), **best}))


if __name__ == "__main__":
    main()
