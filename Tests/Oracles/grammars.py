#!/usr/bin/env python3
"""Golden verdicts of llama.cpp's grammars:   python grammars.py --vocab MODEL.gguf [--random N [--seed S]] OUT.json

For each grammar, whether llama.cpp can read it; for each text, whether it is accepted so far and whether it may end
there, token by token through llama_sampler_init_grammar. Texts are handwritten and mutated (fixed seed). GrammarGoldenTests
compares ours with it. Grammars that name tokens are judged over lists of ids instead of texts. With `--random` the grammars
are N random ones, with texts that they generate and mutations of these (INCIPIT_GRAMMAR_GOLDEN=OUT.json names them to the test).
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


# The ids are the tiny model's: 1 is <|im_start|>, 2 ends an answer, 3 and on are single characters.
TOKEN_GRAMMARS = {
    'root ::= <|im_start|> "a"+': [[1], [1, 67], [67], [1, 1], [1, 67, 67], [1, 67, 2]],
    'root ::= <[4]> <[5]>?': [[4], [4, 5], [5], [4, 4], [4, 5, 5]],
    'root ::= !<[5]>* <[5]>': [[5], [4, 5], [1, 5], [5, 5], [300, 301, 5], [2]],
    'root ::= !<|im_start|> "!" | "#" <[3]>': [[3, 3], [5, 3], [1, 3], [5, 5], [67, 3]],
    'root ::= ("!" | <[4]>){2} !<[3]>': [[3, 4, 5], [4, 4, 3], [3, 3, 1], [4, 3, 68], [3]],
    'root ::= r{1,2}\nr ::= <[1]> !<[1]>+': [[1, 68, 1, 68], [1, 1], [1, 68, 68], [1, 68, 1, 68, 1, 68]],
    'root ::= <nonsense>': [], 'root ::= <>': [], 'root ::= <[x]>': [], 'root ::= <[5]': [], 'root ::= ! <[5]>': [],
    'root ::= !"a"': [], 'root ::= <[5 ]>': [],
}


def random_grammar(rng):
    """A grammar of a few rules, each of which refers only to later ones, and a maker of its texts."""
    names = ["root"] + [f"r{i}" for i in range(rng.randint(0, 4))]
    letters = "abc01 {}é中\n"

    def escaped(character):
        return {"\n": "\\n", "]": "\\]", "[": "\\[", '"': '\\"', "\\": "\\\\"}.get(character, character)

    def expression(rule, depth):
        kind = rng.random()
        if depth == 0 or kind < 0.3:
            text = "".join(rng.choice(letters) for _ in range(rng.randint(1, 3)))
            return '"' + "".join(map(escaped, text)) + '"', lambda: text
        if kind < 0.45:
            low, high = sorted(rng.sample("abcdexyz059", 2))
            negated = rng.random() < 0.3
            inside = [chr(c) for c in range(ord(low), ord(high) + 1)]
            pool = [c for c in "abcxyz0159 é中😀" if c not in inside] if negated else inside
            return f"[{'^' if negated else ''}{low}-{high}]", lambda: rng.choice(pool)
        if kind < 0.5:
            return ".", lambda: rng.choice(letters + "😀")
        if kind < 0.6 and rule + 1 < len(names):
            target = rng.randrange(rule + 1, len(names))
            return names[target], lambda: makers[target]()
        if kind < 0.75:
            parts = [expression(rule, depth - 1) for _ in range(rng.randint(2, 3))]
            return "(" + " | ".join(p[0] for p in parts) + ")", lambda: rng.choice(parts)[1]()
        if kind < 0.9:
            part, make = expression(rule, depth - 1)
            sign, low, high = rng.choice((("*", 0, 4), ("+", 1, 4), ("?", 0, 1), ("{2}", 2, 2), ("{1,3}", 1, 3), ("{0,2}", 0, 2), ("{2,}", 2, 5)))
            return f"({part}){sign}", lambda: "".join(make() for _ in range(rng.randint(low, high)))
        parts = [expression(rule, depth - 1) for _ in range(rng.randint(2, 4))]
        return "(" + " ".join(p[0] for p in parts) + ")", lambda: "".join(p[1]() for p in parts)

    bodies = [expression(i, 3) for i in range(len(names))]
    makers = [b[1] for b in bodies]
    return "\n".join(f"{n} ::= {b[0]}" for n, b in zip(names, bodies)), [makers[0]() for _ in range(6)]


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
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
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
            for token in tokens(text) if isinstance(text, str) else text:
                if token == end:
                    return [allowed(sampler, end)] * 2
                if not allowed(sampler, token):
                    return [False, False]
                L.llama_sampler_accept(sampler, token)
            return [True, allowed(sampler, end)]
        finally:
            L.llama_sampler_free(sampler)

    rng = random.Random(7)
    out = []
    grammars = GRAMMARS
    if a.random:
        made = random.Random(a.seed)
        grammars = dict(random_grammar(made) for _ in range(a.random))
    for grammar, texts in grammars.items():
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
    ids = [] if a.random else [
        {"grammar": grammar, "readable": readable(vocab, grammar), "lists": [[list_, *judge(grammar, list_)] for list_ in lists]}
        for grammar, lists in TOKEN_GRAMMARS.items()]
    json.dump({"source": "llama-cpp-python " + L.__version__, "grammars": out, "tokens": ids}, open(a.out, "w"), separators=(",", ":"))
    print(sum(len(g["texts"]) for g in out), "texts,", sum(not g["readable"] for g in out), "unreadable grammars")


if __name__ == "__main__":
    main()
