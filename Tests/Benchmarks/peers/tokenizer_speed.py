#!/usr/bin/env python3
"""Encoding speed of `incipit tokenize`, of Hugging Face's `tokenizers` and of SentencePiece, one thread each, alternating.

    python tokenizer_speed.py INCIPIT VOCABULARIES [TEXT …] [--rounds 5] [--only NAME …]

Texts are cut into parts of some 2 KB; each round encodes all of them, and the median of the rounds counts. Beside the texts
named, random text in many scripts is used. Published vocabularies, and a unigram model trained here on the texts. Needs
tokenizers, sentencepiece and gguf; INCIPIT must be a release build. Ends with 1 where Hugging Face's is faster.
"""

import argparse
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Oracles", "tokenizers"))
import gguf  # noqa: E402
import peers  # noqa: E402
import random_text  # noqa: E402
import sentencepiece  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("incipit")
parser.add_argument("vocabularies")
parser.add_argument("texts", nargs="*")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--only", nargs="*", default=[])
arguments = parser.parse_args()
texts = {os.path.basename(f): open(f, encoding="utf-8").read() for f in arguments.texts}
texts["random, many scripts"] = "\n".join(random_text.strings(12000, 3))
slower = 0


def compare(name, path, encoders):
    """`encoders`: by name, a function from text to ids."""
    global slower
    for label, text in texts.items():
        parts = [text[i:i + 2000] for i in range(0, len(text), 2000)]
        size = sum(len(p.encode()) for p in parts)
        lines = "".join(json.dumps(p) + "\n" for p in parts).encode()
        rates = {other: [] for other in [*encoders, "incipit"]}
        for _ in range(arguments.rounds):
            for other, encode in encoders.items():
                start = time.perf_counter()
                for part in parts:
                    encode(part)
                rates[other].append(size / (time.perf_counter() - start) / 1e6)
            run = subprocess.run([arguments.incipit, "tokenize", path, "--json-lines", "--no-bos", "--time"], input=lines,
                                 capture_output=True, check=True)
            rates["incipit"].append(float(re.search(rb"([0-9.]+) MB/s", run.stderr).group(1)))
        rates = {other: statistics.median(list_) for other, list_ in rates.items()}
        ours = rates.pop("incipit")
        slower += ours < rates["tokenizers"]
        pieces = f"{rates['sentencepiece']:.1f}" if "sentencepiece" in rates else "–"
        print(f"| {name} | {label} | {rates['tokenizers']:.1f} | {pieces} | {ours:.1f} | {ours / max(rates.values()):.1f} |", flush=True)


def unigram(folder):
    """A unigram model as T5 has it, with SentencePiece's own NFKC, as a GGUF file; and its two peers."""
    out = io.BytesIO()
    corpus = (line for text in texts.values() for line in text.replace("\0", "").split("\n") if line.strip() and len(line) < 4000)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus, model_writer=out, model_type="unigram", vocab_size=8000, character_coverage=0.995,
        normalization_rule_name="nmt_nfkc", hard_vocab_limit=False, minloglevel=2, num_threads=1)
    peer = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    ids = range(peer.vocab_size())
    charsmap = peers.charsmap(out.getvalue())
    path = os.path.join(folder, "unigram.gguf")
    writer = gguf.GGUFWriter(path, "t5")
    writer.add_tokenizer_model("t5")
    writer.add_token_list([peer.id_to_piece(i).encode() for i in ids])
    writer.add_token_types([2 if peer.is_unknown(i) else 3 if peer.is_control(i) else 1 for i in ids])
    writer.add_token_scores([peer.get_score(i) for i in ids])
    writer.add_unk_token_id(0)
    writer.add_remove_extra_whitespaces(True)
    writer.add_precompiled_charsmap(charsmap)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    other = Tokenizer(models.Unigram([(peer.id_to_piece(i), peer.get_score(i)) for i in ids], 0))
    other.normalizer = normalizers.Precompiled(charsmap)
    other.pre_tokenizer = pre_tokenizers.Metaspace()
    return path, {"tokenizers": lambda t: other.encode(t, add_special_tokens=False), "sentencepiece": peer.encode}


def wanted(name):
    return not arguments.only or name in arguments.only


print("| vocabulary | text | tokenizers MB/s | SentencePiece MB/s | Incipit MB/s | ÷ the faster peer |\n"
      "| --- | --- | ---: | ---: | ---: | ---: |")
with tempfile.TemporaryDirectory() as scratch:
    for name in ("gpt-2", "qwen2", "llama-bpe", "deepseek-coder", "deepseek-llm", "command-r", "falcon", "gemma-4", "phi-3", "bert-bge"):
        path = os.path.join(arguments.vocabularies, f"ggml-vocab-{name}.gguf")
        if wanted(name) and os.path.exists(path):
            tokenizer, _ = peers.from_gguf(path)
            compare(name, path, {"tokenizers": lambda t: tokenizer.encode(t, add_special_tokens=False)})
    if wanted("unigram"):
        compare("unigram", *unigram(scratch))
sys.exit(bool(slower))
