"""Judges `incipit convert` on random models of every architecture.

    python conversion_check.py INCIPIT [NAME ...] [--work FOLDER] [--llama]

For each model in F32, F16 and BF16:
 1. folder to GGUF: gguf-py finds exactly the tensors and bytes that a transform written here, in numpy and without
    looking at ours, gives;
 2. the GGUF back to a folder: every tensor byte-equal, the fields of config.json that change the computation equal, and
    transformers computes the same logits;
 3. the fingerprints of folder, folder in shards, GGUF and folder made from it are equal;
 4. with --llama, llama.cpp computes the logits of transformers (F32, cosine at least 0.9999 at every position).

Norm weights of Gemma are stored by GGUF plus one. That loses digits of weights near zero, in the reference converter
as here, so the models use weights on a grid for which it does not.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import conversion_models as models

failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("   FAILED", what)


def load(folder):
    tensors = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                tensors[name] = file.get_tensor(name)
    return tensors


# MARK: The reference transform, from the description of the formats


def pairs(w, heads):
    """Rows of each head from (first half, second half) to alternating."""
    rows = w.shape[0] // heads
    out = torch.empty_like(w)
    for head in range(heads):
        block = w[head * rows : (head + 1) * rows]
        out[head * rows : (head + 1) * rows : 2] = block[: rows // 2]
        out[head * rows + 1 : (head + 1) * rows : 2] = block[rows // 2 :]
    return out


def reference(config, hf):
    """GGUF name -> tensor, from the tensors of a folder."""
    kind = config["model_type"]
    heads = config.get("num_attention_heads") or config.get("n_head")
    kv = config.get("num_key_value_heads") or heads
    out = {}
    experts = {}
    norms = {}
    simple = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
        "block_sparse_moe.gate": "ffn_gate_inp", "mlp.gate": "ffn_gate_inp",
        "mlp.shared_expert_gate": "ffn_gate_inp_shexp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
        "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp",
        "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
        "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", "attention.query_key_value": "attn_qkv",
        "attention.dense": "attn_output", "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down",
    }
    if kind in ("gemma2", "gemma3_text", "olmo2"):
        simple["post_attention_layernorm"] = "post_attention_norm"
        simple["pre_feedforward_layernorm"] = "ffn_norm"
        simple["post_feedforward_layernorm"] = "post_ffw_norm"
    outer = {
        "model.embed_tokens": "token_embd", "transformer.wte": "token_embd", "gpt_neox.embed_in": "token_embd",
        "transformer.wpe": "position_embd", "model.norm": "output_norm", "transformer.ln_f": "output_norm",
        "gpt_neox.final_layer_norm": "output_norm", "lm_head": "output", "embed_out": "output",
    }
    for name, tensor in hf.items():
        stem, _, suffix = name.rpartition(".")
        if suffix not in ("weight", "bias"):
            raise SystemExit(f"unexpected {name}")
        if kind.startswith("gemma") and stem.endswith("norm"):
            tensor = tensor.float() + 1
        if kind == "gpt2" and suffix == "weight" and (".c_" in name):
            tensor = tensor.T.contiguous()
        if stem in outer:
            out[f"{outer[stem]}.{suffix}"] = tensor
            continue
        parts = stem.split(".")
        place = next(i for i, part in enumerate(parts) if part.isdigit())
        layer, inner = parts[place], ".".join(parts[place + 1 :])
        if ".experts." in stem:
            number, which = int(parts[-2]), parts[-1]
            which = {"w1": "gate", "w3": "up", "w2": "down"}.get(which, which.removesuffix("_proj"))
            experts.setdefault(f"blk.{layer}.ffn_{which}_exps.weight", {})[number] = tensor
            continue
        if "_layernorm.norms." in stem:
            letter = inner.split("_layernorm")[0][-1]
            norms.setdefault(f"blk.{layer}.attn_{letter}_norm.weight", {})[int(parts[-1])] = tensor
            continue
        target = simple[inner]
        if kind in ("llama", "mistral", "mixtral", "granite", "smollm3") and target in ("attn_q", "attn_k"):
            tensor = pairs(tensor, heads if target == "attn_q" else kv)
        if kind == "gpt_neox" and target == "attn_qkv":
            width = tensor.shape[0] // heads // 3
            blocks = tensor.split(width)
            tensor = torch.cat([blocks[3 * h + p] for p in range(3) for h in range(heads)])
        out[f"blk.{layer}.{target}.{suffix}"] = tensor
    for name, found in list(experts.items()) + list(norms.items()):
        out[name] = torch.stack([found[i] for i in range(len(found))])
    if "output.weight" not in out and kind in ("olmo2", "stablelm", "gpt_neox", "qwen2_moe"):
        out["output.weight"] = out["token_embd.weight"]
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type") == "llama3":
        n = config.get("head_dim") or config["hidden_size"] // heads
        f = 1.0 / (rope["rope_theta"] ** (np.arange(0, n, 2, dtype=np.float64) / n))
        wave, old = 2 * np.pi / f, rope["original_max_position_embeddings"]
        smooth = (old / wave - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
        mixed = 1 / ((1 - smooth) / rope["factor"] + smooth)
        value = np.where(wave < old / rope["high_freq_factor"], 1, np.where(wave > old / rope["low_freq_factor"], rope["factor"], mixed))
        out["rope_freqs.weight"] = torch.tensor(value, dtype=torch.float32)
    if rope.get("rope_type") == "longrope":
        for which in ("long", "short"):
            out[f"rope_factors_{which}.weight"] = torch.tensor(rope[f"{which}_factor"], dtype=torch.float32)
    return out


def kept_f32(name, tensor):
    dims = [d for d in tensor.shape if d != 1]
    return (
        len(dims) < 2 or not name.endswith(".weight") or name.endswith("_norm.weight") or "ffn_gate_inp" in name
        or "position_embd" in name)


def compare_gguf(what, path, config, hf, dtype):
    from gguf import GGUFReader

    reader = GGUFReader(path)
    expected = reference(config, hf)
    found = {tensor.name: tensor for tensor in reader.tensors}
    check(set(found) == set(expected), f"{what}: names {sorted(set(found) ^ set(expected))}")
    for name in sorted(set(found) & set(expected)):
        want = expected[name].to(torch.float32 if kept_f32(name, expected[name]) else dtype)
        dims = list(reversed(want.shape))
        while len(dims) > 1 and dims[-1] == 1:
            dims.pop()
        check(list(map(int, found[name].shape)) == dims, f"{what}: shape of {name}: {list(found[name].shape)}, {dims}")
        kind = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[want.dtype]
        check(found[name].tensor_type.name == kind, f"{what}: type of {name}")
        mine, theirs = found[name].data.tobytes(), want.contiguous().view(torch.uint8).numpy().tobytes()
        if name == "rope_freqs.weight":
            close = np.allclose(np.frombuffer(mine, np.float32), np.frombuffer(theirs, np.float32), rtol=1e-5)
            check(close, f"{what}: values of {name}")
        else:
            check(mine == theirs, f"{what}: bytes of {name}")


# MARK: The way back


def normalized(config):
    """The fields that change the computation, with defaults filled in by transformers itself."""
    import transformers

    loaded = transformers.AutoConfig.for_model(**config).to_dict()
    ignored = {
        "_name_or_path", "transformers_version", "dtype", "torch_dtype", "initializer_range", "use_cache", "architectures",
        "attn_pdrop", "embd_pdrop", "resid_pdrop", "layer_types", "pretraining_tp", "output_router_logits",
        "router_aux_loss_coef", "router_jitter_noise", "max_window_layers", "sliding_window_pattern",
        "_sliding_window_pattern", "head_dim", "n_ctx", "task_specific_params", "use_qkv_bias",
    }
    result = {}
    for key, value in loaded.items():
        if key in ignored:
            continue
        if key == "rope_parameters" and isinstance(value, dict):
            value = json.loads(json.dumps(value), parse_float=lambda t: float(np.float32(float(t))))
            value.pop("type", None)
        result[key] = float(np.float32(value)) if isinstance(value, float) else value
    return result


def compare_folders(what, first, second):
    one, two = load(first), load(second)
    check(set(one) == set(two), f"{what}: names {sorted(set(one) ^ set(two))}")
    for name in sorted(set(one) & set(two)):
        same = one[name].dtype == two[name].dtype and torch.equal(
            one[name].contiguous().view(torch.uint8), two[name].contiguous().view(torch.uint8))
        check(same, f"{what}: {name} ({one[name].dtype}, {two[name].dtype})")
    a, b = (json.loads((pathlib.Path(f) / "config.json").read_text()) for f in (first, second))
    a, b = normalized(a), normalized(b)
    for key in sorted(set(a) | set(b)):
        check(a.get(key) == b.get(key), f"{what}: config {key}: {a.get(key)} became {b.get(key)}")


IDS = [[(7 * i * i + 3 * i) % 280 + 3 for i in range(24)]]


def logits(folder, dtype=torch.float32):
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits[0].float().numpy()


def llama_logits(path, vocabulary):
    import llama_cpp

    model = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False, n_threads=1, n_gpu_layers=0)
    model.eval(IDS[0])
    return np.array(model.scores[: len(IDS[0]), :vocabulary])


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        failures.append(" ".join(map(str, command)))
        print("   FAILED", *command, "\n", done.stderr.strip())
    return done


def shards(folder, target):
    """The same folder in three files with an index."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = load(folder)
    names = sorted(tensors)
    weights = {}
    for number in range(3):
        part = names[number::3]
        file = f"model-{number + 1:05}-of-00003.safetensors"
        save_file({name: tensors[name] for name in part}, target / file, metadata={"format": "pt"})
        weights.update({name: file for name in part})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    (target / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": weights}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("incipit")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/incipit-conversion"))
    parser.add_argument("--llama", action="store_true")
    parser.add_argument("--types", default="f32,f16,bf16")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    kinds = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
    for name in options.names or models.MODELS:
        print(name, flush=True)
        for short in options.types.split(","):
            what = f"{name} {short}"
            base = options.work / f"{name}-{short}"
            models.make(name, base / "hf", kinds[short])
            config = json.loads((base / "hf/config.json").read_text())
            file = base / "model.gguf"
            run(options.incipit, "convert", base / "hf", file, "--type", short)
            if not file.exists():
                continue
            compare_gguf(what, file, config, load(base / "hf"), kinds[short])
            shards(base / "hf", base / "shards")
            prints = [run(options.incipit, "fingerprint", base / "hf").stdout.split("\n")[0]]
            prints.append(run(options.incipit, "fingerprint", base / "shards").stdout.split("\n")[0])
            prints.append(run(options.incipit, "fingerprint", file).stdout.split("\n")[0])
            run(options.incipit, "convert", file, base / "back")
            if (base / "back").exists():
                compare_folders(what, base / "hf", base / "back")
                prints.append(run(options.incipit, "fingerprint", base / "back").stdout.split("\n")[0])
                if short == "f32":
                    difference = np.abs(logits(base / "hf") - logits(base / "back")).max()
                    check(difference == 0, f"{what}: logits differ by {difference}")
            check(len(set(prints)) == 1 and prints[0].startswith("sha256:"), f"{what}: fingerprints {prints}")
            if options.llama and short == "f32":
                try:
                    ours, theirs = llama_logits(file, config["vocab_size"]), logits(base / "hf")
                    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
                    print(f"   llama.cpp cosine {cosine.min():.7f}")
                    check(cosine.min() >= 0.9999, f"{what}: cosine {cosine.min()} with llama.cpp")
                except ValueError as error:
                    check(False, f"{what}: llama.cpp: {error}")
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
