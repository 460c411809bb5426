#!/usr/bin/env python3
"""Makes what the benchmark of formats works on, in FOLDER (nothing is made again that is there).

    python make_large_models.py FOLDER --megabytes 1500

`model/`: a llama of random BF16 weights in two shards, with a byte-level BPE tokenizer of GPT-2's structure.
`vocabulary/`: a tokenizer.json of 256 000 tokens and 255 740 merges, as large models have.
"""

import argparse
import itertools
import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers


def write_tokenizer(folder, size):
    """Merges double words up: every token of more than a byte is one token with a byte behind it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    merges, last = [], list(alphabet)
    while len(vocabulary) < size - 4:
        fresh = []
        for left, right in itertools.product(last, alphabet):
            if len(vocabulary) >= size - 4:
                break
            vocabulary[left + right] = len(vocabulary)
            merges.append((left, right))
            fresh.append(left + right)
        last = fresh
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>", "<|pad|>", "<|turn|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_model(folder, megabytes):
    width, inner, vocabulary = 2048, 5632, 32768
    layer = 2 * (2 * width * width + 2 * width * 512 + 3 * width * inner)
    layers = max(1, (megabytes * 10**6 - 2 * vocabulary * width) // layer)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "vocab_size": vocabulary,
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True, "bos_token_id": vocabulary - 4,
        "eos_token_id": vocabulary - 3,
    }
    random = torch.Generator().manual_seed(7)
    make = lambda *shape: (torch.randn(*shape, generator=random) * 0.02).to(torch.bfloat16)
    shards = [{}, {}]
    shards[0]["model.embed_tokens.weight"] = make(vocabulary, width)
    shards[1]["model.norm.weight"] = make(width)
    for number in range(layers):
        base, shard = f"model.layers.{number}.", shards[number * 2 // layers]
        for name, shape in {
            "input_layernorm": (width,), "post_attention_layernorm": (width,), "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (512, width), "self_attn.v_proj": (512, width), "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner),
        }.items():
            shard[f"{base}{name}.weight"] = make(*shape)
    weights, size = {}, 0
    for number, shard in enumerate(shards):
        file = f"model-{number + 1:05}-of-00002.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weights.update({name: file for name in shard})
        size += sum(tensor.numel() * 2 for tensor in shard.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": weights}))
    write_tokenizer(folder, vocabulary)
    (folder / "config.json").write_text(json.dumps(config, indent=1))  # last: says that the folder is complete


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--megabytes", type=int, default=1500)
    options = parser.parse_args()
    for name, make in (("model", lambda f: write_model(f, options.megabytes)),
                       ("vocabulary", lambda f: write_tokenizer(f, 256000))):
        folder = options.folder / name
        if (folder / ("config.json" if name == "model" else "tokenizer_config.json")).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)


if __name__ == "__main__":
    main()
