#!/usr/bin/env python3
"""Compare `incipit tokenize` with Hugging Face's `tokenizers` and with `sentencepiece` on random strings.

    python compare.py INCIPIT VOCABULARIES [--strings 100000] [--only NAME …] [--seed 1]

INCIPIT is the executable, VOCABULARIES the `models` of the folder that llama_cpp_source.sh prints. Every vocabulary with known answers
(.inp/.out) is checked against these too. For each pre-tokenizer a small vocabulary is trained here, so that every list of
expressions is compared, whether a published vocabulary uses it or not; every further name of a list is compared on a twentieth
of the strings. Text is compared too: of the ids of those strings, and of ids drawn at random, most of which are no UTF-8.
Needs tokenizers, sentencepiece, gguf. Ends with 1 if anything differs.
"""

import argparse
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import gguf
import sentencepiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

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


def ours(path, values, *options):
    """Texts to ids; with --decode-lines, ids to texts."""
    lines = "".join(json.dumps(value) + "\n" for value in values)
    direction = () if "--decode-lines" in options else ("--json-lines", "--no-bos")
    run = subprocess.run([arguments.incipit, "tokenize", path, *direction, *options], input=lines.encode(),
                         capture_output=True)
    if run.returncode:
        raise SystemExit(f"{path}: {run.stderr.decode()}")
    return [json.loads(line) for line in run.stdout.split(b"\n") if line]


def report(name, oracle, texts, found, expected, accept=None):
    global failures
    differing = [i for i in range(len(texts)) if found[i] != expected[i]]
    accepted = [i for i in differing if accept and accept(texts[i], found[i], expected[i])]
    wrong = [i for i in differing if i not in set(accepted)]
    note = f", {len(accepted)} ties broken otherwise" if accepted else ""
    print(f"{'FAIL' if wrong else 'pass'}  {name:24} {oracle:24} {len(texts) - len(differing)} of {len(texts)} equal{note}", flush=True)
    for i in wrong[:3]:
        print(f"      {ascii(texts[i])[:2000]}\n        ours   {found[i]}\n        theirs {expected[i]}")
    failures += bool(wrong)


def decoding(name, path, peer, lists, at_random=0, oracle="text, tokenizers", expect=None):
    """Ids to text: those of encoded strings, and lists drawn from the whole vocabulary. Control tokens are shown."""
    draw = random.Random(arguments.seed)
    data = peers.read(path)
    size = len(data["tokens"])
    lists = lists + [[draw.randrange(size) for _ in range(draw.randint(1, 24))] for _ in range(at_random)]
    # Byte-level decoding of tokenizers takes the text of a token added by hand for bytes as well: "ÿ" (deepseek) is lost.
    lost = {i for i, k in enumerate(data.get("token_type") or []) if k == 4 and not data["tokens"][i].isascii()}
    if lost and data["model"] == "gpt2":
        lists = [[i for i in list_ if i not in lost] for list_ in lists]
    expected = expect(lists) if expect else peer.decode_batch(lists, skip_special_tokens=False)
    report(name, oracle, lists, ours(path, lists, "--decode-lines", "--special"), expected)


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
        if data["model"] == "t5":
            continue
        tokenizer, added = peers.from_gguf(path)
        texts = list(random_text.strings(arguments.strings, arguments.seed, added[:200]))
        expected = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        report(name, "tokenizers", texts, ours(path, texts), expected)
        byte_level = data["model"] == "gpt2"
        decoding(name, path, tokenizer, expected, arguments.strings // 2 if byte_level else 0)
        if byte_level:
            # Text that names control tokens, where that is asked for.
            tokenizer, added = peers.from_gguf(path, special=True)
            texts = list(random_text.strings(arguments.strings // 5, arguments.seed + 3, added[:200]))
            expected = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
            report(name, "with control tokens", texts, ours(path, texts, "--special"), expected)


def write(path, model, tokens, kinds, merges=None, scores=None, **more):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    for key in [k for k in more if k.startswith("normalizer_")]:
        writer.add_bool("tokenizer.ggml." + key.replace("_", ".", 1), more.pop(key))
    for key, value in more.items():
        getattr(writer, "add_" + key)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def known_names(folder):
    """Every name of a pre-tokenizer that the executable knows, as its message about an unknown one lists them."""
    path = os.path.join(folder, "unknown.gguf")
    write(path, "gpt2", ["a"], [1], [], tokenizer_pre="-")
    run = subprocess.run([arguments.incipit, "tokenize", path, "a"], capture_output=True, text=True)
    return set(re.search(r"all known names: ([^\s,]+(?:, [^\s,]+)*)", run.stderr).group(1).split(", "))


def small_vocabularies(folder):
    """One vocabulary trained on random text for each list of expressions, with a token added by hand."""
    global failures
    names = known_names(folder)
    covered = set(expressions.LISTS) | set(expressions.ALIASES) | expressions.RAW
    if names != covered:
        failures += 1
        print(f"FAIL  names of pre-tokenizers    not compared: {sorted(names - covered)}, unknown: {sorted(covered - names)}")
    # The token added by hand is not learned as well: where nothing cuts text, it would be.
    corpus = [t.replace("<|im_end|>", "") for t in random_text.strings(3000, 7)]
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
        # Without some of the merges, tokens are left that only a look for the whole piece finds (ignore_merges).
        vocabulary, merges = model["vocab"], [" ".join(m) for i, m in enumerate(model["merges"]) if i % 9 != 8]
        tokens = sorted(vocabulary, key=vocabulary.get) + ["<|im_end|>"]
        kinds = [1] * len(vocabulary) + [4]
        for other in [name, *sorted(n for n, l in expressions.ALIASES.items() if l == name)]:
            path = os.path.join(folder, other + ".gguf")
            write(path, "gpt2", tokens, kinds, merges, tokenizer_pre=other)
            peer = peers.byte_level(dict(vocabulary, **{"<|im_end|>": len(vocabulary)}), merges, other, ["<|im_end|>"])
            count = arguments.strings if other == name else arguments.strings // 20
            texts = list(random_text.strings(count, arguments.seed + 1))
            expected = [e.ids for e in peer.encode_batch(texts)]
            report("small-" + other, "tokenizers", texts, ours(path, texts), expected)
            if other == name:
                decoding("small-" + name, path, peer, expected, arguments.strings // 5)


def characters(folder):
    """BPE over characters, as Gemma 4 has it: blanks as ▁, lines apart, bytes for what has no token."""
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    for name in sorted(expressions.RAW):
        if not wanted("small-" + name):
            continue
        trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        trained.normalizer = normalizers.Replace(" ", "▁")
        trained.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\n]+|[\n]+"), "isolated")
        # Nor is what looks like a byte, which merging would make the token of that byte.
        corpus = [re.sub("<0x..>|<.im_end.>|<unk>", "", t) for t in random_text.strings(3000, 7)]
        trained.train_from_iterator(corpus, trainers.BpeTrainer(
            vocab_size=2500, show_progress=False, limit_alphabet=500, special_tokens=["<unk>", *bytes_]))
        model = json.loads(trained.to_str())["model"]
        merges = [" ".join(m) for m in model["merges"]]
        tokens = sorted(model["vocab"], key=model["vocab"].get) + ["<|im_end|>"]
        kinds = [2] + [6] * 256 + [1] * (len(tokens) - 258) + [4]
        path = os.path.join(folder, name + ".gguf")
        write(path, "gemma4", tokens, kinds, merges, tokenizer_pre=name, unk_token_id=0)
        peer = peers.raw_text(dict(model["vocab"], **{"<|im_end|>": len(tokens) - 1}), merges, ["<|im_end|>"])
        texts = list(random_text.strings(arguments.strings, arguments.seed + 4))
        expected = [e.ids for e in peer.encode_batch(texts)]
        report("small-" + name, "tokenizers", texts, ours(path, texts), expected)
        decoding("small-" + name, path, peer, expected)


def word_pieces(folder):
    """WordPiece with and without lower case and accents."""
    for lowercase, accents in ((True, True), (True, False), (False, False), (False, True)):
        name = f"wordpiece-{'small' if lowercase else 'cased'}{'' if accents else '-accents'}"
        if not wanted(name):
            continue
        trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        trained.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=accents)
        trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        corpus = [t.replace("▁", "") for t in random_text.strings(5000, 7)]
        trained.train_from_iterator(corpus, trainers.WordPieceTrainer(
            vocab_size=6000, limit_alphabet=700, show_progress=False,
            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
        vocabulary = sorted(trained.get_vocab().items(), key=lambda item: item[1])
        tokens = [t if i < 5 else t[2:] if t.startswith("##") and len(t) > 2 else "▁" + t for t, i in vocabulary]
        kinds = [3, 2, 3, 3, 3] + [1] * (len(tokens) - 5)
        path = os.path.join(folder, name + ".gguf")
        write(path, "bert", tokens, kinds, unk_token_id=1, normalizer_lowercase=lowercase, normalizer_strip_accents=accents)
        peer = peers.word_piece(list(zip(tokens, kinds)), lowercase, accents)
        texts = list(random_text.strings(arguments.strings, arguments.seed + 5))
        expected = [e.ids for e in peer.encode_batch(texts, add_special_tokens=False)]
        report(name, "tokenizers", texts, ours(path, texts), expected)
        decoding(name, path, peer, expected)


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
            if charsmap := peers.charsmap(out.getvalue()):
                more["precompiled_charsmap"] = charsmap
        write(path, "llama" if setup["model_type"] == "bpe" else "t5", tokens, kinds, None, scores, **more)
        texts = list(random_text.strings(arguments.strings, arguments.seed + 2))

        # sentencepiece sums scores in single precision, this project (as Transformers) in double: of two cuts with the
        # same sum either may win.
        def tie(text, mine, theirs):
            lowest = min(s for s, k in zip(scores, kinds) if k == 1)
            value = [sum(scores[i] if kinds[i] == 1 else lowest - 10 for i in ids) for ids in (mine, theirs)]
            return abs(value[0] - value[1]) < 1e-5 * max(1, abs(value[0])) and len(mine) > 1

        expected = peer.encode(texts)
        found = ours(path, texts)
        report(name, "sentencepiece", texts, found, expected, tie if setup["model_type"] == "unigram" else None)
        if setup["model_type"] == "unigram":
            # tokenizers sums in double precision too: equal, ties and all. Its replacements go by grapheme, so it is given the
            # text as sentencepiece normalizes it; the names of control tokens are no text.
            pieces = [(peer.id_to_piece(i), peer.get_score(i)) for i in ids]
            pieces[:3] = [("\U0010fff0" + text, score) for text, score in pieces[:3]]
            other = Tokenizer(models.Unigram(pieces, 0))
            report(name, "tokenizers", texts, found, [e.ids for e in other.encode_batch([peer.normalize(t) for t in texts])])
        # sentencepiece writes ⁇ for the unknown token.
        known = [list_ for list_ in expected if 0 not in list_]
        decoding(name, path, None, known, oracle="text, sentencepiece", expect=peer.decode)


with tempfile.TemporaryDirectory() as scratch:
    published()
    small_vocabularies(scratch)
    characters(scratch)
    word_pieces(scratch)
    sentence_piece(scratch)
sys.exit(1 if failures else 0)
