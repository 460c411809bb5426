#!/usr/bin/env python3
"""Golden candidates of llama.cpp's samplers:   python samplers.py --vocab MODEL.gguf [--random N [--seed S]] OUT.json

Runs each of llama.cpp's samplers (through llama-cpp-python's bindings of llama_sampler_init_*), and chains of them, on
the same logits, and writes what is left: ids in llama.cpp's order and their logits. `--vocab` is a GGUF file whose
tokenizer DRY's sequence breakers are read with. SamplerGoldenTests compares ours with it. With `--random` the cases are N
random chains instead, with random settings, logits and texts, for SamplerOracleTests; those are left out in which llama.cpp
computes with what is no number, see `check`.

Logits are not stored: both sides make them from a seed by the same integer generator, see `logits`.
"""

import argparse
import ctypes
import json
import math
import random

import llama_cpp as L

MASK = (1 << 64) - 1
CHECKS = False


def logits(seed, count, scale):
    """splitmix64; the sum of four 16-bit parts is roughly normal. Multiples of 2^-14, so equal in any arithmetic."""
    state, out = seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        total = sum((z >> shift) & 0xFFFF for shift in (0, 16, 32, 48))
        out.append((total - 131070) * scale / 16384)
    return out


class Undefined(Exception):
    """What llama.cpp does here depends on a number that is none, or on an overflow."""


def check(name, arguments, logits):
    """Typical sampling takes the logarithm of probabilities, also of those that are 0, and then sorts by what is no number;
    mirostat 1 turns its k into an int, however large it is."""
    highest = max(logits)
    if name == "typ_p" and min(logits) < highest - 80:
        raise Undefined
    if name == "mirostat" and arguments[0] == 1:
        logits = sorted(logits, reverse=True)
        steps = range(min(99, len(logits) - 1))
        above = sum(math.log((i + 2) / (i + 1)) * (logits[i] - logits[i + 1]) for i in steps)
        slope = above / max(sum(math.log((i + 2) / (i + 1)) ** 2 for i in steps), 1e-30)
        try:
            k = ((slope - 1) * 2 ** (2 * arguments[1]) / (1 - len(logits) ** (1 - slope))) ** (1 / slope)
        except (ZeroDivisionError, OverflowError):
            raise Undefined
        if not isinstance(k, float) or not k < 2 ** 30:
            raise Undefined


def apply(samplers, values, accepted, steps):
    """Accepts the tokens, applies the samplers in turn, returns what is left and the token selected (or -1)."""
    array = (L.llama_token_data * len(values))(*[L.llama_token_data(i, v, 0.0) for i, v in enumerate(values)])
    data = L.llama_token_data_array(array, len(values), -1, False)
    for sampler in samplers:
        for token in accepted:
            L.llama_sampler_accept(sampler, token)
    for sampler, (name, *arguments) in zip(samplers, steps):
        if CHECKS and name in ("typ_p", "mirostat"):
            check(name, arguments, [data.data[i].logit for i in range(data.size)])
        L.llama_sampler_apply(sampler, ctypes.byref(data))
    left = [(data.data[i].id, data.data[i].logit) for i in range(data.size)]
    for sampler in samplers:
        L.llama_sampler_free(sampler)
    return [(i, v) for i, v in left if v != float("-inf")], data.selected


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
    model = L.llama_model_load_from_file(a.vocab.encode(), parameters)
    vocab = L.llama_model_get_vocab(model)
    size = L.llama_vocab_n_tokens(vocab)

    def breakers(texts):
        return (ctypes.c_char_p * max(1, len(texts)))(*[t.encode() for t in texts]), len(texts)

    make = {
        "top_k": lambda k: L.llama_sampler_init_top_k(k),
        "top_p": lambda p: L.llama_sampler_init_top_p(p, 1),
        "min_p": lambda p: L.llama_sampler_init_min_p(p, 1),
        "typ_p": lambda p: L.llama_sampler_init_typical(p, 1),
        "top_n_sigma": lambda n: L.llama_sampler_init_top_n_sigma(n),
        "xtc": lambda q, t: L.llama_sampler_init_xtc(q, t, 1, 1),
        "temperature": lambda t, r=0.0, e=1.0: L.llama_sampler_init_temp_ext(t, r, e),
        "penalties": lambda n, r, f, p: L.llama_sampler_init_penalties(size, n, r, f, p),
        "dry": lambda m, b, a, n, texts: L.llama_sampler_init_dry(vocab, m, b, a, n, *breakers(texts)),
        "logit_bias": lambda *x: L.llama_sampler_init_logit_bias(
            size, len(x) // 2, (L.llama_logit_bias * (len(x) // 2))(*[L.llama_logit_bias(int(i), b) for i, b in zip(x[::2], x[1::2])])),
    }
    cases = []

    def case(seed, count, scale, steps, accepted=()):
        values = logits(seed, count, scale)
        mirostat = {
            1: lambda tau, eta: L.llama_sampler_init_mirostat(count, 1, tau, eta, 100),
            2: lambda tau, eta: L.llama_sampler_init_mirostat_v2(1, tau, eta),
        }
        left, _ = apply([mirostat[x[0]](*x[1:]) if name == "mirostat" else make[name](*x) for name, *x in steps],
                        values, accepted, steps)
        cases.append({
            "seed": seed, "count": count, "scale": scale, "steps": [{"name": n, "arguments": list(x)} for n, *x in steps],
            "accepted": list(accepted), "left": len(left),
            # The whole result by its sum, its beginning in full: files stay small.
            "ids": sorted(i for i, _ in left)[:400] if len(left) <= 400 else [],
            "sum": sum(v for _, v in left),
            "top": [[i, v] for i, v in sorted(left, key=lambda x: (-x[1], x[0]))[:12]],
        })

    if a.random:
        global CHECKS
        CHECKS = True
        random_cases(random.Random(a.seed), a.random, size, case)
        return write(a.out, size, cases)
    seed = 0
    for count in (1, 2, 7, 100, 5000, 49152):
        for scale in (0.05, 0.6, 4.0):
            for steps in (
                [("top_k", 1)], [("top_k", 5)], [("top_k", 40)], [("top_k", 300)], [("top_k", 60000)],
                [("top_p", 0.1)], [("top_p", 0.5)], [("top_p", 0.95)], [("top_p", 0.999)], [("top_p", 0.0)],
                [("min_p", 0.01)], [("min_p", 0.1)], [("min_p", 0.7)], [("min_p", 1.0)],
                [("typ_p", 0.1)], [("typ_p", 0.5)], [("typ_p", 0.95)],
                [("top_n_sigma", 0.5)], [("top_n_sigma", 1.0)], [("top_n_sigma", 2.5)],
                [("xtc", 1.0, 0.01)], [("xtc", 1.0, 0.1)], [("xtc", 1.0, 0.3)], [("xtc", 1.0, 0.6)],
                [("temperature", 0.0)], [("temperature", 0.3)], [("temperature", 1.7)],
                [("temperature", 0.8, 0.5, 1.0)], [("temperature", 1.0, 1.5, 2.5)], [("temperature", 0.5, 0.3, 0.4)],
            ):
                seed += 1
                case(seed, count, scale, steps)
    chains = (
        [("top_k", 40), ("typ_p", 0.9), ("top_p", 0.9), ("min_p", 0.05), ("xtc", 1.0, 0.1), ("temperature", 0.8)],
        [("top_n_sigma", 1.5), ("top_k", 50), ("min_p", 0.02), ("temperature", 0.9, 0.4, 1.0)],
        [("temperature", 1.4), ("top_p", 0.8), ("top_k", 10)],
        [("min_p", 0.1), ("xtc", 1.0, 0.05), ("top_p", 0.7)],
        [("top_p", 0.6), ("typ_p", 0.6), ("temperature", 0.5)],
    )
    for count in (50, 5000, 49152):
        for steps in chains:
            for scale in (0.3, 2.0):
                seed += 1
                case(seed, count, scale, steps)
    texts = [[5, 6, 7, 5, 6], [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3], [9] * 12, list(range(30)), [3, 1, 3, 1, 3, 1, 3], [],
             [11, 12, 13, 20, 11, 12, 13, 21, 11, 12, 13], [8, 8, 9, 8, 8, 9, 8, 8]]
    for text in texts:
        for arguments in ((64, 1.3, 0.0, 0.0), (4, 1.5, 0.2, 0.4), (64, 1.0, 0.5, 0.0), (3, 1.0, 0.0, 0.7), (64, 0.8, -0.1, -0.2)):
            seed += 1
            case(seed, 40, 1.0, [("penalties", *arguments)], text)
        # (A window of -1 is for llama.cpp's tools to fill in; the sampler itself takes it for none.)
        for arguments in ((0.8, 1.75, 2, 999), (1.0, 2.0, 1, 6), (0.5, 1.0, 0, 999), (2.0, 1.2, 3, 10)):
            seed += 1
            case(seed, 40, 1.0, [("dry", *arguments, [])], text)
    # Sequence breakers need text: real tokens of the vocabulary, breakers that one or several tokens spell.
    encode = lambda s: tokenize(vocab, s)
    for text in ("the cat sat\nthe cat sat", "a: b: c a: b: c a: b:", "one two three four one two three",
                 'He said "no way" and she said "no', "* item one\n* item two\n* item", "end of story. THE end of story. THE end",
                 "user: hello there\nuser: hello", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa aaaa aaaa aaaa"):
        for texts_ in (["\n", ":", "\"", "*"], ["THE END", "story. THE"], ["user: hello"], ["aaaa aaaa"], []):
            seed += 1
            case(seed, size, 1.0, [("dry", 0.9, 1.6, 1, 999, texts_)], encode(text))
    # Mirostat draws with a generator of its own; what it draws from is what can be compared.
    for count in (7, 300, 5000):
        for scale in (0.3, 1.0, 3.0):
            for arguments in ((1, 5.0, 0.1), (1, 2.0, 0.1), (1, 0.5, 0.1), (2, 5.0, 0.1), (2, 2.0, 0.1), (2, 0.5, 0.1)):
                seed += 1
                case(seed, count, scale, [("mirostat", *arguments)])
    write(a.out, size, cases)


def write(path, size, cases):
    json.dump({"source": "llama-cpp-python " + __import__("llama_cpp").__version__, "vocabulary": size, "cases": cases},
              open(path, "w"), separators=(",", ":"))
    print(f"{len(cases)} cases")


def random_cases(draw, number, size, case):
    """Chains of one to seven samplers in any order, each at most once; at times mirostat alone, which stands alone."""
    uniform = lambda low, high: round(draw.uniform(low, high), 3)
    # (Where the range reaches down to 0, the temperature is as small as the rounding of the entropy.)
    dynamic = lambda t: (t, uniform(0, 0.8 * t), uniform(0.2, 3))
    steps = {
        "top_k": lambda: (draw.choice((1, 2, 5, 40, 200, 100000)),),
        "top_p": lambda: (draw.choice((uniform(0, 1), uniform(0.8, 1), 0.0)),),
        "min_p": lambda: (draw.choice((uniform(0, 0.2), uniform(0, 1))),),
        "typ_p": lambda: (uniform(0.05, 0.999),),
        "top_n_sigma": lambda: (uniform(0.1, 4),),
        "xtc": lambda: (1.0, uniform(0.005, 0.6)),
        "temperature": lambda: draw.choice(((uniform(0.05, 3),), dynamic(uniform(0.3, 2)), (0.0,))),
        "penalties": lambda: (draw.choice((1, 3, 16, 64, 300)), uniform(0.7, 1.8), uniform(-0.5, 1), uniform(-0.5, 1)),
        "dry": lambda: (uniform(0.1, 3), uniform(1, 2.5), draw.randint(1, 5), draw.choice((5, 20, 999)),
                        draw.choice(([], ["\n", ":", "\"", "*"], ["a", "the end"]))),
    }
    for index in range(number):
        seed = draw.getrandbits(48)
        count = size if draw.random() < 0.4 else draw.choice((2, 17, 60, 300, 2000, 20000))
        scale = draw.choice((0.05, 0.3, 1.0, 2.5, 6.0))
        alphabet = [draw.randrange(min(count, size)) for _ in range(draw.choice((2, 4, 30)))]
        accepted = [draw.choice(alphabet) for _ in range(draw.choice((0, 3, 12, 70)))]
        for _ in range(draw.randint(0, 3)):
            if accepted:
                start = draw.randrange(len(accepted))
                accepted += accepted[start : start + draw.randint(1, 20)]
        if draw.random() < 0.08:
            chain = [("mirostat", draw.choice((1, 2)), uniform(0.3, 8), 0.1)]
            accepted = []
        else:
            names = draw.sample(sorted(steps), draw.choice((1, 2, 3, 4, 5, 7)))
            if count < size and "dry" in names:
                names.remove("dry")  # its breakers speak of the whole vocabulary
            if count > 10000 and "typ_p" in names:
                names.remove("typ_p")  # its border runs through thousands of equals
            chain = [(name, *steps[name]()) for name in names]
            if draw.random() < 0.2 or not chain:
                pairs = [x for i in draw.sample(range(min(count, size)), min(count, 5)) for x in (i, uniform(-8, 8))]
                chain.insert(0, ("logit_bias", *pairs))
        try:
            case(seed, count, scale, chain, accepted)
        except Undefined:
            pass


@L.llama_log_callback
def QUIET(level, text, data):
    pass


def tokenize(vocab, text):
    raw = text.encode()
    buffer = (L.llama_token * (len(raw) + 8))()
    count = L.llama_tokenize(vocab, raw, len(raw), buffer, len(buffer), False, False)
    return list(buffer[:count])


if __name__ == "__main__":
    main()
