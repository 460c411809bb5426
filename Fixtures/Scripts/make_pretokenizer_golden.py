#!/usr/bin/env python3
"""Make Fixtures/Golden/pretokenizers.json: how Hugging Face's `tokenizers` cuts hard strings, for each list of expressions.

    python make_pretokenizer_golden.py

Needs tokenizers==0.23.3. Each case lists the byte offsets at which the text is cut.
"""

import json
import os
import sys

from tokenizers import Regex, pre_tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "Tests", "Oracles", "tokenizers"))
import expressions  # noqa: E402
import random_text  # noqa: E402

TEXTS = [
    "", " ", "Hello, world!  It's 2024\u2009— isn't IT'S 'ſ?", "a  b   c\t\td \n\n\n e\r\n\r\n  f   ", "1234567 12345678 1 12 123 1234a 12½ ½²Ⅷ٣٤٥٦",
    "HelloWorld helloWorld XMLHttpRequest ABCdef'LL/\n/x", "e\u0301\u0323 \u0301x ก็คน नमस्ते", "日本語カナ 中文，字符。㐀 한국어ㄱ ㄅㄆ", "don't I'LL we've 'tis",
    "def f(x):\n\treturn x+1  # !?\n", "\u00a0\u2003\u3000x \u0085y \u2028", "$1,234.56 <a+b=c^~|`> {}()[]", "👩\u200d👧 🦦🤗 \u200b\ufeff\u0000\u0007x",
    "<sentinel:12> IMGIMGABCDZ IMGIMGZ IMGIMGABCDEZ", "ǅx ᲐᲺა ꭰᏽ \U00010d50 Ⓐ12 12Ⓐ 123_ \U00020000\u3021", "a" * 20 + " " * 20 + "b" + "\n" * 5 + " " * 9,
    "Привет, МИР Ελληνικά ΑΒΓ", "x…y。z، w۔ (a)|b", "\U0001fffe\u0378 \ue000! \u0301!", "I am a dog and b  c !\n/ ?/",
]
golden = {"texts": [], "cuts": {}}
texts = TEXTS + [t for t in random_text.strings(60, 5) if len(t) < 60][:40]
golden["texts"] = texts
for name, list_ in expressions.LISTS.items():
    splitter = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(e), "isolated") for e in list_])
    cuts = []
    for text in texts:
        ends = [b for _, (a, b) in splitter.pre_tokenize_str(text) if b > a]
        cuts.append([len(text[:end].encode()) for end in ends])
    golden["cuts"][name] = cuts
with open(os.path.join(HERE, "..", "Golden", "pretokenizers.json"), "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
