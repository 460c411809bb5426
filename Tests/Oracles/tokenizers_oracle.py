"""Judges tokenizer conversion against Hugging Face tokenizers and SentencePiece.

    tokenizers_oracle.py make DIR [VECTORS]   builds source folders DIR/<case>/source (or source.gguf)
    tokenizers_oracle.py compare DIR          compares ids of random texts between source and DIR/<case>/exported

Between the two, the Swift test "folders of an oracle" converts each case to GGUF and back (Tests/Oracles/tokenizers.sh
runs all three). Ends with 1 if any id differs.
"""
import glob, json, os, random, shutil, sys, unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

C = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORD = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
L3 = C + WORD + r"\p{N}{1,3}" + TAIL
QW = C + WORD + r"\p{N}" + TAIL
UP = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOW = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SLASH = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200 = UP + "*" + LOW + "+" + C + "?|" + UP + "+" + LOW + "*" + C + r"?|\p{N}{1,3}" + SLASH
TEKK = UP + "*" + LOW + "+|" + UP + "+" + LOW + r"*|\p{N}" + SLASH
DS3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
       r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def digits(individual):
    return pre_tokenizers.Digits(individual_digits=individual)


# name: (architecture, steps, ignore_merges, normalizer)
BYTE_LEVEL = {
    "llama-bpe": ("llama", [split(L3), byte_level(False)], True, None),
    "dbrx": ("olmo2", [split(L3), byte_level(False)], False, None),
    "qwen2": ("qwen2", [split(QW), byte_level(False)], False, normalizers.NFC()),
    "qwen35": ("qwen35", [split(C + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                                r"|\s*[\r\n]+|\s+(?!\S)|\s+"), byte_level(False)], False, None),
    "stablelm2": ("stablelm", [split(QW, "removed", True), byte_level(False)], False, None),
    "gpt-2": ("gpt2", [byte_level(True)], False, None),
    "olmo": ("olmo", [byte_level(True)], False, normalizers.NFC()),
    "smollm": ("llama", [digits(True), byte_level(True)], False, None),
    "starcoder": ("starcoder2", [digits(True), byte_level(True)], False, None),
    "refact": ("granite", [digits(True), byte_level(True)], False, None),
    "command-r": ("command-r", [digits(True), byte_level(True)], False, normalizers.NFC()),
    "falcon": ("falcon", [pre_tokenizers.Punctuation("contiguous"), byte_level(True),
                          split("[0-9][0-9][0-9]")], False, None),
    "deepseek-coder": ("llama", [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                                 split("[一-龥ࠀ-一가-\ud7ff]+".encode("utf-16", "surrogatepass").decode("utf-16")),
                                 digits(True), byte_level(False)], False, None),
    "deepseek-v3": ("deepseek2", [split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(DS3),
                                  byte_level(False)], False, None),
    "tekken": ("llama", [split(TEKK), byte_level(False)], True, None),
    "gpt-4o": ("phi3", [split(O200, "removed", True), byte_level(False)], False, None),
    "bailingmoe": ("bailingmoe", [split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
                                        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
                                  byte_level(False)], False, None),
    "seed-coder": ("llama", [split(C + WORD + r"\p{N}{1}| ?[^\s\p{L}\p{N}" "\r\n" r"]+|\s*[" "\r\n" r"]+|\s+(?!\S)|\s+"),
                             byte_level(False)], False, None),
    "bloom": ("bloom", [split(r" ?[^(\s|.,!?…。，、।۔،)]+"), byte_level(False)], False, None),
    "viking": ("llama", [split(r" ?[^(\s|.,!?…。，、।۔،)]+"), digits(True), byte_level(False)], False, None),
    "minicpm5": ("minicpm", [split(r"\p{N}{1,3}"), split(C + WORD + r"\p{N}+" + TAIL), byte_level(False)], True, None),
    "tiny_aya": ("cohere2", [split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(O200), byte_level(False)], False, None),
}

SENTENCES = """The quick brown fox jumps over the lazy dog, 12345 times a day; isn't it what we've wanted?
Ein Löwe läuft über die Straße und fragt: „Wie spät ist es?“ Es ist 7:45 Uhr am 3. März 2024.
Быстрая лиса прыгает через ленивую собаку. Сколько будет 100 + 250? ΚΑΛΗΜΕΡΑ κόσμε, τι κάνεις;
我想在苹果工作，今天是二〇二四年三月。東京は日本の首都です。カタカナとひらがな。 안녕하세요 세계, 한국어 문장입니다.
def main(args):\n\tfor i in range(0, 10):\n\t\tprint(f"{i}: {args[i]!r}")  # comment\n\treturn {'a': [1, 2, 3]}
مرحبا بالعالم، كيف حالك؟ नमस्ते दुनिया, आप कैसे हैं? สวัสดีชาวโลก កាន់តែពិសេសអាចខលចេញ
I'M SURE YOU'LL SAY "HE'S THERE"... they'd go; we're done!!! ```swift let x = y ?? z ``` ~~~ ====== ------
naïve café résumé coöperate — façade… ½ ⅓ ² ³ № ™ © € £ 🚀 😶‍🌫️ ✅ 🦙🦙 e\u0301 a\u0308 ﬁ ﬂ Ａｂｃ １２３""".split("\n")
CORPUS = [s.replace("\\n", "\n").replace("\\t", "\t") for s in SENTENCES] * 20


def random_texts(count, seed=7):
    rng = random.Random(seed)
    words = sorted({w for s in CORPUS for w in s.split(" ")})
    chars = sorted({c for s in CORPUS for c in s}) + list("ſKÅΩǅʰ\u0301\u093f\u200d\u00a0\u3000\u2028\x85\t\n\r")
    extra = ["'s", "'S", "'ll", "'LL", "'ve", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "123", "4567", "0",
             "!?", "...", "//", "/\n", "$+<=>^`|~", "’s", "İ", "ß", "ŉ"]
    texts = []
    for number in range(count):
        kind = number % 4
        if kind == 0:
            parts = [rng.choice(words) for _ in range(rng.randint(1, 12))]
            texts.append(" ".join(parts))
        elif kind == 1:
            texts.append("".join(rng.choice(chars) for _ in range(rng.randint(0, 30))))
        elif kind == 2:
            texts.append("".join(rng.choice(rng.choice([words, extra, chars])) for _ in range(rng.randint(1, 15))))
        else:
            texts.append("".join(chr(rng.choice([rng.randint(1, 0x2FF), rng.randint(0x300, 0xD7FF),
                                                 rng.randint(0xE000, 0xFFFD), rng.randint(0x10000, 0x1FAFF)]))
                                 if rng.random() < 0.3 else rng.choice(extra + [" ", "a", "Z"])
                                 for _ in range(rng.randint(1, 20))))
    return texts


def start(root, name, architecture, vocabulary=None, pre=None):
    folder = os.path.join(root, name, "source")
    shutil.rmtree(os.path.join(root, name), ignore_errors=True)
    os.makedirs(folder)
    with open(os.path.join(root, name, "case.json"), "w") as file:
        json.dump({"architecture": architecture, "vocabularySize": vocabulary, "pre": pre}, file)
    return folder


def configuration(folder, **values):
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump(values, file, ensure_ascii=False)


def byte_level_tokenizer(steps, ignore_merges, normalizer, size=900):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin|> $A", pair="<|begin|> $A <|begin|> $B",
                                      special_tokens=[("<|begin|>", begin)])])
    return tokenizer


def make(root, vectors):
    import sentencepiece
    os.makedirs(root, exist_ok=True)
    for name, (architecture, steps, ignore, normalizer) in BYTE_LEVEL.items():
        folder = start(root, "bpe-" + name, architecture, vocabulary=910, pre=name)
        byte_level_tokenizer(steps, ignore, normalizer).save(os.path.join(folder, "tokenizer.json"))
        configuration(folder, bos_token="<|begin|>", eos_token="<|end|>", chat_template="{{ messages }}")

    # The slow form: vocab.json and merges.txt.
    tokenizer = byte_level_tokenizer([byte_level(True)], False, None)
    folder = start(root, "slow-gpt2", "gpt2")
    tokenizer.model.save(folder)
    with open(os.path.join(folder, "added_tokens.json"), "w") as file:
        json.dump({t: tokenizer.token_to_id(t) for t in ["<|begin|>", "<|end|>", "<tool>"]}, file)
    configuration(folder, tokenizer_class="GPT2Tokenizer", bos_token="<|begin|>", eos_token="<|end|>")
    tokenizer.save(os.path.join(root, "slow-gpt2", "oracle.json"))

    text = os.path.join(root, "corpus.txt")
    with open(text, "w", encoding="utf-8") as file:
        file.write("\n".join(s.replace("\n", " ") for s in CORPUS))
    common = dict(input=text, character_coverage=0.98, hard_vocab_limit=False, minloglevel=2)
    for name, dummy in [("bpe", True), ("bpe-noprefix", False)]:
        sentencepiece.SentencePieceTrainer.train(
            model_prefix=os.path.join(root, name), vocab_size=1000, model_type="bpe", byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=dummy,
            user_defined_symbols=["<user>"], **common)
        folder = start(root, "spm-" + name, "llama" if dummy else "gemma2")
        shutil.copy(os.path.join(root, name + ".model"), os.path.join(folder, "tokenizer.model"))
        configuration(folder, bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True,
                      added_tokens_decoder={str(i): {"content": t, "special": True}
                                            for i, t in enumerate(["<unk>", "<s>", "</s>"])})
    folder = start(root, "json-spm-bpe", "llama")
    spm_as_json(sentencepiece.SentencePieceProcessor(os.path.join(root, "bpe.model"))).save(
        os.path.join(folder, "tokenizer.json"))
    configuration(folder, bos_token="<s>", eos_token="</s>", unk_token="<unk>")

    for name, rule in [("nmt_nfkc", "nmt_nfkc"), ("identity", "identity")]:
        sentencepiece.SentencePieceTrainer.train(
            model_prefix=os.path.join(root, name), vocab_size=700, model_type="unigram",
            normalization_rule_name=rule, pad_id=3, **common)
        folder = start(root, "spm-unigram-" + name, "t5")
        shutil.copy(os.path.join(root, name + ".model"), os.path.join(folder, "spiece.model"))
        configuration(folder, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " "),
                                                 normalizers.Replace(Regex(r"\A | \z"), "")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    tokenizer.add_special_tokens(["<extra_id_0>", "<extra_id_1>"])
    folder = start(root, "json-unigram", "t5")
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    configuration(folder, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=800, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = start(root, "json-wordpiece", "bert")
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    roles = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
    configuration(folder, **roles)
    folder = start(root, "slow-wordpiece", "bert")
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as file:
        file.writelines(token + "\n" for token, _ in tokens)
    configuration(folder, do_lower_case=True, **roles)
    tokenizer.save(os.path.join(root, "slow-wordpiece", "oracle.json"))

    for path in sorted(glob.glob(os.path.join(vectors, "*.gguf"))) if vectors else []:
        name = "gguf-" + os.path.basename(path)[len("ggml-vocab-"):-len(".gguf")]
        start(root, name, "")
        os.symlink(path, os.path.join(root, name, "source.gguf"))


def spm_as_json(processor):
    """The tokenizer.json that transformers makes of a SentencePiece BPE model."""
    vocabulary = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    merges = []
    for piece, number in vocabulary.items():
        if processor.is_control(number) or processor.is_unknown(number) or processor.is_byte(number) or piece == "<user>":
            continue
        pairs = [(vocabulary[piece[:k]], vocabulary[piece[k:]], piece[:k], piece[k:]) for k in range(1, len(piece))
                 if piece[:k] in vocabulary and piece[k:] in vocabulary]
        merges += [(processor.get_score(number), a, b) for _, _, a, b in sorted(pairs)]
    merges.sort(key=lambda merge: merge[0], reverse=True)
    tokenizer = Tokenizer(models.BPE(vocabulary, [(a, b) for _, a, b in merges], unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ["<unk>", "<s>", "</s>"]])
    tokenizer.add_tokens([AddedToken("<user>", normalized=False)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def oracle(case):
    """A function from text to ids (without special tokens), and the whole vocabulary, of a case's source."""
    source = os.path.join(case, "source")
    for path in [os.path.join(case, "oracle.json"), os.path.join(source, "tokenizer.json")]:
        if os.path.exists(path):
            tokenizer = Tokenizer.from_file(path)
            return lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    import sentencepiece
    for name in ["tokenizer.model", "spiece.model"]:
        path = os.path.join(source, name)
        if os.path.exists(path):
            processor = sentencepiece.SentencePieceProcessor(path)
            return lambda text: processor.encode(text)
    return None


def vector_cases(case):
    base = os.path.realpath(os.path.join(case, "source.gguf"))
    if not os.path.exists(base + ".inp"):
        return []
    texts = open(base + ".inp", encoding="utf-8").read().split("\n__ggml_vocab_test__\n")
    lines = open(base + ".out", encoding="utf-8").read().splitlines()
    return [(text, [int(i) for i in line.split()]) for text, line in zip(texts, lines)]


def unigram_scores(path):
    model = json.load(open(path, encoding="utf-8"))["model"]
    return [score for _, score in model["vocab"]] if model["type"] == "Unigram" else None


def same_score(scores, left, right):
    """Whether two ways to cut a text are equally good: then either is right."""
    total = lambda ids: sum(scores[i] for i in ids)
    return abs(total(left) - total(right)) < 1e-4 * (1 + len(left))


def has_clusters(text):
    return any(unicodedata.category(c)[0] == "M" or c in "\u200d\r" or 0x1160 <= ord(c) < 0x1200 or 0x1F3FB <= ord(c) < 0x1F400
               for c in text)


def compare(root):
    texts = random_texts(10000)
    failed = 0
    for case in sorted(glob.glob(os.path.join(root, "*", "case.json"))):
        case = os.path.dirname(case)
        name = os.path.basename(case)
        path = os.path.join(case, "exported", "tokenizer.json")
        if not os.path.exists(path):
            print(f"{name:28} NOT CONVERTED")
            failed += 1
            continue
        exported = Tokenizer.from_file(path)
        encode = lambda text: exported.encode(text, add_special_tokens=False).ids
        expected = oracle(case)
        pairs = [(t, expected(t)) for t in texts] if expected else vector_cases(case)
        wrong = [(t, e, encode(t)) for t, e in pairs if encode(t) != e]
        scores = unigram_scores(path)
        ties = 0
        if scores:
            if name.endswith("nfkc"):
                # tokenizers looks rules up by grapheme, SentencePiece by scalar.
                wrong = [w for w in wrong if not has_clusters(w[0])]
            tied = [w for w in wrong if same_score(scores, w[1], w[2])]
            ties, wrong = len(tied), [w for w in wrong if w not in tied]
        verdict = "ok" + (f" ({ties} ties cut otherwise)" if ties else "") if not wrong else f"{len(wrong)} DIFFER, first {wrong[0]!r}"
        model = os.path.join(case, "exported", "tokenizer.model")
        if os.path.exists(model) and expected:
            import sentencepiece
            processor = sentencepiece.SentencePieceProcessor(model)
            bad = [(t, e, processor.encode(t)) for t, e in pairs if processor.encode(t) != e]
            bad = [b for b in bad if not (scores and same_score(scores, b[1], b[2]))]
            verdict += "; tokenizer.model " + ("ok" if not bad else f"{len(bad)} DIFFER, first {bad[0]!r}")
            wrong += bad
        from transformers import AutoTokenizer
        auto = AutoTokenizer.from_pretrained(os.path.join(case, "exported"))
        other = [t for t in texts[:200] if auto.encode(t, add_special_tokens=False) != encode(t)]
        if other:
            verdict += f"; AutoTokenizer differs on {other[0]!r}"
            wrong += other
        if expected and os.path.exists(os.path.join(case, "source", "tokenizer.json")):
            source = Tokenizer.from_file(os.path.join(case, "source", "tokenizer.json"))
            if source.encode("a").ids != exported.encode("a").ids:
                verdict += f"; specials {source.encode('a').ids} became {exported.encode('a').ids}"
                wrong.append("specials")
        failed += bool(wrong)
        print(f"{name:28} {len(pairs):6} texts  {verdict}", flush=True)
    return failed


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    else:
        sys.exit(1 if compare(sys.argv[2]) else 0)
