"""Makes Fixtures/Conversion/<name> and Fixtures/Golden/conversion.json.

    python make_conversion_fixtures.py

Random models of a few kilobytes, one for each way tensors are transformed, and for every tensor of the GGUF file that
belongs to it: type, shape and SHA-256 of the bytes. The transform is the one of `Tests/Oracles/conversion_check.py`,
written in PyTorch without looking at Incipit's.
"""

import hashlib
import json
import pathlib
import shutil
import sys

import torch
import transformers as T

root = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / "Tests/Oracles"))
import conversion_check as check  # noqa: E402
import conversion_models as models  # noqa: E402

TINY = dict(
    vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, **models.IDS)
ROPE = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32,
    rope_theta=10000.0)
FIXTURES = {
    "llama": (T.LlamaConfig(**TINY, head_dim=8, tie_word_embeddings=True, rope_parameters=ROPE), torch.bfloat16),
    "qwen2": (T.Qwen2Config(**TINY, tie_word_embeddings=False), torch.float16),
    "qwen3": (T.Qwen3Config(**TINY, head_dim=6, tie_word_embeddings=True), torch.bfloat16),
    "gemma3": (
        T.Gemma3TextConfig(
            **TINY, head_dim=8, query_pre_attn_scalar=8, sliding_window=4, hidden_activation="gelu_pytorch_tanh"),
        torch.bfloat16),
    "gpt2": (T.GPT2Config(vocab_size=40, n_positions=10, n_embd=12, n_layer=2, n_head=2, **models.IDS), torch.float32),
    "gptneox": (
        T.GPTNeoXConfig(
            vocab_size=40, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, tie_word_embeddings=False, rotary_pct=0.25, **models.IDS), torch.float16),
    "mixtral": (
        T.MixtralConfig(
            **{**TINY, "intermediate_size": 12}, num_local_experts=3, num_experts_per_tok=2, sliding_window=None,
            tie_word_embeddings=False), torch.float32),
    "phi3": (
        T.Phi3Config(
            **{**TINY, "max_position_embeddings": 128}, original_max_position_embeddings=64, sliding_window=16,
            tie_word_embeddings=False,
            rope_parameters=dict(
                rope_type="longrope", rope_theta=10000.0, long_factor=[1.0, 2.5], short_factor=[1.0, 1.25])),
        torch.bfloat16),
    "mistral": (
        T.MistralConfig(**TINY, head_dim=8, sliding_window=16, tie_word_embeddings=False), torch.bfloat16),
    "qwen2moe": (
        T.Qwen2MoeConfig(
            **TINY, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=12, shared_expert_intermediate_size=20,
            decoder_sparse_step=1, norm_topk_prob=False, tie_word_embeddings=False), torch.bfloat16),
    "qwen3moe": (
        T.Qwen3MoeConfig(
            **TINY, head_dim=6, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=12, decoder_sparse_step=1,
            norm_topk_prob=True, tie_word_embeddings=False), torch.float16),
    "gemma2": (
        T.Gemma2Config(
            **TINY, head_dim=8, query_pre_attn_scalar=8, sliding_window=4, hidden_activation="gelu_pytorch_tanh"),
        torch.bfloat16),
    "granite": (
        T.GraniteConfig(
            **TINY, attention_multiplier=0.25, embedding_multiplier=6.0, residual_multiplier=0.5, logits_scaling=4.0,
            tie_word_embeddings=True), torch.bfloat16),
    "smollm3": (
        T.SmolLM3Config(
            **{**TINY, "num_hidden_layers": 4}, no_rope_layer_interval=4, tie_word_embeddings=True,
            **models.rope(2000000.0)), torch.bfloat16),
    "olmo2": (T.Olmo2Config(**TINY, tie_word_embeddings=False), torch.float32),
    "stablelm": (
        T.StableLmConfig(
            **{**TINY, "hidden_size": 32}, qk_layernorm=True, use_qkv_bias=True, use_parallel_residual=True,
            tie_word_embeddings=False, **models.rope(partial_rotary_factor=0.25)), torch.float16),
}

golden = {}
for name, (config, dtype) in FIXTURES.items():
    folder = root / "Fixtures/Conversion" / name
    shutil.rmtree(folder, ignore_errors=True)
    models.make(name, folder, dtype, seed=11, config=config)
    saved = json.loads((folder / "config.json").read_text())
    saved.pop("transformers_version")
    (folder / "config.json").write_text(json.dumps(saved, indent=1) + "\n")
    rows = {}
    for tensor, value in sorted(check.reference(saved, check.load(folder)).items()):
        value = value.to(torch.float32 if check.kept_f32(tensor, value) else dtype).contiguous()
        dims = list(reversed(value.shape))
        while len(dims) > 1 and dims[-1] == 1:
            dims.pop()
        kind = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[value.dtype]
        digest = hashlib.sha256(value.view(torch.uint8).numpy().tobytes()).hexdigest()
        rows[tensor] = [kind, "x".join(map(str, dims)), digest]
    golden[name] = rows
(root / "Fixtures/Golden/conversion.json").write_text(json.dumps(golden, indent=1) + "\n")
