"""Strings that tokenizers find hard: scripts mixed, white space, digits, controls, long runs, look-alikes of markers."""

import random

CLASSES = [
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " ", "  \t\n\r\n", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "éèüñßÅøłçŞıİſKΩ", "ǅǈǋ\u01c5", "абвгдЖЩЫЮё", "αβγδΩΣςΆ", "אבגדשלום", "ابتثمرحبا", "٠١٢٣۴۵", "०१२नमस्ते", "กขคงไทย", "ကခဂမြန်မာ",
    "កខគខ្មែរ", "한국어가각힣ㄱㆎ", "日本語のテキストをカナー", "中文字符一龥鿿㐀", "ㄅㄆㄯ", "①½²³¹ⅧⅨ〇〡", "ᲐᲺაბ", "Ꭰᏽꭰ", "\u0301\u0302\u0308\u0323\u0b3e\u0903",
    "\u00a0\u1680\u2000\u2003\u2028\u2029\u202f\u205f\u3000\u0085\u000b\u000c", "\u0000\u0001\u0007\u001b\u007f\u0080\u009f",
    "\u200b\u200c\u200d\u200e\u2060\ufeff\u00ad", "…。，、।۔،！？：；“”‘’—–«»", "€$£¥₿©®™°±×÷≤∑√", "👍🏽👩\u200d👩\u200d👧🇩🇰🦦🤗",
    "\ue000\uf8ff\U000f0000\U0010ffff\ufffd\uffff", "𝒎𝒂𝟙𝟚𐐀𐐨𞤀𞥃\U00020000\U0002f800\U00016ff0", "\u0378\u0530\u2fe0\U0001fffe", "ⒶⓐⓏ🄰",
    "▁▁_\u2581", "ﬁﬆﬗＡｚ０９～", "Ꞌꞌ\ua7cb\u1c89\U00010d50",
]
SNIPPETS = [
    "'s", "'S", "'re", "'VE", "'ll", "'d", "'t", "'m", "'ſ", "n't", "don't", "I'M", "we'LL", "12345678", "1,234,567.89", "0x1F", "3.14159",
    "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "<0x0A>", "<0xFF>", "[CLS]", "[MASK]", "<mask>", "<pad>", "<|", "|>",
    "<sentinel:12>", "IMGIMGABCDZ", "IMGIMGAZ", "http://a.b/c?d=e&f=%20", "def f(x):\n    return x", "HelloWorld", "helloWorld", "XMLHttpRequest",
    "\r\n\r\n", "\n\n\n", "    ", "\t\t", "the", " the", "ing", " of", "e\u0301", "café", "naïve", "Straße", "İstanbul", "日本", "한국어", "привет",
    "مرحبا", "नमस्ते", "ไทย", "🤗🤗", "...", "!!!", "???", "---", "===", "//", "/*", "*/", "#include", "{}", "();", "\u3000\u3000",
]


def strings(count, seed, extra=()):
    """`count` strings; the same for the same seed. `extra`: texts of the vocabulary at hand."""
    draw = random.Random(seed)
    snippets = SNIPPETS + list(extra)
    everything = "".join(CLASSES)
    for _ in range(count):
        kind = draw.random()
        if kind < 0.02:
            # Long runs of one or two characters.
            unit = draw.choice(everything) + (draw.choice(everything) if draw.random() < 0.3 else "")
            yield unit * draw.randint(20, 300)
            continue
        if kind < 0.12:
            # Any scalar at all.
            yield "".join(chr(draw.choice((draw.randrange(0xD800), draw.randrange(0xE000, 0x110000))))
                          for _ in range(draw.randint(1, 20)))
            continue
        parts = []
        classes = draw.sample(CLASSES, draw.randint(1, 6))
        for _ in range(draw.randint(1, 12)):
            if draw.random() < 0.35:
                parts.append(draw.choice(snippets))
            else:
                chosen = draw.choice(classes)
                parts.append("".join(draw.choice(chosen) for _ in range(draw.randint(1, 6))))
        yield "".join(parts)
