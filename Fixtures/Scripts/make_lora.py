#!/usr/bin/env python3
"""Makes Fixtures/Golden/lora: two random LoRA adapters of the tiny model and the logits that PEFT computes with them.

    python Fixtures/Scripts/make_lora.py            writes the fixtures; needs torch, transformers, peft, gguf

`first` changes all seven projections (rank 4, alpha 6), `second` the queries and the way down (rank 2, rsLoRA). The same
`first` is also written as a GGUF adapter: names as llama.cpp's converter gives them, rows of B in GGUF's order.
"""
import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import gguf
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
base_folder = os.path.join(here, "..", "Models", "tiny")
out = os.path.join(here, "..", "Golden", "lora")
IDS = [1, 67, 279, 341, 82, 454, 9, 12, 40, 11, 3, 200]
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def base():
    return AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32).eval()


def make(name, seed, **settings):
    torch.manual_seed(seed)
    model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none", **settings))
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            parameter.data = torch.randn_like(parameter) * 0.15
    folder = os.path.join(out, name)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    with open(path) as file:
        configuration = json.load(file)
    configuration["base_model_name_or_path"] = "tiny"
    configuration["target_modules"] = sorted(configuration["target_modules"])
    with open(path, "w") as file:
        json.dump(configuration, file, indent=2, sort_keys=True)
        file.write("\n")


def logits(adapters):
    model = base()
    for name, scale in adapters:
        if isinstance(model, PeftModel):
            model.load_adapter(os.path.join(out, name), adapter_name=name)
        else:
            model = PeftModel.from_pretrained(model, os.path.join(out, name), adapter_name=name)
        for module in model.modules():
            if isinstance(getattr(module, "scaling", None), dict) and name in module.scaling:
                module.scaling[name] *= scale
    if len(adapters) > 1:
        model.base_model.set_adapter([name for name, _ in adapters])
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0, -1].double().numpy()


def permute(rows, heads):
    """llama's order of query and key rows in GGUF: halves become pairs."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(name):
    from safetensors.numpy import load_file
    with open(os.path.join(out, name, "adapter_config.json")) as file:
        configuration = json.load(file)
    with open(os.path.join(base_folder, "config.json")) as file:
        model = json.load(file)
    writer = gguf.GGUFWriter(os.path.join(out, name + ".gguf"), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(configuration["lora_alpha"]))
    for key, values in sorted(load_file(os.path.join(out, name, "adapter_model.safetensors")).items()):
        parts = key.split(".")
        layer, module, part = parts[4], ".".join(parts[5:7]), parts[7]
        if part == "lora_B" and module.endswith(("q_proj", "k_proj")):
            values = permute(values, model["num_attention_heads" if "q_proj" in module else "num_key_value_heads"])
        writer.add_tensor(f"blk.{layer}.{NAMES[module]}.weight.{part.lower()}", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    make("first", 1, r=4, lora_alpha=6, target_modules=[name.split(".")[1] for name in NAMES])
    make("second", 2, r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "down_proj"])
    write_gguf("first")
    golden = {
        "ids": IDS,
        "base": [round(float(x), 6) for x in logits([])],
        "first": [round(float(x), 6) for x in logits([("first", 1)])],
        "both": [round(float(x), 6) for x in logits([("first", 0.5), ("second", -2)])],
    }
    with open(os.path.join(out, "logits.json"), "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")
    for key in ("first", "both"):
        print(key, "largest change", max(abs(a - b) for a, b in zip(golden[key], golden["base"])))


main()
