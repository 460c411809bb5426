"""Random two-layer models of every architecture that `incipit convert` knows, as Hugging Face folders.

    python conversion_models.py FOLDER [NAME ...]

Widths are small and odd where the architecture allows it, keys and values are grouped, weights are drawn from a seed.
Each folder holds config.json, model.safetensors and a byte-level BPE tokenizer. `MODELS` is used by
`conversion_check.py` and by `Fixtures/Scripts/make_conversion_fixtures.py`.
"""

import json
import pathlib
import sys

import torch
import transformers as T
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

CORPUS = "the otter in the catalogue is listed under animal and the pear under plant "


def write_tokenizer(folder, size):
    """A byte-level BPE of `size` tokens: three special ones, the bytes, then merges of the corpus."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|begin|>": 0, "<|end|>": 1, "<|pad|>": 2}
    for letter in alphabet[: size - 3]:
        vocabulary[letter] = len(vocabulary)
    merges = []
    words = ["\u0120" + word for word in CORPUS.split()]
    for word in words:
        left = word[0]
        for letter in word[1:]:
            if len(vocabulary) >= size or left not in vocabulary or letter not in vocabulary:
                break
            if left + letter not in vocabulary:
                merges.append((left, letter))
                vocabulary[left + letter] = len(vocabulary)
            left += letter
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>", "<|pad|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|end|>",
        "pad_token": "<|pad|>", "clean_up_tokenization_spaces": False, "model_max_length": 512,
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


IDS = dict(bos_token_id=0, eos_token_id=1, pad_token_id=2)
VOCABULARY = 288
SMALL = dict(
    vocab_size=VOCABULARY, hidden_size=48, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=512, **IDS)
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64,
    rope_theta=10000.0)


def rope(theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_theta=theta, rope_type="default", **more))


MODELS = {
    "llama": lambda: T.LlamaConfig(**SMALL, tie_word_embeddings=False, **rope(500000.0)),
    "llama-tied-bias": lambda: T.LlamaConfig(**SMALL, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "llama3-rope": lambda: T.LlamaConfig(
        **{**SMALL, "hidden_size": 128}, head_dim=32, tie_word_embeddings=True, rope_parameters=LLAMA3),
    "llama-linear": lambda: T.LlamaConfig(
        **SMALL, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0)),
    "llama-yarn": lambda: T.LlamaConfig(
        **SMALL, rope_parameters=dict(
            rope_type="yarn", factor=4.0, rope_theta=10000.0, original_max_position_embeddings=128)),
    "mistral": lambda: T.MistralConfig(**SMALL, head_dim=16, sliding_window=256, tie_word_embeddings=False),
    "mixtral": lambda: T.MixtralConfig(
        **SMALL, num_local_experts=4, num_experts_per_tok=2, sliding_window=None, tie_word_embeddings=False),
    "qwen2": lambda: T.Qwen2Config(**SMALL, tie_word_embeddings=False, **rope(1000000.0)),
    "qwen2-tied": lambda: T.Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen3": lambda: T.Qwen3Config(**SMALL, head_dim=20, tie_word_embeddings=True, **rope(1000000.0)),
    "qwen3-untied": lambda: T.Qwen3Config(**SMALL, head_dim=20, tie_word_embeddings=False),
    "qwen2moe": lambda: T.Qwen2MoeConfig(
        **SMALL, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=40, shared_expert_intermediate_size=72,
        decoder_sparse_step=1, norm_topk_prob=False, tie_word_embeddings=False),
    "qwen3moe": lambda: T.Qwen3MoeConfig(
        **SMALL, head_dim=20, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=40, decoder_sparse_step=1,
        norm_topk_prob=True, tie_word_embeddings=False),
    "gemma2": lambda: T.Gemma2Config(
        **SMALL, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, hidden_activation="gelu_pytorch_tanh"),
    "gemma3": lambda: T.Gemma3TextConfig(
        **{**SMALL, "num_hidden_layers": 6}, head_dim=16, query_pre_attn_scalar=16, sliding_window=8,
        hidden_activation="gelu_pytorch_tanh"),
    "phi3": lambda: T.Phi3Config(**SMALL, original_max_position_embeddings=512, tie_word_embeddings=False),
    "phi3-longrope": lambda: T.Phi3Config(
        **{**SMALL, "max_position_embeddings": 1024}, original_max_position_embeddings=256, sliding_window=64,
        tie_word_embeddings=False,
        rope_parameters=dict(
            rope_type="longrope", rope_theta=10000.0, long_factor=[1.0 + i / 4 for i in range(6)],
            short_factor=[1.0 + i / 64 for i in range(6)])),
    "granite": lambda: T.GraniteConfig(
        **SMALL, attention_multiplier=0.25, embedding_multiplier=6.0, residual_multiplier=0.5, logits_scaling=4.0,
        tie_word_embeddings=True),
    "smollm3": lambda: T.SmolLM3Config(
        **{**SMALL, "num_hidden_layers": 4}, no_rope_layer_interval=4, tie_word_embeddings=True, **rope(2000000.0)),
    "olmo2": lambda: T.Olmo2Config(**SMALL, tie_word_embeddings=False),
    "olmo2-tied": lambda: T.Olmo2Config(**SMALL, tie_word_embeddings=True),
    "stablelm": lambda: T.StableLmConfig(
        **{**SMALL, "hidden_size": 64}, use_qkv_bias=True, tie_word_embeddings=False,
        **rope(partial_rotary_factor=0.25)),
    "stablelm-12b": lambda: T.StableLmConfig(
        **{**SMALL, "hidden_size": 64}, qk_layernorm=True, use_parallel_residual=True, tie_word_embeddings=False,
        **rope(partial_rotary_factor=0.25)),
    "gpt2": lambda: T.GPT2Config(
        vocab_size=VOCABULARY, n_positions=96, n_embd=52, n_layer=2, n_head=4, **IDS),
    "gptneox": lambda: T.GPTNeoXConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=120, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, tie_word_embeddings=False, rotary_pct=0.25, **IDS),
}


def make(name, folder, dtype=torch.float32, seed=7, config=None):
    """Writes the model and gives it back."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = config or MODELS[name]()
    torch.manual_seed(seed)
    model = T.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(torch.randn_like(value) * (0.1 if value.dim() > 1 else 0.05))
            if value.dim() == 1 and key.endswith("weight") and "gemma" not in name:
                value.add_(1)
            if value.dim() == 1 and "gemma" in name:
                # On a grid on which adding one loses nothing; see `Norm weights of Gemma` in conversion_check.py.
                value.copy_(torch.round(value * 2**12) / 2**12 + 0.0)
    model = model.to(dtype)
    model.save_pretrained(folder)
    write_tokenizer(folder, config.vocab_size)
    return model


if __name__ == "__main__":
    for chosen in sys.argv[2:] or MODELS:
        make(chosen, pathlib.Path(sys.argv[1]) / chosen)
        print(chosen)
