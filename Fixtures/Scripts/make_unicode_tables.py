#!/usr/bin/env python3
"""Make Sources/Tokenization/UnicodeData.swift and BertData.swift, the tables that tokenizers look characters up in.

    python make_unicode_tables.py

Needs unicodedata2==16.0.0 (the Unicode Character Database of that version) and tokenizers==0.23.3.

Hugging Face's regular expressions use Unicode 16.0; this script checks that every class of every code point is the same
there. BERT's normalizer in `tokenizers` mixes older Unicode versions; its table is asked from it, code point by code point.
"""

import os

import unicodedata2 as unicode
from tokenizers import Regex, normalizers, pre_tokenizers

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Sources", "Tokenization")
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
# The letters of the table, in the order of ScalarClass's bits.
LETTERS = {name: letter for name, letter in zip(
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split(),
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcd")}
CONTROL_SPACE, LINE_BREAK = "e", "f"


def letter(c):
    if c in (0x0A, 0x0D):
        return LINE_BREAK
    if c in (0x09, 0x0B, 0x0C, 0x85):
        return CONTROL_SPACE
    return LETTERS[unicode.category(chr(c))]


def runs(values):
    """`A3BA2…`: each value's letter, with the length of its run if that is not 1."""
    text, previous, count = [], None, 0
    for value in [*values, None]:
        if value == previous:
            count += 1
            continue
        if previous is not None:
            text.append(previous if count == 1 else f"{previous}{count}")
        previous, count = value, 1
    return "".join(text)


def literal(name, text, comment, width=110):
    lines = [text[i:i + width] for i in range(0, len(text), width)]
    body = "\\\n        ".join(lines)
    return f'    /// {comment}\n    static let {name}: StaticString = """\n        {body}\n        """\n'


def check_classes():
    for name in ["L", "N", "P", "S", "M", "Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Zs", "Cc", "Cf"]:
        split = pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed")
        for first in range(0, len(CODE_POINTS), 20000):
            part = CODE_POINTS[first:first + 20000]
            kept = set()
            for _, (start, end) in split.pre_tokenize_str("".join(map(chr, part))):
                kept.update(part[start:end])
            for c in part:
                assert (c not in kept) == unicode.category(chr(c)).startswith(name), (name, hex(c))


def bert():
    def options(**chosen):
        off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
        return normalizers.BertNormalizer(**{**off, **chosen})

    clean, chinese = options(clean_text=True), options(handle_chinese_chars=True)
    strip, lower = options(strip_accents=True), options(lowercase=True)
    punctuation = pre_tokenizers.BertPreTokenizer()
    classes, decompositions, lowered = [], [], []
    for c in CODE_POINTS:
        text = chr(c)
        cleaned, stripped, small = clean.normalize_str(text), strip.normalize_str(text), lower.normalize_str(text)
        if cleaned == "":
            kind = "d"
        elif cleaned == " ":
            kind = "s"
        elif chinese.normalize_str(text) != text:
            kind = "c"
        elif len(punctuation.pre_tokenize_str(f"a{text}a")) == 3:
            kind = "p"
        elif stripped == "":
            kind = "m"
        else:
            kind = "o"
        classes.append(kind)
        if c == 0xD7FF:
            classes += ["o"] * 0x800
        if stripped not in (text, "") and not 0xAC00 <= c <= 0xD7A3:
            decompositions.append(f"{c:X}=" + " ".join(f"{ord(x):X}" for x in stripped))
        if small != text:
            lowered.append(f"{c:X}=" + " ".join(f"{ord(x):X}" for x in small))
    return runs(classes), ",".join(decompositions), ",".join(lowered)


def main():
    assert unicode.unidata_version == "16.0.0"
    check_classes()
    head = "// Made by Fixtures/Scripts/make_unicode_tables.py; do not edit.\n\n"
    with open(os.path.join(SOURCES, "UnicodeData.swift"), "w") as file:
        file.write(head + "/// General categories of Unicode 16.0, the version that Hugging Face's tokenizers use.\n")
        file.write("enum UnicodeData {\n    static let version = \"16.0.0\"\n\n")
        file.write(literal("categories", runs(letter(c) for c in range(0x110000)),
                           "A letter for the class (`A` is bit 0 of `ScalarClass`) and the length of its run, if not 1."))
        file.write("}\n")
    classes, decompositions, lowered = bert()
    with open(os.path.join(SOURCES, "BertData.swift"), "w") as file:
        file.write(head + "/// What BERT's normalizer does to each code point, asked from Hugging Face's `tokenizers` 0.23.3.\n")
        file.write("enum BertData {\n")
        file.write(literal("classes", classes, "`d` dropped, `s` white space, `c` Chinese, `p` punctuation, "
                           "`m` accent, `o` other; then the run's length."))
        file.write("\n" + literal("decompositions", decompositions,
                                  "Canonical decomposition without accents, hexadecimal. Hangul is computed."))
        file.write("\n" + literal("lowercase", lowered, "Lower case where it differs."))
        file.write("}\n")


if __name__ == "__main__":
    main()
