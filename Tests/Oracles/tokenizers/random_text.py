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
    # Digits of more scripts, marks of several kinds, Hangul in parts, spacing of Thai, Tibetan and Khmer, letters that change
    # their number with their case, noncharacters and tags, emoji that belong together.
    "০১২३௦௧௨๐๑๒᠐᠑０１２𝟘𝟡𞥐𞥑༠༡", "\u0300\u0345\u05b0\u0654\u093c\u094d\u0e31\u0e48\u20dd\u3099\ufe0f\U000e0100", "각\u1100\u1161\u11a8ㅎ",
    "ตัวอย่างข้อความ ๆ ฯ", "བོད་སྐད་།", "እንኳን ደህና", "ગુજરાતી தமிழ் తెలుగు", "ǰΐŉﬃẞßİıſ", "\ud7ff\ue000\ufdd0\ufffe\U0001ffff\U000e0001\U000e007f",
    "😀😃🧑\u200d🚀👨\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈👋🏿🇺🇳1\ufe0f\u20e3",
]
SNIPPETS = [
    "'s", "'S", "'re", "'VE", "'ll", "'d", "'t", "'m", "'ſ", "n't", "don't", "I'M", "we'LL", "12345678", "1,234,567.89", "0x1F", "3.14159",
    "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "<0x0A>", "<0xFF>", "[CLS]", "[MASK]", "<mask>", "<pad>", "<|", "|>",
    "<sentinel:12>", "IMGIMGABCDZ", "IMGIMGAZ", "http://a.b/c?d=e&f=%20", "def f(x):\n    return x", "HelloWorld", "helloWorld", "XMLHttpRequest",
    "\r\n\r\n", "\n\n\n", "    ", "\t\t", "the", " the", "ing", " of", "e\u0301", "café", "naïve", "Straße", "İstanbul", "日本", "한국어", "привет",
    "مرحبا", "नमस्ते", "ไทย", "🤗🤗", "...", "!!!", "???", "---", "===", "//", "/*", "*/", "#include", "{}", "();", "\u3000\u3000",
    # Half a surrogate pair, as a decoder repairs it; contractions by other apostrophes; long numbers; markers in pieces.
    "\ufffd\ufffd", "\ufffd", "’s", "ʼll", "＇re", "''S", "'rEal", "'lLama", "1000000000000", "٣٢١٠", "1st2nd", "3.14e-10", "\r", "\n\r",
    " \r\n ", "\t \n", "\u00a0", "\u00a0\u00a0a", "\u2003\n", "< |im_end|>", "<|im_end |>", "<|im_end|", "<｜end▁of▁sentence｜>", "[/INST]",
    "<bos>", "<start_of_turn>", "<0xE2><0x96>", "<|reserved_special_token_0|>", "e\u0301\u0323", "A\u030a", "각", "한\u200b국",
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
        if kind < 0.05:
            # Words between runs of white space, also at both ends.
            blanks = lambda: draw.choice((" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", " \n", "")) * draw.randint(0, 9)
            yield blanks() + "".join(draw.choice(snippets) + blanks() for _ in range(draw.randint(1, 8)))
            continue
        if kind < 0.14:
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
