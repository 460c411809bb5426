#!/usr/bin/env python3
"""Make Fixtures/Models/tiny: a trained llama of about 100 thousand weights with its own tokenizer.

    python make_tiny_model.py [--out ../Models/tiny] [--steps 3000]

Needs numpy, gguf, safetensors, tokenizers and, for the training alone, torch and transformers. Seeds are fixed and
torch runs on one thread; another torch version or processor may still round differently, so the committed files, not
this script, are the reference that the golden files belong to.

Writes
  config.json, model.safetensors (F16), tokenizer.json, tokenizer_config.json   the Hugging Face form
  tiny-llama.gguf        F32: the very same values (they are all exact in F16), query and key rows in GGUF's order
  tiny-llama-q4_1.gguf   Q4_1 matrices, Q8_0 embedding, F32 norms: the mix of SmolLM2's published file
  ../../Data/tiny-kinds.jsonl   a labelled task in the model's own little language
"""

import argparse
import json
import os

import gguf
import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

import tiny_corpus

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = 200
LAYERS, WIDTH, HEADS, KEY_VALUE_HEADS, HEAD_DIMENSION, FEED_FORWARD = 2, 64, 4, 2, 16, 128
CONTEXT, ROPE_BASE, EPSILON = 2048, 10000.0, 1e-5
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True, normalized=False) for text in SPECIALS]
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIALS) + 256 + MERGES, special_tokens=special, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train(vocabulary, ids, steps):
    """A stock transformers Llama on windows of 96 tokens; returns F32 arrays that are exact in F16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(20260101)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=FEED_FORWARD, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KEY_VALUE_HEADS, head_dim=HEAD_DIMENSION,
        max_position_embeddings=CONTEXT, rms_norm_eps=EPSILON, tie_word_embeddings=True,
        initializer_range=0.06, bos_token_id=1, eos_token_id=2, pad_token_id=None,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.05)
    stream, window, generator = torch.tensor(ids), 96, torch.Generator().manual_seed(7)
    for step in range(steps):
        starts = torch.randint(0, len(stream) - window, (16,), generator=generator)
        batch = torch.stack([stream[s : s + window] for s in starts])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(), schedule.step(), optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    state = {name: value.detach().numpy() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    return {name: value.astype(np.float16).astype(np.float32) for name, value in state.items()}


def write_folder(out, tokenizer, weights):
    tokenizer.save(os.path.join(out, "tokenizer.json"))
    added = {
        str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
        for i, t in enumerate(SPECIALS)
    }
    dump(out, "tokenizer_config.json", {
        "add_prefix_space": False, "added_tokens_decoder": added, "bos_token": SPECIALS[1], "eos_token": SPECIALS[2],
        "pad_token": SPECIALS[2], "unk_token": SPECIALS[0], "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE,
    })
    dump(out, "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": WIDTH, "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS, "head_dim": HEAD_DIMENSION,
        "max_position_embeddings": CONTEXT, "rope_theta": ROPE_BASE, "rms_norm_eps": EPSILON, "hidden_act": "silu",
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True, "torch_dtype": "float16",
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
    })
    half = {name: np.ascontiguousarray(value.astype(np.float16)) for name, value in weights.items()}
    save_file(half, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})


def dump(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def interleave(rows, heads):
    """Hugging Face keeps the two halves of each head apart (rotate-half); GGUF's llama pairs neighbouring rows."""
    return rows.reshape(heads, 2, HEAD_DIMENSION // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def gguf_tensors(weights):
    """(GGUF name, array) in the order of SmolLM2's file."""
    yield "token_embd.weight", weights["model.embed_tokens.weight"]
    for layer in range(LAYERS):
        for ours, theirs in (
            ("attn_norm", "input_layernorm"), ("ffn_down", "mlp.down_proj"), ("ffn_gate", "mlp.gate_proj"),
            ("ffn_up", "mlp.up_proj"), ("ffn_norm", "post_attention_layernorm"), ("attn_k", "self_attn.k_proj"),
            ("attn_output", "self_attn.o_proj"), ("attn_q", "self_attn.q_proj"), ("attn_v", "self_attn.v_proj"),
        ):
            value = weights[f"model.layers.{layer}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):
                value = interleave(value, HEADS if ours == "attn_q" else KEY_VALUE_HEADS)
            yield f"blk.{layer}.{ours}.weight", np.ascontiguousarray(value)
    yield "output_norm.weight", weights["model.norm.weight"]


def write_gguf(path, tokenizer, weights, quantized):
    kinds = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("Incipit tiny llama")
    writer.add_license("apache-2.0")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_file_type(3 if quantized else 0)
    writer.add_vocab_size(tokenizer.get_vocab_size())
    writer.add_rope_dimension_count(HEAD_DIMENSION)
    writer.add_add_space_prefix(False)
    writer.add_add_bos_token(False)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    content = json.loads(tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])]
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIALS else 1 for token in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in content["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
    if quantized:
        writer.add_quantization_version(2)
    for name, value in gguf_tensors(weights):
        if quantized and value.ndim == 2:
            kind = kinds.Q8_0 if name == "token_embd.weight" else kinds.Q4_1
            writer.add_tensor(name, gguf.quantize(value, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(HERE, "..", "Models", "tiny"))
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)

    texts = tiny_corpus.documents(6000, seed=1)
    tokenizer = make_tokenizer(texts)
    for kind in tiny_corpus.KINDS:
        assert len(tokenizer.encode(" " + kind).ids) == 1, f"the label {kind} must be one token"
    ids = [i for text in texts for i in tokenizer.encode(text).ids + [0]]
    print(f"{tokenizer.get_vocab_size()} tokens, corpus of {len(ids)} ids")
    weights = train(tokenizer.get_vocab_size(), ids, arguments.steps)

    write_folder(arguments.out, tokenizer, weights)
    write_gguf(os.path.join(arguments.out, "tiny-llama.gguf"), tokenizer, weights, quantized=False)
    write_gguf(os.path.join(arguments.out, "tiny-llama-q4_1.gguf"), tokenizer, weights, quantized=True)
    with open(os.path.join(HERE, "..", "Data", "tiny-kinds.jsonl"), "w", encoding="utf-8") as file:
        for row in tiny_corpus.labelled_rows():
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
