#!/usr/bin/env python3
"""A llama of 1.17 G random weights in F16, with the tokenizer of another GGUF: large enough to be bound by memory.

    python random_llama.py TOKENIZER.gguf OUT.gguf      (2048 wide, 22 layers, feed-forward 5632, 32 heads on 4)

The weights are those of a network at its start, normal with deviation 0.02, so that nothing overflows; speed does not
depend on their values.
"""

import os
import sys

import gguf
import numpy as np

WIDTH, LAYERS, INNER, HEADS, GROUPS, CONTEXT = 2048, 22, 5632, 32, 4, 2048


def main():
    source, out = sys.argv[1:3]
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out + ".part", "llama")
    writer.add_name("Random llama 1.17G")
    for name, number in (("context_length", CONTEXT), ("embedding_length", WIDTH), ("block_count", LAYERS),
                         ("feed_forward_length", INNER), ("attention.head_count", HEADS),
                         ("attention.head_count_kv", GROUPS), ("rope.dimension_count", WIDTH // HEADS)):
        writer.add_uint32(f"llama.{name}", number)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_file_type(1)
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            kind, item = field.types[0], field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, item)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    writer.add_uint32("llama.vocab_size", vocabulary)

    shapes = {"token_embd.weight": (vocabulary, WIDTH), "output.weight": (vocabulary, WIDTH), "output_norm.weight": (WIDTH,)}
    keys = WIDTH // HEADS * GROUPS
    for layer in range(LAYERS):
        for name, shape in (("attn_norm", (WIDTH,)), ("attn_q", (WIDTH, WIDTH)), ("attn_k", (keys, WIDTH)),
                            ("attn_v", (keys, WIDTH)), ("attn_output", (WIDTH, WIDTH)), ("ffn_norm", (WIDTH,)),
                            ("ffn_gate", (INNER, WIDTH)), ("ffn_up", (INNER, WIDTH)), ("ffn_down", (WIDTH, INNER))):
            shapes[f"blk.{layer}.{name}.weight"] = shape
    for name, shape in shapes.items():
        kind = np.dtype(np.float32 if len(shape) == 1 else np.float16)
        writer.add_tensor_info(name, shape, kind, int(np.prod(shape)) * kind.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    generator = np.random.default_rng(1)
    for shape in shapes.values():
        if len(shape) == 1:
            values = np.ones(shape, np.float32)
        else:
            values = (generator.standard_normal(shape, np.float32) * 0.02).astype(np.float16)
        writer.write_tensor_data(values)
    writer.close()
    os.rename(out + ".part", out)


if __name__ == "__main__":
    main()
