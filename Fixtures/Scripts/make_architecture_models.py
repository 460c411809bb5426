#!/usr/bin/env python3
"""Make Fixtures/Models/architectures: a random model of every architecture, with what transformers computes of it.

    python make_architecture_models.py [--out FOLDER] [--large | --quantized] [NAME ...]

Needs torch, transformers, gguf, numpy. The GGUF files are written by gguf-py through transforms written here, so they
judge the engine alone, not our converter.

Writes for each model
  NAME.gguf          the model, without a tokenizer; matrices F16 (F32 with --large, Q8_0 with --quantized), the rest F32
  NAME.golden.gguf   ids (I32), logits (positions, vocabulary) F32: teacher-forced; greedy (I32): its continuation;
                     prompt (P, width), loss (1), gradient (P, width) F32: mean cross-entropy of ids[1:], when the rows of
                     `prompt` stand before them at the input, and its gradient with respect to those rows
--large and --quantized make the models of Tests/Oracles/architectures.sh: other sizes, 40 positions. transformers then
computes with the dequantized weights.
"""

import argparse
import os

import gguf
import numpy as np
import torch
import transformers as T

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL = dict(width=24, inner=32, heads=4, kv=2, vocab=40, positions=20, prompt=4, window=5, expert=12)
LARGE = dict(width=120, inner=184, heads=6, kv=3, vocab=131, positions=40, prompt=9, window=11, expert=56)


QUANTIZED = dict(width=128, inner=192, heads=8, kv=4, vocab=131, positions=40, prompt=9, window=11, expert=64)


def rope(theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_theta=theta, rope_type="default", **more))


def configurations(s):
    sizes = dict(
        vocab_size=s["vocab"], hidden_size=s["width"], intermediate_size=s["inner"], num_hidden_layers=2,
        num_attention_heads=s["heads"], max_position_embeddings=64, pad_token_id=None, bos_token_id=0, eos_token_id=1)
    grouped = dict(sizes, num_key_value_heads=s["kv"])
    experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=s["expert"], decoder_sparse_step=1)
    d = s["width"] // s["heads"]
    own = d + 4  # a head length that is not width / heads
    untied = dict(tie_word_embeddings=False)
    four = dict(grouped, num_hidden_layers=4, intermediate_size=s["inner"] // 2)
    return {
        "llama": lambda: T.LlamaConfig(**grouped, **untied, **rope(500000.0)),
        "llama-biases": lambda: T.LlamaConfig(**grouped, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
        "llama-scaled": lambda: T.LlamaConfig(
            **grouped, **untied, rope_parameters=dict(
                rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, rope_theta=10000.0,
                original_max_position_embeddings=32)),
        "llama-yarn": lambda: T.LlamaConfig(
            **grouped, **untied, rope_parameters=dict(
                rope_type="yarn", factor=4.0, rope_theta=10000.0, original_max_position_embeddings=16)),
        "mixtral": lambda: T.MixtralConfig(
            **dict(grouped, intermediate_size=s["expert"]), num_local_experts=4, num_experts_per_tok=2,
            sliding_window=None, **untied),
        "qwen2": lambda: T.Qwen2Config(**grouped, **untied, **rope(1000000.0)),
        "qwen2moe": lambda: T.Qwen2MoeConfig(
            **grouped, **experts, shared_expert_intermediate_size=s["expert"] + s["expert"] // 2, norm_topk_prob=False, **untied),
        "qwen3": lambda: T.Qwen3Config(**grouped, head_dim=own, tie_word_embeddings=True, **rope(1000000.0)),
        "qwen3moe": lambda: T.Qwen3MoeConfig(**grouped, **experts, head_dim=own, norm_topk_prob=True, **untied),
        "gemma2": lambda: T.Gemma2Config(
            **grouped, head_dim=own, query_pre_attn_scalar=own, sliding_window=s["window"],
            attn_logit_softcapping=2.0, final_logit_softcapping=3.0, hidden_activation="gelu_pytorch_tanh"),
        "gemma3": lambda: T.Gemma3TextConfig(
            **grouped, head_dim=own, query_pre_attn_scalar=own, sliding_window=s["window"],
            layer_types=["sliding_attention", "full_attention"], hidden_activation="gelu_pytorch_tanh",
            rope_parameters=dict(
                sliding_attention=dict(rope_type="default", rope_theta=10000.0),
                full_attention=dict(rope_type="linear", factor=4.0, rope_theta=1000000.0))),
        "phi3": lambda: T.Phi3Config(
            **grouped, **untied, original_max_position_embeddings=64, sliding_window=s["window"]),
        "phi3-longrope": lambda: T.Phi3Config(
            **dict(grouped, max_position_embeddings=256), **untied, original_max_position_embeddings=64,
            rope_parameters=dict(
                rope_type="longrope", rope_theta=10000.0, long_factor=[1.5 + i for i in range(d // 2)],
                short_factor=[1.0 + i / 8 for i in range(d // 2)])),
        "granite": lambda: T.GraniteConfig(
            **grouped, attention_multiplier=0.3, embedding_multiplier=6.0, residual_multiplier=0.4,
            logits_scaling=0.5, tie_word_embeddings=True),
        "smollm3": lambda: T.SmolLM3Config(
            **four, no_rope_layer_interval=4, tie_word_embeddings=True, **rope(2000000.0)),
        "olmo2": lambda: T.Olmo2Config(**grouped, **untied),
        "stablelm": lambda: T.StableLmConfig(
            **grouped, use_qkv_bias=True, **untied, **rope(partial_rotary_factor=4 / d)),
        "stablelm-parallel": lambda: T.StableLmConfig(
            **grouped, qk_layernorm=True, use_parallel_residual=True, **untied, **rope(partial_rotary_factor=4 / d)),
        "gpt2": lambda: T.GPT2Config(
            vocab_size=s["vocab"], n_positions=64, n_embd=s["width"], n_layer=2, n_head=s["heads"],
            n_inner=s["inner"], bos_token_id=0, eos_token_id=1),
        "gptneox": lambda: T.GPTNeoXConfig(**sizes, **untied, **rope(partial_rotary_factor=4 / d)),
        "gptneox-sequential": lambda: T.GPTNeoXConfig(
            **sizes, **untied, use_parallel_residual=False, **rope(partial_rotary_factor=4 / d)),
    }


# Made with --large only: its parts are all in others.
LARGE_ONLY = {"gptneox-sequential"}

# Architecture by the configuration's model_type, and whether rows of queries and keys go from halves to pairs.
KINDS = {
    "llama": ("llama", True), "mixtral": ("llama", True), "granite": ("granite", True), "smollm3": ("smollm3", True),
    "qwen2": ("qwen2", False), "qwen2_moe": ("qwen2moe", False), "qwen3": ("qwen3", False),
    "qwen3_moe": ("qwen3moe", False), "gemma2": ("gemma2", False), "gemma3_text": ("gemma3", False),
    "phi3": ("phi3", False), "olmo2": ("olmo2", False), "stablelm": ("stablelm", False), "gpt2": ("gpt2", False),
    "gpt_neox": ("gptneox", False),
}
ENDS = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
    "gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output",
}
PARTS = {
    "input_layernorm": "attn_norm", "ln_1": "attn_norm", "ln_2": "ffn_norm", "post_attention_layernorm": "ffn_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.qkv_proj": "attn_qkv", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up", "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down", "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down",
    "mlp.gate": "ffn_gate_inp", "block_sparse_moe.gate": "ffn_gate_inp", "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}


def tensors(model, config):
    """GGUF name -> array, in the canonical layout."""
    kind, pairs = KINDS[config.model_type]
    result, stacks = {}, {}
    for key, value in model.state_dict().items():
        w = value.numpy()
        stem, _, suffix = key.rpartition(".")
        if stem in ENDS:
            name = ENDS[stem]
            if name == "output" and config.tie_word_embeddings:
                continue
        else:
            if suffix not in ("weight", "bias"):  # stacked experts are bare parameters
                stem, suffix = key, "weight"
            words = stem.split(".")
            number = next(i for i, word in enumerate(words) if word.isdigit())
            part, layer = ".".join(words[number + 1 :]), words[number]
            block = f"blk.{layer}."
            if part.startswith("self_attn.q_layernorm.norms") or part.startswith("self_attn.k_layernorm.norms"):
                stacks.setdefault(f"{block}attn_{part[10]}_norm.weight", []).append(w)
                continue
            if part in ("mlp.experts.gate_up_proj", "block_sparse_moe.experts.gate_up_proj"):
                half = w.shape[1] // 2
                result[block + "ffn_gate_exps.weight"] = w[:, :half]
                result[block + "ffn_up_exps.weight"] = w[:, half:]
                continue
            part = part.replace("block_sparse_moe.experts", "mlp.experts")
            name = PARTS[part]
            if part == "post_attention_layernorm" and kind in ("gemma2", "gemma3", "olmo2"):
                name = "post_attention_norm"
            if kind == "gpt2" and w.ndim == 2:
                w = w.T
            if kind == "gptneox" and name == "attn_qkv":
                h = config.num_attention_heads
                w = w.reshape(h, 3, w.shape[0] // h // 3, -1).swapaxes(0, 1).reshape(w.shape)
            if pairs and name in ("attn_q", "attn_k"):
                h = config.num_attention_heads if name == "attn_q" else config.num_key_value_heads
                w = w.reshape(h, 2, w.shape[0] // h // 2, -1).swapaxes(1, 2).reshape(w.shape)
            name = block + name
        if kind.startswith("gemma") and name.endswith("norm"):
            w = w + 1
        result[f"{name}.{suffix}"] = w
    for name, parts in stacks.items():
        result[name] = np.stack(parts)
    return kind, result


def is_matrix(name, w):
    """Whether a tensor is not kept in F32."""
    return w.ndim > 1 and not any(part in name for part in ("norm", "gate_inp", "position_embd"))


def write_model(path, model, config, form):
    kind, arrays = tensors(model, config)
    out = gguf.GGUFWriter(path, kind)
    get = lambda *names: next((getattr(config, n) for n in names if getattr(config, n, None) is not None), None)
    heads, width = get("num_attention_heads"), get("hidden_size")
    out.add_context_length(get("max_position_embeddings"))
    out.add_embedding_length(width)
    out.add_block_count(get("num_hidden_layers"))
    out.add_feed_forward_length(get("intermediate_size", "n_inner"))
    out.add_head_count(heads)
    if kind not in ("gpt2", "gptneox"):
        out.add_head_count_kv(config.num_key_value_heads)
    if get("rms_norm_eps") is not None:
        out.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        out.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon"))
    d = get("head_dim") or width // heads
    if d * heads != width:
        out.add_key_length(d)
        out.add_value_length(d)
    parameters = get("rope_parameters") or {}
    if kind == "gemma3":
        parameters = parameters["full_attention"]
    if kind != "gpt2":
        out.add_rope_freq_base(parameters["rope_theta"])
        rotated = int(d * (parameters.get("partial_rotary_factor") or 1))
        out.add_rope_dimension_count(rotated)
    scaling = parameters.get("rope_type", "default")
    if scaling in ("linear", "yarn"):
        out.add_rope_scaling_type(gguf.RopeScalingType(scaling))
        out.add_rope_scaling_factor(parameters["factor"])
    if scaling in ("yarn", "longrope"):
        out.add_rope_scaling_orig_ctx_len(
            parameters.get("original_max_position_embeddings") or config.original_max_position_embeddings)
    if scaling == "longrope":
        ratio = config.max_position_embeddings / config.original_max_position_embeddings
        out.add_rope_scaling_attn_factors(
            float(np.sqrt(1 + np.log(ratio) / np.log(config.original_max_position_embeddings))))
        arrays["rope_factors_long.weight"] = np.array(parameters["long_factor"])
        arrays["rope_factors_short.weight"] = np.array(parameters["short_factor"])
    if scaling == "llama3":
        original, factor = parameters["original_max_position_embeddings"], parameters["factor"]
        low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
        waves = 2 * np.pi * parameters["rope_theta"] ** (np.arange(0, d, 2) / d)
        smooth = (original / waves - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        arrays["rope_freqs.weight"] = np.where(
            waves < original / high, 1, np.where(waves > original / low, factor, between))
    if kind == "gptneox":
        out.add_parallel_residual(config.use_parallel_residual)
    if kind == "gemma2":
        out.add_attn_logit_softcapping(config.attn_logit_softcapping)
        out.add_final_logit_softcapping(config.final_logit_softcapping)
    if kind in ("gemma2", "gemma3", "phi3"):
        out.add_sliding_window(config.sliding_window or 0)
    if kind == "gemma3":
        out.add_sliding_window_pattern([t == "sliding_attention" for t in config.layer_types])
    if kind == "granite":
        out.add_attention_scale(config.attention_multiplier)
        out.add_embedding_scale(config.embedding_multiplier)
        out.add_residual_scale(config.residual_multiplier)
        out.add_logit_scale(config.logits_scaling)
    experts = get("num_local_experts", "num_experts")
    if experts:
        out.add_expert_count(experts)
        out.add_expert_used_count(config.num_experts_per_tok)
        if kind != "llama":
            out.add_expert_feed_forward_length(config.moe_intermediate_size)
        if kind == "qwen2moe":
            out.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    for name, w in arrays.items():
        w = np.ascontiguousarray(w, np.float32)
        if form == "Q8_0" and is_matrix(name, w):
            q = gguf.GGMLQuantizationType.Q8_0
            out.add_tensor(name, gguf.quants.quantize(w, q), raw_dtype=q)
        else:
            out.add_tensor(name, w.astype(np.float16) if form == "F16" and is_matrix(name, w) else w)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def randomize(model, kind, form):
    """Weights that make every part of a layer matter, and that the file holds exactly."""
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() == 1:
                value.copy_(torch.randn_like(value) * 0.2)
                if key.endswith("weight") and not kind.startswith("gemma"):
                    value.add_(1)
                if kind.startswith("gemma"):  # adding one must lose nothing
                    value.copy_(torch.round(value * 4096) / 4096)
            else:
                scale = 0.5 if "embed" in key or "wte" in key or "wpe" in key else 1.3 / value.shape[-1] ** 0.5
                value.copy_(torch.randn_like(value) * scale)
                if form == "F16":
                    value.copy_(value.half().float())
                router = key.endswith(("mlp.gate.weight", "block_sparse_moe.gate.weight", "shared_expert_gate.weight"))
                if form == "Q8_0" and not router and "wpe" not in key and "norm" not in key:
                    # Rows of blocks as the file has them; moving rows changes nothing.
                    across = kind == "gpt2" and "wte" not in key and "lm_head" not in key
                    w = np.ascontiguousarray((value.T if across else value).numpy())
                    q = gguf.GGMLQuantizationType.Q8_0
                    w = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(w, q), q).reshape(w.shape))
                    value.copy_(w.T if across else w)


def write_golden(path, model, s):
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(2, s["vocab"], (1, s["positions"]), generator=random)
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0]
        more = ids
        for _ in range(8):
            more = torch.cat([more, model(more, use_cache=False).logits[0, -1].argmax().view(1, 1)], 1)
    width = model.get_input_embeddings().weight.shape[1]
    prompt = torch.randn(s["prompt"], width, generator=random) * 0.5
    prompt.requires_grad_(True)
    inputs = torch.cat([prompt[None], model.get_input_embeddings()(ids).detach()], 1)
    predicted = model(inputs_embeds=inputs, use_cache=False).logits[0, s["prompt"] : -1]
    loss = torch.nn.functional.cross_entropy(predicted, ids[0, 1:])
    loss.backward()
    out = gguf.GGUFWriter(path, "golden")
    for name, value in {
        "ids": ids[0].int(), "logits": logits, "greedy": more[0, ids.shape[1] :].int(), "prompt": prompt.detach(),
        "loss": loss.detach().view(1), "gradient": prompt.grad,
    }.items():
        out.add_tensor(name, value.numpy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", default=os.path.join(HERE, "..", "Models", "architectures"))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--quantized", action="store_true")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    s, form = (LARGE, "F32") if arguments.large else (QUANTIZED, "Q8_0") if arguments.quantized else (SMALL, "F16")
    models = configurations(s)
    for name in arguments.names or [n for n in models if s is not SMALL or n not in LARGE_ONLY]:
        config = models[name]()
        torch.manual_seed(7)
        model = T.AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation="eager").eval()
        randomize(model, KINDS[config.model_type][0], form)
        path = os.path.join(arguments.out, name)
        write_model(path + ".gguf", model, config, form)
        write_golden(path + ".golden.gguf", model, s)
        print(f"{name:20} {os.path.getsize(path + '.gguf'):8} {os.path.getsize(path + '.golden.gguf'):8}")


if __name__ == "__main__":
    main()
