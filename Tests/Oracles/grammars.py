#!/usr/bin/env python3
"""Golden verdicts of llama.cpp's grammars:   python grammars.py --vocab MODEL.gguf OUT.json

For each grammar, whether llama.cpp can read it; for each text, whether it is accepted so far and whether it may end
there, token by token through llama_sampler_init_grammar. Texts are handwritten and mutated (fixed seed). GrammarGoldenTests
compares ours with it.
"""

import argparse
import ctypes
import json
import os
import random
import signal

import llama_cpp as L

JSON = r'''root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws
string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
'''

GRAMMARS = {
    'root ::= "a"': ["a", "b", "aa", ""],
    'root ::= "ab" "c" | "abd"': ["abc", "abd", "ab", "abcd"],
    'root ::= [a-c]+ [^a-c] .': ["abcxy", "abcab", "x", "ax", "a\u00e9\u4e2d"],
    'root ::= "a"{2,4} "b"*': ["aa", "aaaab", "aaaaa", "abbb", "aabbb"],
    'root ::= ("x" | "y"){3}': ["xyx", "xy", "xyxy"],
    'root ::= ("ab"){1,} "c"?': ["ab", "abab", "ababc", "c"],
    'root ::= ""': ["", "a"],
    'root ::= x\nx ::= "(" x ")" | "z"': ["z", "(z)", "((z))", "((z)", ")"],
    'root ::= expr\nexpr ::= term ("+" term)*\nterm ::= [0-9]+ | "(" expr ")"': ["1+2", "(1+2)+34", "1+", "((1))", "(1"],
    'root ::= "\\u00e9" | "\\x41" | "\\U0001F600" | "\\n\\t\\"\\\\"': ["\u00e9", "A", "\U0001F600", "\n\t\"\\", "e"],
    'root ::= [\\u4e00-\\u9fff]+': ["\u4e2d\u6587", "a", "\u4e2da"],
    'root ::= [^\\u0400-\\u04ff\\n]*': ["abc", "\u0430", "\u4e2d\U0001F600", "a\n"],
    'root ::= [\\]\\[-]+': ["[]", "-", "a"],
    'root ::= (\n  "a" |  # comment\n  "b"\n)+ # end\n': ["ab", "ba", "c"],
    'root ::= a b\na ::= "x"?\nb ::= "y"?': ["", "x", "y", "xy", "yx"],
    'root ::= ("a"*)? "b"': ["b", "aab", "a"],
    'root ::= "a" | "ab" | "abc" | [a-z]{3}': ["a", "ab", "abc", "xyz", "abcd"],
    JSON: ['{"a": 1}', '{"a": [true, null, {"b": "\\u00e9\\n"}], "c": -1.5e3}', "{}", "[]", '{"a": }', '{"k": "v"', "{\"\u00e9\": \"\u4e2d\U0001F600\"}"],
    # What cannot be read.
    'root ::= ': [""], 'a ::= "x"': [], 'root ::= undefined': [], 'root ::= "a': [], 'root ::= [a': [], 'root ::= ("a"': [],
    'root ::= "a")': [], 'root ::= * "a"': [], 'root ::= root "a" | "b"': [], 'root ::= a "x"\na ::= root | "y"': [],
    'root ::= b root "a" | "c"\nb ::= "x"?': [], 'root = "a"': [], 'root ::= "\\q"': [], 'root ::= "a"{3,1}x{': [],
    'root ::= "\\x4"': [], '::= "a"': [], 'root ::= "a" |': ["a", ""], 'root ::= [^a]': ["b", "a"],
}


@L.llama_log_callback
def QUIET(level, text, data):
    pass


def readable(vocab, grammar):
    """In a process of its own: some of what llama.cpp refuses ends the process."""
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os._exit(0 if L.llama_sampler_init_grammar(vocab, grammar.encode(), b"root") else 1)
    return os.waitpid(child, 0)[1] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--vocab", required=True)
    a = parser.parse_args()
    L.llama_log_set(QUIET, None)
    parameters = L.llama_model_default_params()
    parameters.vocab_only = True
    vocab = L.llama_model_get_vocab(L.llama_model_load_from_file(a.vocab.encode(), parameters))
    end = L.llama_vocab_eos(vocab)

    def allowed(sampler, token):
        array = (L.llama_token_data * 1)(L.llama_token_data(token, 1.0, 0.0))
        L.llama_sampler_apply(sampler, ctypes.byref(L.llama_token_data_array(array, 1, -1, False)))
        return array[0].logit == 1.0

    def tokens(text):
        raw = text.encode()
        buffer = (L.llama_token * (len(raw) + 8))()
        return list(buffer[: L.llama_tokenize(vocab, raw, len(raw), buffer, len(buffer), False, False)])

    def judge(grammar, text):
        sampler = L.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
        try:
            for token in tokens(text):
                if not allowed(sampler, token):
                    return [False, False]
                L.llama_sampler_accept(sampler, token)
            return [True, allowed(sampler, end)]
        finally:
            L.llama_sampler_free(sampler)

    rng = random.Random(7)
    out = []
    for grammar, texts in GRAMMARS.items():
        if not readable(vocab, grammar):
            out.append({"grammar": grammar, "readable": False, "texts": []})
            continue
        more = set(texts)
        for text in texts:
            for _ in range(12 if len(text) > 3 else 3):
                letters = list(text)
                at = rng.randrange(len(letters) + 1)
                kind = rng.randrange(4)
                if kind == 0:
                    letters.insert(at, rng.choice("ab(){}[]\",:1 x\u00e9"))
                elif letters and kind == 1:
                    del letters[at % len(letters)]
                elif letters and kind == 2:
                    letters[at % len(letters)] = rng.choice("ab(){}[]\",:1 x\u00e9")
                else:
                    letters = letters[:at]
                more.add("".join(letters))
        out.append({"grammar": grammar, "readable": True,
                    "texts": [[t, *judge(grammar, t)] for t in sorted(more)]})
    json.dump({"source": "llama-cpp-python " + L.__version__, "grammars": out}, open(a.out, "w"), separators=(",", ":"))
    print(sum(len(g["texts"]) for g in out), "texts,", sum(not g["readable"] for g in out), "unreadable grammars")


if __name__ == "__main__":
    main()
