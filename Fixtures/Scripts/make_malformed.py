#!/usr/bin/env python3
"""Make the first inputs of Fixtures/Malformed: one file for each kind of damage that breaks readers. Findings of the
fuzzer are added by hand."""

import json
import os
import struct

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Malformed")


def put(target, name, content):
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    with open(os.path.join(ROOT, target, name), "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def gguf(tensors, pairs, body=b"", version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + body


def text(value):
    return struct.pack("<Q", len(value)) + value


LARGEST = 2**64 - 1
put("gguf", "tensor-count-2e64.gguf", gguf(LARGEST, 0))
put("gguf", "pair-count-2e63.gguf", gguf(0, 2**63))
put("gguf", "key-length-wraps.gguf", gguf(0, 1, struct.pack("<Q", LARGEST) + b"general.name"))
put("gguf", "array-count-wraps.gguf", gguf(0, 1, text(b"a") + struct.pack("<IIQ", 9, 10, 2**61)))
put("gguf", "array-of-array.gguf", gguf(0, 1, text(b"a") + struct.pack("<IIQ", 9, 9, 1) * 3))
put("gguf", "dimensions-overflow.gguf", gguf(1, 0, text(b"t") + struct.pack("<IQQQQIQ", 4, 2**32, 2**32, 2**32, 2, 0, 0) + bytes(64)))
put("gguf", "dimension-zero.gguf", gguf(1, 0, text(b"t") + struct.pack("<IQIQ", 1, 0, 2, 0) + bytes(64)))
put("gguf", "offset-wraps.gguf", gguf(1, 0, text(b"t") + struct.pack("<IQIQ", 1, 32, 0, 2**64 - 32) + bytes(64)))
put("gguf", "alignment-2e31.gguf", gguf(0, 1, text(b"general.alignment") + struct.pack("<II", 4, 2**31)))

put("safetensors", "header-length-2e64.safetensors", struct.pack("<Q", LARGEST) + b"{}")
for name, header in {
    "offsets-reversed": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
    "offset-2e64": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}',
    "shape-overflows": '{"a":{"dtype":"F64","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}',
    "negative-shape": '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    "deep": '{"a":' + "[" * 2000 + "]" * 2000 + "}",
}.items():
    put("safetensors", name + ".safetensors", struct.pack("<Q", len(header)) + header.encode() + bytes(4))

put("safetensors-index", "path-traversal.json", '{"weight_map":{"a":"../../etc/passwd.safetensors"}}')
put("safetensors-index", "total-size-1e999.json", '{"metadata":{"total_size":1e999},"weight_map":{"a":"b.safetensors"}}')
put("safetensors-index", "deep.json", '{"weight_map":' * 1000 + "1" + "}" * 1000)

put("tokenizer-json", "id-2e63.json", json.dumps({"model": {"type": "BPE", "vocab": {"a": 2**63 - 1, "b": -1}, "merges": []}}))
put("tokenizer-json", "ids-far-apart.json", json.dumps({"model": {"type": "BPE", "vocab": {"a": 0, "b": 2**40}, "merges": []}}))
put("tokenizer-json", "open-group.json", json.dumps({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(" * 3000}, "behavior": "Isolated"}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}))
put("tokenizer-json", "nested-sequences.json", '{"pre_tokenizer":' + '{"type":"Sequence","pretokenizers":[' * 60 + "]}" * 60 + ',"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}')
put("tokenizer-json", "merges-of-nothing.json", json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["", " ", "a", "a b c", ["a"], 1]}}))
put("tokenizer-json", "unigram-unknown-id.json", json.dumps({"model": {"type": "Unigram", "unk_id": 2**62, "vocab": [["a", 0.0]]}}))

put("sentencepiece", "length-2e64.model", b"\x0a" + b"\xff" * 9 + b"\x01")
put("sentencepiece", "varint-too-long.model", b"\x0a" + b"\x80" * 40)
put("sentencepiece", "byte-piece-malformed.model", b"\x0a\x0c\x0a\x06<0x-1>\x18\x06\x15\x00")
put("sentencepiece", "field-zero.model", b"\x00\x00\x03\x03\x03")

put("tokenizer", "empty-text", b"\x00\x07")
put("tokenizer", "not-utf8", b"\x0a\x07\xff\xfe\xc0\x80\xed\xa0\x80")
put("tokenizer", "blanks", b"\x00\x07" + b" " * 4096)
put("tokenizer", "one-long-word", b"\x00\x07" + b"l" * 4096)

put("chat-template", "nesting.jinja", "{{ " + "(" * 4000 + ")" * 4000 + " }}")
put("chat-template", "recursion.jinja", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")
put("chat-template", "repetition.jinja", "{{ 'a' * 9223372036854775807 }}")
put("chat-template", "doubling.jinja", "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}")
put("chat-template", "lists-in-lists.jinja", "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}")
put("chat-template", "format-width.jinja", "{{ '%99999999999d' % 1 }}{{ '{:99999999999}'.format(1) }}")
put("chat-template", "smallest-integer.jinja", "{{ (-9223372036854775807 - 1) // -1 }}")
put("chat-template", "slices.jinja", "{{ 'abc'[9223372036854775807:-9223372036854775807:-9223372036854775807] }}{{ [1][-9223372036854775807:] }}")
put("chat-template", "json-behind.jinja", b'{{ v|tojson }}\x00{"v": ["\\ud800", 1e999, -0.0, {"": []}]}')

EMPTY = '{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}'
IMAGE = '"mediaType":"application/vnd.oci.image.manifest.v1+json"'
put("manifest", "deep.json", "[" * 3000)
put("manifest", "both-kinds.json", '{"schemaVersion":2,"config":%s,"layers":[],"manifests":[]}' % EMPTY)
put("manifest", "size-2e63.json", '{"schemaVersion":2,"config":%s,"layers":[]}' % EMPTY.replace('"size":2', '"size":9223372036854775808'))
put("manifest", "negative-size.json", '{"schemaVersion":2,"config":%s,"layers":[]}' % EMPTY.replace('"size":2', '"size":-1'))
put("manifest", "wrong-data.json", '{"schemaVersion":2,%s,"config":%s,"layers":[%s]}' % (IMAGE, EMPTY, EMPTY[:-1] + ',"data":"e31="}'))
put("manifest", "lone-surrogate.json", '{"schemaVersion":2,"mediaType":"\\ud800","config":%s}' % EMPTY)
put("manifest", "twice.json", '{"schemaVersion":2,"schemaVersion":2,"config":%s,"config":null}' % EMPTY)
put("manifest", "index-of-its-blob.json", '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"subject":%s}' % EMPTY)

put("upload", "wrong-offsets", "b\n1\nr5-4\naxx\nr999999999999999999-999999999999999999\naxx\nr0-1\naxx\nr0-1\naxx\nf\ngbytes=1-0\ngbytes=-0\ngbytes=0-99999999999999999999\n")
put("upload", "after-the-end", "b\n1\naabc\nf\naabc\nf\nw\nc\nb\n2\nxabc\nw\naabc\nc\n")
