#!/usr/bin/env python3
"""Compare `incipit tokenize` with Hugging Face's `tokenizers` and with `sentencepiece` on random strings.

    python compare.py INCIPIT VOCABULARIES [--strings 100000] [--only NAME …]

INCIPIT is the executable, VOCABULARIES the `models` of the folder that llama_cpp_source.sh prints. Every vocabulary with known answers
(.inp/.out) is checked against these too. For each pre-tokenizer a small vocabulary is trained here, so that every list of
expressions is compared, whether a published vocabulary uses it or not. Needs tokenizers, sentencepiece, gguf. Ends with 1
if anything differs.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile

import gguf
import sentencepiece
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

import expressions
import peers
import random_text

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("incipit")
parser.add_argument("vocabularies")
parser.add_argument("--strings", type=int, default=100_000)
parser.add_argument("--only", nargs="*", default=[])
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()
failures = 0


def ours(path, texts):
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    run = subprocess.run([arguments.incipit, "tokenize", path, "--json-lines", "--no-bos"], input=lines.encode(),
                         capture_output=True)
    if run.returncode:
        raise SystemExit(f"{path}: {run.stderr.decode()}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def report(name, oracle, texts, found, expected, accept=None):
    global failures
    differing = [i for i in range(len(texts)) if found[i] != expected[i]]
    accepted = [i for i in differing if accept and accept(texts[i], found[i], expected[i])]
    wrong = [i for i in differing if i not in set(accepted)]
    note = f", {len(accepted)} ties broken otherwise" if accepted else ""
    print(f"{'FAIL' if wrong else 'pass'}  {name:24} {oracle:24} {len(texts) - len(differing)} of {len(texts)} equal{note}", flush=True)
    for i in wrong[:3]:
        print(f"      {texts[i]!a}\n        ours   {found[i]}\n        theirs {expected[i]}")
    failures += bool(wrong)


def wanted(name):
    return not arguments.only or name in arguments.only


def known_answers(path, name):
    if not os.path.exists(path + ".inp"):
        return
    texts = open(path + ".inp", encoding="utf-8", newline="").read().split("\n__ggml_vocab_test__\n")
    lines = open(path + ".out").read().split("\n")
    texts, lines = [t[: -1] if not t[-1] else t for t in (texts, lines)]
    report(name, "known answers", texts, ours(path, texts), [[int(x) for x in line.split()] for line in lines])


def published():
    for file in sorted(os.listdir(arguments.vocabularies)):
        if not file.endswith(".gguf"):
            continue
        name = file.removeprefix("ggml-vocab-").removesuffix(".gguf")
        if not wanted(name):
            continue
        path = os.path.join(arguments.vocabularies, file)
        known_answers(path, name)
        data = peers.read(path)
        if data["model"] in ("llama", "t5"):
            continue
        tokenizer, added = peers.from_gguf(path)
        texts = list(random_text.strings(arguments.strings, arguments.seed, added[:200]))
        if data["model"] == "bert":
            texts = [t for t in texts if "[" not in t]  # texts of control tokens are in the vocabulary there
        expected = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        report(name, "tokenizers", texts, ours(path, texts), expected)


def write(path, model, tokens, kinds, merges=None, scores=None, **more):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    for key, value in more.items():
        getattr(writer, "add_" + key)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def small_vocabularies(folder):
    """One vocabulary trained on random text for each list of expressions, with a token added by hand."""
    corpus = list(random_text.strings(3000, 7))
    for name, list_ in expressions.LISTS.items():
        if not wanted("small-" + name):
            continue
        trained = Tokenizer(models.BPE())
        trained.pre_tokenizer = pre_tokenizers.Sequence(
            [*[pre_tokenizers.Split(Regex(e), "isolated") for e in list_],
             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        trained.train_from_iterator(corpus, trainers.BpeTrainer(
            vocab_size=2000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        model = json.loads(trained.to_str())["model"]
        vocabulary, merges = model["vocab"], [" ".join(m) for m in model["merges"]]
        tokens = sorted(vocabulary, key=vocabulary.get) + ["<|im_end|>"]
        kinds = [1] * len(vocabulary) + [4]
        path = os.path.join(folder, name + ".gguf")
        write(path, "gpt2", tokens, kinds, merges, tokenizer_pre=name)
        peer = peers.byte_level(dict(vocabulary, **{"<|im_end|>": len(vocabulary)}), merges, name, ["<|im_end|>"])
        texts = list(random_text.strings(arguments.strings, arguments.seed + 1))
        report("small-" + name, "tokenizers", texts, ours(path, texts), [e.ids for e in peer.encode_batch(texts)])


def field(message, number):
    """The last length-delimited field with that number of a protocol buffer message, or nothing."""
    def varint(at):
        value, shift = 0, 0
        while True:
            value |= (message[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if message[at - 1] < 128:
                return value, at

    at, found = 0, b""
    while at < len(message):
        tag, at = varint(at)
        if tag & 7 == 2:
            length, at = varint(at)
            if tag >> 3 == number:
                found = message[at:at + length]
            at += length
        elif tag & 7 == 0:
            _, at = varint(at)
        else:
            at += 8 if tag & 7 == 1 else 4
    return found


def sentence_piece(folder):
    """Models trained here: BPE with byte fallback as Llama's, unigram with NFKC and without, as T5's."""
    usual = set("".join(random_text.CLASSES + random_text.SNIPPETS))
    corpus = [t.replace("\n", " ").replace("\0", "") for t in random_text.strings(20000, 11) if usual.issuperset(t)]
    corpus = [t for t in corpus if t.strip()]
    setups = {
        "sp-bpe": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                       remove_extra_whitespaces=False, vocab_size=3000, character_coverage=0.98),
        "sp-bpe-unk": dict(model_type="bpe", normalization_rule_name="identity", remove_extra_whitespaces=False,
                           vocab_size=2000, character_coverage=0.98),
        "sp-unigram": dict(model_type="unigram", normalization_rule_name="nmt_nfkc", vocab_size=2000,
                           character_coverage=0.98),
        "sp-unigram-plain": dict(model_type="unigram", normalization_rule_name="identity", vocab_size=2000,
                                 remove_extra_whitespaces=False, character_coverage=0.98),
    }
    for name, setup in setups.items():
        if not wanted(name):
            continue
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_writer=out, hard_vocab_limit=False, minloglevel=2, num_threads=1, **setup)
        peer = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
        ids = range(peer.vocab_size())
        tokens = [peer.id_to_piece(i).encode() for i in ids]
        kinds = [2 if peer.is_unknown(i) else 3 if peer.is_control(i) else 6 if peer.is_byte(i) else 1 for i in ids]
        scores = [peer.get_score(i) for i in ids]
        path = os.path.join(folder, name + ".gguf")
        more = dict(bos_token_id=1, eos_token_id=2, unk_token_id=0)
        if setup["model_type"] == "unigram":
            more["remove_extra_whitespaces"] = setup.get("remove_extra_whitespaces", True)
            # ModelProto.normalizer_spec (3) . precompiled_charsmap (2)
            if charsmap := field(field(out.getvalue(), 3), 2):
                more["precompiled_charsmap"] = charsmap
        write(path, "llama" if setup["model_type"] == "bpe" else "t5", tokens, kinds, None, scores, **more)
        texts = list(random_text.strings(arguments.strings, arguments.seed + 2))

        # sentencepiece sums scores in single precision, this project (as Transformers) in double: of two cuts with the
        # same sum either may win.
        def tie(text, mine, theirs):
            lowest = min(s for s, k in zip(scores, kinds) if k == 1)
            value = [sum(scores[i] if kinds[i] == 1 else lowest - 10 for i in ids) for ids in (mine, theirs)]
            return abs(value[0] - value[1]) < 1e-5 * max(1, abs(value[0])) and len(mine) > 1

        report(name, "sentencepiece", texts, ours(path, texts), peer.encode(texts),
               tie if setup["model_type"] == "unigram" else None)


with tempfile.TemporaryDirectory() as scratch:
    published()
    small_vocabularies(scratch)
    sentence_piece(scratch)
sys.exit(1 if failures else 0)
