#!/usr/bin/env python3
"""JSON schemas, three ways:   python json_schemas.py INCIPIT MODEL.gguf [--seeds 3]

1. The verdicts of Fixtures/Golden/json-schemas.json are those of Python's json and jsonschema.
2. llama.cpp reads the GBNF that `incipit grammar --json-schema` prints.
3. What a model writes under `incipit run --json-schema` at a high temperature is JSON that jsonschema accepts, and a text
   that llama.cpp's grammar accepts.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys

import jsonschema
import llama_cpp as L

HERE = os.path.dirname(os.path.abspath(__file__))


@L.llama_log_callback
def QUIET(level, text, data):
    pass


def accepts(schema, text):
    try:
        value = json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))
        jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
        return True
    except (ValueError, jsonschema.ValidationError):
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("incipit")
    parser.add_argument("model")
    parser.add_argument("--seeds", type=int, default=3)
    a = parser.parse_args()
    L.llama_log_set(QUIET, None)
    parameters = L.llama_model_default_params()
    parameters.vocab_only = True
    vocab = L.llama_model_get_vocab(L.llama_model_load_from_file(a.model.encode(), parameters))
    cases = json.load(open(os.path.join(HERE, "../../Fixtures/Golden/json-schemas.json")))
    failures = []
    written = complete = 0
    for case in cases:
        schema = case["schema"]
        text = json.dumps(schema)
        failures += [f"jsonschema refuses {t} for {text}" for t in case["good"] if not accepts(schema, t)]
        # Integers written as 1.0, and a member more, are within the schema; the grammar is narrower there.
        failures += [f"jsonschema accepts {t} for {text}" for t in case["bad"]
                     if accepts(schema, t) and t not in case.get("narrower", [])]
        gbnf = subprocess.run([a.incipit, "grammar", "--json-schema", text], capture_output=True, text=True, check=True).stdout
        sampler = L.llama_sampler_init_grammar(vocab, gbnf.encode(), b"root")
        if not sampler:
            failures.append(f"llama.cpp cannot read the grammar of {text}")
            continue
        L.llama_sampler_free(sampler)
        for seed in range(a.seeds):
            out = subprocess.run(
                [a.incipit, "run", a.model, "--json-schema", text, "--json", "--temperature", "1.3", "--top-k", "0",
                 "--seed", str(seed), "--max-tokens", "200", "Write JSON: "], capture_output=True, text=True)
            if out.returncode:
                failures.append(f"run fails for {text}: {out.stderr.strip()}")
                continue
            result = json.loads(out.stdout)
            written += 1
            if result["ending"] == "length":
                continue
            complete += 1
            if not accepts(schema, result["text"]):
                failures.append(f"jsonschema refuses what the model wrote for {text}: {result['text']}")
            if not follows(vocab, gbnf, result["text"]):
                failures.append(f"llama.cpp's grammar refuses what the model wrote for {text}: {result['text']}")
    print(f"{len(cases)} schemas, {written} answers, {complete} of them complete")
    for failure in failures:
        print("FAIL", failure)
    sys.exit(bool(failures))


def follows(vocab, gbnf, text):
    sampler = L.llama_sampler_init_grammar(vocab, gbnf.encode(), b"root")
    raw = text.encode()
    buffer = (L.llama_token * (len(raw) + 8))()
    tokens = list(buffer[: L.llama_tokenize(vocab, raw, len(raw), buffer, len(buffer), False, False)])
    for token in tokens + [L.llama_vocab_eos(vocab)]:
        array = (L.llama_token_data * 1)(L.llama_token_data(token, 1.0, 0.0))
        L.llama_sampler_apply(sampler, ctypes.byref(L.llama_token_data_array(array, 1, -1, False)))
        if array[0].logit != 1.0:
            return False
        if token != L.llama_vocab_eos(vocab):
            L.llama_sampler_accept(sampler, token)
    return True


if __name__ == "__main__":
    main()
