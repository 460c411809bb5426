"""Makes Fixtures/Tokenizers/<name>/ and Fixtures/Golden/tokenizers.json: one small tokenizer of each kind, and what the
reference converter would store of it, worked out here from Hugging Face's and SentencePiece's own objects.

Needs tokenizers and sentencepiece.
"""
import json, os, shutil, sys, tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../../Tests/Oracles"))
import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers_oracle import BYTE_LEVEL, CORPUS, byte_level_tokenizer, configuration

root = os.path.join(here, "../Tokenizers")
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def fnv(parts):
    value = 0xCBF29CE484222325
    for part in parts:
        for byte in part.encode() + b"\n":
            value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def folder(name):
    path = os.path.join(root, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def golden(architecture, size, model, tokens, types, **keys):
    return {"architecture": architecture, "vocabularySize": size, "model": model, "count": len(tokens),
            "tokens": fnv(tokens), "types": fnv(str(t) for t in types), "some": {"0": tokens[0], str(len(tokens) - 1): tokens[-1]},
            "keys": keys}


expected = {}
for name, pre in [("llama3", "llama-bpe"), ("qwen2", "qwen2"), ("gpt2", "gpt-2"), ("smollm", "smollm")]:
    architecture, steps, ignore, normalizer = BYTE_LEVEL[pre]
    tokenizer = byte_level_tokenizer(steps, ignore, normalizer, size=300)
    path = folder(name)
    tokenizer.save(os.path.join(path, "tokenizer.json"), pretty=False)
    configuration(path, bos_token="<|begin|>", eos_token={"content": "<|end|>"}, chat_template="{{ messages }}")
    vocabulary = tokenizer.get_vocab()
    size = len(vocabulary) + 5
    texts = {i: t for t, i in vocabulary.items()}
    tokens = [texts.get(i, f"[PAD{i}]") for i in range(size)]
    types = [CONTROL if t.startswith("<|") and len(t) > 4 else USER if t == "<tool>" else UNUSED if t.startswith("[PAD") else NORMAL
             for t in tokens]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    expected[name] = golden(architecture, size, "gpt2", tokens, types, pre=pre, bos_token_id=vocabulary["<|begin|>"],
                            eos_token_id=vocabulary["<|end|>"], add_bos_token=True,
                            merges=fnv(" ".join(m) for m in merges))

with tempfile.TemporaryDirectory() as work:
    text = os.path.join(work, "text")
    open(text, "w").write("\n".join(s.replace("\n", " ") for s in CORPUS[:3] * 9))
    rules = os.path.join(work, "rules.tsv")
    open(rules, "w").write("FB01\t66 69\nFF21\t41\nFF11\t31\nBD\t31 2044 32\n")
    common = dict(input=text, hard_vocab_limit=False, minloglevel=2)
    sentencepiece.SentencePieceTrainer.train(
        model_prefix=os.path.join(work, "bpe"), vocab_size=400, model_type="bpe", byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, **common)
    sentencepiece.SentencePieceTrainer.train(
        model_prefix=os.path.join(work, "unigram"), vocab_size=200, model_type="unigram", pad_id=3,
        character_coverage=0.98, normalization_rule_tsv=rules, **common)
    for name, architecture, file, model in [("sentencepiece-bpe", "llama", "tokenizer.model", "llama"),
                                            ("sentencepiece-unigram", "t5", "spiece.model", "t5")]:
        path = folder(name)
        shutil.copy(os.path.join(work, name.split("-")[1] + ".model"), os.path.join(path, file))
        processor = sentencepiece.SentencePieceProcessor(os.path.join(path, file))
        count = processor.get_piece_size()
        tokens = [processor.id_to_piece(i) for i in range(count)]
        types = [UNKNOWN if processor.is_unknown(i) else CONTROL if processor.is_control(i) else
                 BYTE if processor.is_byte(i) else NORMAL for i in range(count)]
        keys = dict(pre="default", scores=fnv(f"{round(processor.get_score(i) * 1000)}" for i in range(count)))
        if model == "llama":
            configuration(path, bos_token="<s>", eos_token="</s>", add_bos_token=True, add_eos_token=False,
                          added_tokens_decoder={str(count): {"content": "<|user|>", "special": False},
                                                str(count + 1): {"content": "▁▁", "special": False}})
            tokens += ["<|user|>", "  "]
            types += [CONTROL, USER]
            keys.update(bos_token_id=1, eos_token_id=2, add_bos_token=True, add_eos_token=False)
            del keys["scores"]
        else:
            configuration(path, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
            keys.update(add_space_prefix=True, remove_extra_whitespaces=True, padding_token_id=3, eos_token_id=2,
                        unknown_token_id=0)
        expected[name] = golden(architecture, len(tokens), model, tokens, types, **keys)

tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.decoder = decoders.WordPiece()
tokenizer.train_from_iterator(CORPUS[:3], trainers.WordPieceTrainer(
    vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
path = folder("wordpiece")
tokenizer.save(os.path.join(path, "tokenizer.json"), pretty=False)
configuration(path, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
texts = {i: t for t, i in tokenizer.get_vocab().items()}
tokens = [t if i < 5 else t[2:] if t.startswith("##") else "▁" + t for i, t in sorted(texts.items())]
expected["wordpiece"] = golden("bert", len(tokens), "bert", tokens, [CONTROL] * 5 + [NORMAL] * (len(tokens) - 5),
                               unknown_token_id=1, seperator_token_id=3, padding_token_id=0, mask_token_id=4, bos_token_id=2)
with open(os.path.join(here, "../Golden/tokenizers.json"), "w") as file:
    json.dump(expected, file, indent=1, ensure_ascii=False)
    file.write("\n")
