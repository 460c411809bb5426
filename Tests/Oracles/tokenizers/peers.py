"""Builds Hugging Face tokenizers from what a GGUF file holds."""

import functools

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

import expressions


@functools.cache
def read(path):
    """The tokenizer.ggml.* metadata of a GGUF file, as plain values."""
    import gguf

    result = {}
    for field in gguf.GGUFReader(path).fields.values():
        if field.name.startswith("tokenizer.ggml."):
            result[field.name.removeprefix("tokenizer.ggml.")] = field.contents()
    return result


def byte_level(vocabulary, merges, name, added=()):
    """Byte-level BPE; merges with a part that is no token are left out."""
    pairs = [tuple(m) if isinstance(m, (list, tuple)) else split(m) for m in merges]
    pairs = [(a, b) for a, b in pairs if a in vocabulary and b in vocabulary and a + b in vocabulary]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=name in expressions.IGNORES_MERGES))
    splits = [pre_tokenizers.Split(Regex(e), "isolated") for e in expressions.list_for(name)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    return tokenizer


def raw_text(vocabulary, merges, added=()):
    """Gemma 4: BPE on the text itself, blanks as ▁, lines apart, bytes for what is missing."""
    pairs = [tuple(m) if isinstance(m, (list, tuple)) else split(m) for m in merges]
    pairs = [(a, b) for a, b in pairs if a in vocabulary and b in vocabulary and a + b in vocabulary]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\n]+|[\n]+"), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    return tokenizer


def word_piece(tokens, lowercase=True, strip_accents=None):
    """BERT: `▁x` in GGUF is `x` here, `x` is `##x`."""
    vocabulary = {}
    for number, (text, kind) in enumerate(tokens):
        if kind == 1:
            text = text[1:] if text.startswith("▁") else "##" + text
        vocabulary.setdefault(text, number)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return tokenizer


def sentence_piece(tokens, kinds, scores):
    """SentencePiece's BPE as transformers writes it for Hugging Face: merges in the order of the scores."""
    vocabulary = {t: i for i, t in enumerate(tokens)}
    merges = []
    for text, number in vocabulary.items():
        if kinds[number] != 1:
            continue
        for k in range(1, len(text)):
            left, right = vocabulary.get(text[:k]), vocabulary.get(text[k:])
            if left is not None and right is not None:
                merges.append((-scores[number], left, right, text[:k], text[k:]))
    tokenizer = Tokenizer(models.BPE(vocabulary, [(a, b) for *_, a, b in sorted(merges)], unk_token=tokens[0], fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


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


def charsmap(model):
    """The table of replacements in a SentencePiece model: ModelProto.normalizer_spec (3) . precompiled_charsmap (2)."""
    return field(field(model, 3), 2)


def split(merge):
    """At the first blank from index 1 on."""
    at = merge.index(" ", 1)
    return merge[:at], merge[at + 1:]


def from_gguf(path, pre=None, special=False):
    """The Hugging Face tokenizer of a GGUF vocabulary, and the texts of tokens added by hand; control tokens too, if `special`."""
    data = read(path)
    tokens, kinds = data["tokens"], data.get("token_type") or [1] * len(data["tokens"])
    added = [t for t, k in zip(tokens, kinds) if k == 4 or (special and k in (2, 3))]
    if data["model"] == "bert":
        return word_piece(list(zip(tokens, kinds))), added
    vocabulary = {t: i for i, t in enumerate(tokens)}
    if data["model"] == "llama":
        tokenizer = sentence_piece(tokens, kinds, data["scores"])
        # Phi-3's swallow the white space behind them.
        tokenizer.add_tokens([AddedToken(t, normalized=False, rstrip="<|assistant|>" in vocabulary) for t in added])
        return tokenizer, added
    if data["model"] == "gemma4":
        return raw_text(vocabulary, data["merges"], added), added
    return byte_level(vocabulary, data["merges"], pre or data.get("pre") or "default", added), added
