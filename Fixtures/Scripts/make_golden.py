#!/usr/bin/env python3
"""Make Fixtures/Golden: what Hugging Face's own libraries compute for the tiny model, and how they split text.

    python make_golden.py [--smollm2 SmolLM2-135M-Instruct.Q4_1.gguf]

Needs torch, transformers, peft, gguf, tokenizers, numpy.

Writes
  tiny-logits.json            teacher-forced logits of each form of the tiny model (quantized files dequantized to F32)
  tiny-peft.json              ten SGD steps of PEFT's prompt tuning and prefix tuning on the tiny model
  tiny-tokenization.json      text -> ids for the tiny tokenizer
  smollm2-tokenization.json   the same texts with SmolLM2's tokenizer (only with --smollm2)
"""

import argparse
import json
import os

import gguf
import numpy as np
import torch
from peft import PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = os.path.join(HERE, "..", "Models", "tiny")
GOLDEN = os.path.join(HERE, "..", "Golden")
HEADS, KEY_VALUE_HEADS, HEAD_DIMENSION = 4, 2, 16

TEXTS = [
    "", " ", "a", "The otter sleeps near the river.", "What kind of thing is a fern? It is a plant.\nAnswer: plant",
    "  two leading spaces", "trailing spaces   ", "tabs\tand\t\ttabs", "line\nline\n\nline\n\n\n", "\r\nwindows\r\n",
    "a  b   c    d", " \n \n  x", "\u00a0no-break\u00a0space", "\u3000ideographic space", "\u2028line separator",
    "it's I'm you're we've they'll he'd don't", "IT'S I'M YOU'RE", "'tis 'twas ''quoted''", "it\u2019s curly",
    "1 12 123 1234 12345", "3.14159, 1,000,000 and 2026-11-24", "x1y2z3", "½ ² ٣ Ⅳ 一二三", "७८९ digits",
    "café naïve Ångström", "cafe\u0301 combining", "Привет, мир! Ещё раз.", "Ελληνικά ΑΒΓ", "עברית שלום", "العربية مرحبا",
    "日本語のテキスト", "中文字符，测试。", "한국어 텍스트", "ไทย", "हिन्दी पाठ",
    "🦦", "an otter 🦦 waits", "👩‍👩‍👧‍👦 family", "🇩🇰🇯🇵 flags", "👍🏽", "smile :-) ;)", "e\u0301\u0323 stacked",
    "a+b=c; d!=e && f||g", "#include <stdio.h>\nint main(void) { return 0; }", "https://example.org/a?b=c&d=%20#e",
    "{\"key\": [1, 2.5e-3, null, true]}", "snake_case camelCase PascalCase SCREAMING_CASE", "... --- ___ *** ///",
    "<|im_start|>user\nWhat is a heron?<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>", "a<|im_end|>b",
    "<|im_start|><|im_end|><|endoftext|>", "<|im_start|", "|im_end|>", "< |im_end| >", "<|im_START|>",
    "\u0000nul", "bell\u0007", "\u200bzero width", "\ufeffbyte order mark", "\ufffdreplacement", "𝒎𝒂𝒕𝒉 𝟙𝟚", "ﬁ ligature",
    "a" * 40, " " * 40, "\n" * 10, "ababababab" * 5, "Every thistle in the catalogue is listed under plant, with a wet mark.",
]


def gguf_to_state(path):
    """Dequantize a GGUF of the llama architecture to Hugging Face names and row order, F32."""
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "ffn_down": "mlp.down_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "attn_k": "self_attn.k_proj", "attn_q": "self_attn.q_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    }
    state = {}
    for tensor in gguf.GGUFReader(path).tensors:
        value = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        value = value.reshape([int(d) for d in reversed(tensor.shape)])
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] in ("attn_q", "attn_k"):
                heads = HEADS if parts[2] == "attn_q" else KEY_VALUE_HEADS
                value = value.reshape(heads, HEAD_DIMENSION // 2, 2, -1).swapaxes(1, 2).reshape(value.shape)
            name = f"model.layers.{parts[1]}.{names[parts[2]]}.weight"
        else:
            name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[parts[0]] + ".weight"
        state[name] = torch.from_numpy(np.ascontiguousarray(value))
    return state


def load(path=None):
    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()
    if path:
        missing, unexpected = model.load_state_dict(gguf_to_state(path), strict=False)
        assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
        model.tie_weights()
    return model


def rounded(values, digits=6):
    return [float(f"{float(v):.{digits}g}") if abs(v) < 1e-3 else round(float(v), digits) for v in values]


def logits(tokenizer):
    texts = [
        "a",
        "The otter sleeps near the river.",
        "What is 42? <|im_start|>user\nWhat is a fern?<|im_end|>\n<|im_start|>assistant\n",
        "Every pike in the catalogue is listed under animal, with a red mark. A moth is an animal. 37 hammers, 512 in all; "
        "the mill isn't full. The baker keeps a cold jam by the cellar. It's a food.",
    ]
    sequences = [tokenizer.encode(text).ids for text in texts]
    result = {"about": "top5: per position, [id, logit] best first. last: all logits of the last position.", "models": {}}
    for name, path in (
        ("tiny-llama.gguf", None),
        ("tiny-llama-q4_1.gguf", os.path.join(TINY, "tiny-llama-q4_1.gguf")),
    ):
        model, rows = load(path), []
        if path is None:  # the folder and the F32 GGUF must hold the same values
            same = gguf_to_state(os.path.join(TINY, "tiny-llama.gguf"))
            assert all(torch.equal(value, model.state_dict()[key]) for key, value in same.items())
        for ids in sequences:
            with torch.no_grad():
                out = model(torch.tensor([ids])).logits[0]
            best = out.topk(5, dim=-1)
            top = [[[int(i), round(float(v), 6)] for i, v in zip(*pair)] for pair in zip(best.indices, best.values)]
            rows.append({"ids": ids, "top5": top, "last": rounded(out[-1])})
        result["models"][name] = rows
    return result


def peft_steps(tokenizer):
    rows = [json.loads(line) for line in open(os.path.join(HERE, "..", "Data", "tiny-kinds.jsonl"), encoding="utf-8")]
    train = [row for row in rows if row["split"] == "train"][:12]
    examples = [
        {"input": tokenizer.encode(row["input"] + "\nAnswer:").ids, "target": tokenizer.encode(" " + row["target"]).ids}
        for row in train
    ]
    tokens, batch, steps, rate = 4, 4, 10, 0.5
    result = {
        "about": "PEFT, F32, SGD without momentum. Step s uses examples (s*batch + i) mod count. The loss is the mean over "
        "the batch's target tokens. initial, firstGradient and final are [tokens, columns], row-major.",
        "examples": examples, "virtualTokens": tokens, "batch": batch, "steps": steps, "learningRate": rate, "methods": {},
    }
    for name, config in (
        ("prompt-tuning", PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=tokens)),
        ("prefix-tuning", PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=tokens)),
    ):
        torch.manual_seed(3)
        model = get_peft_model(load(), config)
        model.train()
        weight = model.prompt_encoder["default"].embedding.weight
        generator = np.random.default_rng(11)
        initial = np.round(generator.normal(0, 0.3, tuple(weight.shape)), 4).astype(np.float32)
        with torch.no_grad():
            weight.copy_(torch.from_numpy(initial))
        optimizer = torch.optim.SGD([weight], lr=rate)
        losses, first = [], None
        for step in range(steps):
            chosen = [examples[(step * batch + i) % len(examples)] for i in range(batch)]
            longest = max(len(e["input"]) + len(e["target"]) for e in chosen)
            ids = torch.full((batch, longest), 2)
            mask, labels = torch.zeros((batch, longest), dtype=torch.long), torch.full((batch, longest), -100)
            for row, example in enumerate(chosen):
                count, end = len(example["input"]), len(example["input"]) + len(example["target"])
                ids[row, :end] = torch.tensor(example["input"] + example["target"])
                mask[row, :end] = 1
                labels[row, count:end] = torch.tensor(example["target"])
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            if first is None:
                first = weight.grad.detach().clone()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(round(loss.item(), 6))
        result["methods"][name] = {
            "columns": weight.shape[1], "losses": losses, "initial": rounded(initial.flatten(), 4),
            "firstGradient": rounded(first.flatten(), 7), "final": rounded(weight.detach().flatten(), 6),
        }
        print(name, losses)
    return result


def smollm2_tokenizer(path):
    """SmolLM2's tokenizer from the vocabulary in its GGUF, with the pre-tokenizer its tokenizer.json names."""
    fields = gguf.GGUFReader(path).fields
    tokens, kinds = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([
        AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3
    ])
    return tokenizer


def tokenization(tokenizer):
    return {"cases": [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS]}


def save(name, value):
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    text = text.replace('{"text"', '\n{"text"').replace('{"ids"', '\n{"ids"').replace('{"input"', '\n{"input"')
    with open(os.path.join(GOLDEN, name), "w", encoding="utf-8") as file:
        file.write(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(GOLDEN, exist_ok=True)
    tokenizer = Tokenizer.from_file(os.path.join(TINY, "tokenizer.json"))
    save("tiny-tokenization.json", tokenization(tokenizer))
    save("tiny-logits.json", logits(tokenizer))
    save("tiny-peft.json", peft_steps(tokenizer))
    if arguments.smollm2:
        save("smollm2-tokenization.json", tokenization(smollm2_tokenizer(arguments.smollm2)))


if __name__ == "__main__":
    main()
