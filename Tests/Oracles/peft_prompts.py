#!/usr/bin/env python3
"""Every kind of soft prompt that PEFT saves, through `incipit prompt import` and `export`, back into PEFT.

For each type: PEFT makes an adapter on the tiny model with random values and saves it; Incipit imports it (folding what has
to be folded), exports it; PEFT loads the export; logits must be those of the original adapter. So must be the probabilities
of the next token that `incipit run` gives with the prompt attached. Pickles must be refused.
The other way, a multitask prompt learned here on two data sets: PEFT loads what --export-tasks wrote and gives, for each
task, the logits of the plain prompt that was stored; and its AVERAGE_SOURCE_TASKS is the start of --from-tasks.

usage: peft_prompts.py --incipit PATH --model HF_FOLDER --gguf GGUF
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import (AdaptionPromptConfig, CPTConfig, MultitaskPromptTuningConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig,
                  PromptTuningConfig, get_peft_model)
from transformers import AutoModelForCausalLM

try:
    from peft import CartridgeConfig
except ImportError:
    CartridgeConfig = None

TOKENS = 5


def configs():
    yield "PROMPT_TUNING", PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS)
    yield "P_TUNING", PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, encoder_hidden_size=16)
    yield "PREFIX_TUNING", PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS)
    yield "PREFIX_TUNING+projection", PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, prefix_projection=True, encoder_hidden_size=16)
    yield "MULTITASK_PROMPT_TUNING", MultitaskPromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, num_tasks=2, num_ranks=2)
    yield "CPT", CPTConfig(
        task_type="CAUSAL_LM", cpt_token_ids=[5, 6, 7, 8, 9], cpt_mask=[1] * 5, cpt_tokens_type_mask=[1, 2, 2, 3, 4])
    yield "ADAPTION_PROMPT", AdaptionPromptConfig(
        task_type="CAUSAL_LM", adapter_len=TOKENS, adapter_layers=1, target_modules="self_attn")
    if CartridgeConfig is not None:
        yield "CARTRIDGE", CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, num_frozen_tokens=1)


def logits(model, ids, task=None):
    with torch.no_grad():
        extra = {} if task is None else {"task_ids": torch.tensor([task])}
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **extra).logits[0, -ids.shape[1]:].double()


def served(incipit, gguf, prompt, model, name, task) -> bool:
    """Whether the model with the prompt attached here expects what PEFT's does after a text."""
    text = "an old toast from the"
    ids = torch.tensor([json.loads(incipit("tokenize", gguf, text, "--json").stdout)["ids"]])
    want = torch.log_softmax(logits(model, ids, task)[-1], dim=-1)
    said = json.loads(incipit("run", gguf, text, "--attach", prompt, "--max-tokens", "1", "--logprobs", "40",
                              "--cache-type", "f32", "--json").stdout)
    error = max(abs(entry["logprob"] - want[entry["id"]].item()) for entry in said["logprobs"][0]["top"])
    good = error < 2e-3
    print(f"{'ok  ' if good else 'FAIL'} {name}: attached here, log-probabilities of the 40 likeliest tokens within {error:.1e}")
    return good


def multitask(incipit, folder, args, ids) -> int:
    """A source training of ours in PEFT; returns the number of failures."""
    failures = 0
    rows = [json.loads(line) for line in open(args.data, encoding="utf-8")]
    labels = sorted({row["target"] for row in rows})
    turned = pathlib.Path(folder, "turned.jsonl")
    turned.write_text("".join(
        json.dumps({**row, "target": labels[(labels.index(row["target"]) + 1) % len(labels)]}) + "\n" for row in rows))
    tune = ["tune", args.gguf, "--method", "multitask-prompt-tuning", "--allow-bad-start"]
    tasks = f"{folder}/tasks"
    incipit(*tune, "--data", args.data, "--mix", f"{turned}=1", "--name", "oracle/tasks", "--tokens", str(TOKENS),
            "--steps", "60", "--task-rank", "2", "--learning-rate", "0.03", "--patience", "0", "--export-tasks", tasks)

    def fresh():
        return AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)

    def compare(what, want, name):
        exported = f"{folder}/{name.replace('/', '-')}-plain"
        incipit("prompt", "export", name, exported, "--peft")
        have = logits(PeftModel.from_pretrained(fresh(), exported).eval(), ids)
        error = (want - have).abs().max().item()
        cosine = torch.nn.functional.cosine_similarity(want.flatten(), have.flatten(), dim=0).item()
        good = cosine >= 0.9999 and error < 1e-3
        print(f"{'ok  ' if good else 'FAIL'} {what}: cosine {cosine:.7f}, largest difference {error:.2e}")
        return 0 if good else 1

    source = PeftModel.from_pretrained(fresh(), tasks).eval()
    data_name = pathlib.Path(args.data).stem.replace("_", "-")
    all_logits = []
    for task, name in enumerate([data_name, "turned"]):
        all_logits.append(logits(source, ids, task))
        failures += compare(f"our multitask export, task {task}", all_logits[-1], f"oracle/tasks/{name}")
    if (all_logits[0] - all_logits[1]).abs().max().item() < 1e-2:
        print("FAIL the two tasks' prompts do the same")
        failures += 1
    averaged = get_peft_model(fresh(), MultitaskPromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, num_tasks=1, num_ranks=2,
        prompt_tuning_init="AVERAGE_SOURCE_TASKS",
        prompt_tuning_init_state_dict_path=f"{tasks}/adapter_model.safetensors")).eval()
    # One step at a rate of nothing stores the start itself.
    incipit(*tune, "--data", args.data, "--name", "oracle/adapted", "--steps", "1", "--learning-rate", "1e-20",
            "--from-tasks", tasks)
    failures += compare("our start from the average of PEFT's tasks", logits(averaged, ids, 0), "oracle/adapted")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--incipit", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--data", default=str(pathlib.Path(__file__).parents[2] / "Fixtures/Data/tiny-kinds.jsonl"))
    args = parser.parse_args()
    torch.manual_seed(7)
    ids = torch.tensor([[3, 17, 42, 8, 61, 9, 30]])
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, INCIPIT_HOME=folder + "/home", INCIPIT_CACHE=folder + "/cache")

        def incipit(*words, ok=True):
            result = subprocess.run([args.incipit, *words], env=env, capture_output=True, text=True)
            if ok and result.returncode != 0:
                raise SystemExit(f"{' '.join(words)}: {result.stderr}")
            return result

        for name, config in configs():
            base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
            model = get_peft_model(base, config)
            with torch.no_grad():
                for label, parameter in model.named_parameters():
                    if label.endswith("adaption_gate"):
                        parameter.fill_(0.7)
                    elif parameter.requires_grad:
                        parameter.add_(0.1 * torch.randn_like(parameter))
            model.eval()
            slug = name.lower().replace("+", "-").replace("_", "-")
            saved, exported = f"{folder}/{slug}", f"{folder}/{slug}-exported"
            model.save_pretrained(saved)
            task = 1 if name == "MULTITASK_PROMPT_TUNING" else None
            words = ["prompt", "import", saved, "--base", args.gguf, "--name", f"oracle/{slug}"]
            if task is not None:
                refused = incipit(*words, ok=False)
                assert refused.returncode == 65 and "task" in refused.stderr, refused.stderr
                words += ["--task", str(task)]
            incipit(*words)
            incipit("prompt", "export", f"oracle/{slug}", exported, "--peft")
            assert sorted(os.listdir(exported)) == ["adapter_config.json", "adapter_model.safetensors"]
            # What was saved, loaded by PEFT itself, is the reference: some encoders are not the same before saving.
            base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
            want = logits(PeftModel.from_pretrained(base, saved).eval(), ids, task)
            base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
            have = logits(PeftModel.from_pretrained(base, exported).eval(), ids)
            bare = logits(AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32), ids)
            error = (want - have).abs().max().item()
            cosine = torch.nn.functional.cosine_similarity(want.flatten(), have.flatten(), dim=0).item()
            moved = (want - bare).abs().max().item()
            good = cosine >= 0.9999 and error < 1e-3 and moved > 10 * error
            failures += not good
            failures += not served(incipit, args.gguf, f"oracle/{slug}", PeftModel.from_pretrained(
                AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32), saved).eval(), name, task)
            print(f"{'ok  ' if good else 'FAIL'} {name}: cosine {cosine:.7f}, largest difference {error:.2e} (prompt moves {moved:.2f})")

        failures += multitask(incipit, folder, args, ids)
        pickled = pathlib.Path(folder, "pickled")
        pickled.mkdir()
        (pickled / "adapter_config.json").write_text(json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 1}))
        (pickled / "adapter_model.bin").write_bytes(b"\x80\x04.")
        refused = incipit("prompt", "import", str(pickled), "--base", args.gguf, "--name", "oracle/pickle", ok=False)
        good = refused.returncode == 65 and "pickle" in refused.stderr
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} a pickle is refused")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
