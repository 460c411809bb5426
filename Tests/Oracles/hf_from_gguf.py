#!/usr/bin/env python3
"""Turn a llama-architecture GGUF into a Hugging Face folder with dequantized F32 weights: the oracles' base.

    python hf_from_gguf.py MODEL.gguf OUT_FOLDER

Only the numbers come from the file: each tensor is dequantized by gguf-py, query and key rows go back to rotate-half
order, and the tokenizer is built from the vocabulary with the pre-tokenizer that the file names.
"""

import json
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

LAYER_TENSORS = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
OTHER_TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def read(fields, key, default=None):
    return fields[key].contents() if key in fields else default


def configuration(fields, tied):
    get = lambda key, default=None: read(fields, "llama." + key, default)
    heads = get("attention.head_count")
    head_dimension = get("attention.key_length", get("rope.dimension_count", get("embedding_length") // heads))
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32",
        "vocab_size": len(read(fields, "tokenizer.ggml.tokens")), "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"), "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads, "num_key_value_heads": get("attention.head_count_kv", heads),
        "head_dim": head_dimension, "max_position_embeddings": get("context_length"),
        "rope_theta": get("rope.freq_base", 10000.0), "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": tied,
        "bos_token_id": read(fields, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": read(fields, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": read(fields, "tokenizer.ggml.padding_token_id"),
    }


def tokenizer(fields):
    model, kind = read(fields, "tokenizer.ggml.model"), read(fields, "tokenizer.ggml.pre")
    if (model, kind) not in (("gpt2", "smollm"), ("gpt2", "gpt-2")):
        sys.exit(f"no recipe for the tokenizer {model}/{kind}; add its pre-tokenizer here")
    tokens, kinds = read(fields, "tokenizer.ggml.tokens"), read(fields, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in read(fields, "tokenizer.ggml.merges")]
    result = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    if kind == "smollm":
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    result.pre_tokenizer = pre_tokenizers.Sequence(steps)
    result.decoder = decoders.ByteLevel()
    control = 3  # token type: never produced by text, only by itself
    result.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token, k in zip(tokens, kinds) if k == control])
    return result


def convert(source, out):
    reader = gguf.GGUFReader(source)
    fields = reader.fields
    if read(fields, "general.architecture") != "llama":
        sys.exit("only the llama architecture")
    names = {tensor.name for tensor in reader.tensors}
    config = configuration(fields, tied="output.weight" not in names)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    state = {}
    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        value = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        value = value.reshape([int(d) for d in reversed(tensor.shape)])
        if parts[0] != "blk":
            name = OTHER_TENSORS[parts[0]]
        else:
            name = f"model.layers.{parts[1]}.{LAYER_TENSORS[parts[2]]}"
            if parts[2] in heads:
                pairs = value.reshape(heads[parts[2]], config["head_dim"] // 2, 2, -1)
                value = pairs.swapaxes(1, 2).reshape(value.shape)
        state[f"{name}.{parts[-1]}"] = np.ascontiguousarray(value)
    os.makedirs(out, exist_ok=True)
    save_file(state, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    os.chmod(os.path.join(out, "model.safetensors"), 0o644)
    tokens = read(fields, "tokenizer.ggml.tokens")
    special = {
        f"{role}_token": tokens[config[f"{role}_token_id"]]
        for role in ("bos", "eos", "pad") if config[f"{role}_token_id"] is not None
    }
    with open(os.path.join(out, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    with open(os.path.join(out, "tokenizer_config.json"), "w") as file:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **special,
                   "chat_template": read(fields, "tokenizer.chat_template")}, file, indent=1)
    tokenizer(fields).save(os.path.join(out, "tokenizer.json"))


def folder_for(source, out):
    """The folder for this GGUF, made unless a complete one is there (config.json is not the last file; weights are)."""
    marker = os.path.join(out, "made_from.txt")
    stamp = f"{os.path.abspath(source)} {os.path.getsize(source)} {os.stat(source).st_mtime_ns}"
    if not os.path.exists(marker) or open(marker).read() != stamp:
        convert(source, out)
        with open(marker, "w") as file:
            file.write(stamp)
    return out


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder_for(sys.argv[1], sys.argv[2])
