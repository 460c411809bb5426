"""The published expressions of each pre-tokenizer name, in the form that Hugging Face's `tokenizers` takes."""

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
C = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
END = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
L3 = C + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + END
QW = L3.replace(r"\p{N}{1,3}", r"\p{N}")
QW35 = C + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + END
U = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
L = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
P = r"[^\r\n\p{L}\p{N}]?"


def cased(contraction, digits, tail=r"[\r\n/]*", upper=U, lower=L):
    return (f"{P}{upper}*{lower}+{contraction}|{P}{upper}+{lower}*{contraction}|{digits}"
            rf"| ?[^\s\p{{L}}\p{{N}}]+{tail}" + END)


O200 = cased(C + "?", r"\p{N}{1,3}")
TEKK = cased("", r"\p{N}")
ASCII_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
DS3 = (ASCII_PUNCTUATION + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + END)
SPARK = (ASCII_PUNCTUATION + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+")
KANA = "[一-龥\u3040-\u309f\u30a0-\u30ff]+"
WIDE = "[一-龥\u0800-一가-\ud7ff]+"
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
NOT_HAN_U, NOT_HAN_L = U[:-1] + r"&&[^\p{Han}]]", L[:-1] + r"&&[^\p{Han}]]"
DEEPSEEK_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\u1f5f-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌ"
    "ῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃")

LISTS = {
    "llama-bpe": [L3], "qwen2": [QW], "qwen35": [QW35], "gpt-2": [GPT2], "smollm": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "gpt-4o": [O200], "tekken": [TEKK], "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", O200],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{DEEPSEEK_LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+".replace(r"\u3000", "\u3000"), r"\s+$", WIDE,
                     r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", WIDE, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", KANA, DS3], "spark2_5": [r"\p{N}{1,3}", KANA, SPARK, r"\p{N}"],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "seed-coder": [C + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + END],
    "bloom": [BLOOM], "viking": [BLOOM, r"\p{N}"],
    "minicpm5": [r"\p{N}{1,3}", L3.replace(r"\p{N}{1,3}", r"\p{N}+")],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "jais-2": [C + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
               + "".join(rf"|\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s{1}"],
    "ufakzeka": [QW[len(C) + 1:]], "laguna": [r"[^\n]+|[\n]+", QW],
    "exaone-moe": [C + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + KANA, cased(C + "?", r"\p{N}")],
    "kimi-k2": [r"[\p{Han}]+|" + cased(C + "?", r"\p{N}{1,3}", r"[\r\n]*", NOT_HAN_U, NOT_HAN_L)],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}",
                  r"[\p{P}!-/:-@\[-`{-~]", GPT2],
    "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
              "[一-\u9fff㐀-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff"
              "\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+", DS3],
}
# Other names for the same lists, of vocabularies that are published.
ALIASES = {
    "mpt": "gpt-2", "starcoder": "smollm", "refact": "smollm", "command-r": "smollm", "olmo": "gpt-2",
    "granite-embed-multi-97m": "gpt-4o", "llama4": "gpt-4o", "hunyuan": "qwen2", "megrez": "qwen2", "dbrx": "llama-bpe",
}
for list_, names in {
    "llama-bpe": "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano smaug-bpe chatglm-bpe glm4 glm5",
    "qwen2": "deepseek-r1-qwen kormo f2llmv2 solar-open grok-2 stablelm2",
    "bailingmoe": "bailingmoe2 llada-moe",
    "gpt-2": "phi-2 jais exaone4 gigachat a.x-4.0 mellum modern-bert jina-es jina-de jina-v2-es jina-v2-de trillion granite-docling "
             "roberta-bpe jina-v1-en jina-v2-code",
    "smollm": "codeshell exaone minerva-7b mellum2", "gpt-4o": "kanana2 talkie minimax-m2", "tiny_aya": "cohere2moe",
    "deepseek-v3": "hunyuan-dense joyai-llm hy_v4", "bloom": "gpt3-finnish poro-chat",
}.items():
    ALIASES.update(dict.fromkeys(names.split(), list_))
# Names whose vocabularies ignore merges for pieces that are tokens as a whole.
IGNORES_MERGES = {
    "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "glm4", "glm5",
    "minicpm5", "tekken", "youtu", "granite-embed-multi-97m",
}
# Names of vocabularies over characters instead of bytes.
RAW = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"}


def list_for(name):
    return LISTS[ALIASES.get(name, name)]
