// The byte layout of a panel: 16 rows of a quantized matrix, interleaved for `vpdpbusd`-like instructions.
//
//   panel = scales section (rounded up to 64 bytes), then one quants block per 32 columns
//
// Quants block. A group is 4 columns; a vector of 64 bytes holds one group of all rows, byte 4 * row + column % 4.
//
//   bits  bytes  content
//   4     256    vector i (0...3): low nibbles = group 2i, high nibbles = group 2i + 1
//   5     320    as 4 bits, then a plane of 64 bytes whose bit g is the fifth bit of group g
//   6     384    as 4 bits, then two planes: plane p holds at bits 2j, 2j + 1 the upper bits of group 4p + j
//   8     512    vector g = group g
//
// Scales section.
//
//   Q4_0 Q5_0 Q8_0   per block: f16 scale[16]
//   Q4_1 Q5_1        per block: f16 scale[16], f16 minimum[16]
//   Q4_K Q5_K        per 8 blocks: f16 scale[16], f16 minimum[16], then per block u8 scale[16], u8 minimum[16];
//                    scale = product of the two, minimum = -product
//   Q6_K             per 8 blocks: f16 scale[16], then per block i8 scale[16] for each half
//
// Nothing is rounded: a panel holds exactly the numbers of the file. Sizes in bits per weight: Q4_0 4.5, Q4_1 5,
// Q5_0 5.5, Q5_1 6, Q8_0 8.5, Q4_K 4.625, Q5_K 5.625, Q6_K 6.5625.
#ifndef INCIPIT_CKERNELS_PANEL_H
#define INCIPIT_CKERNELS_PANEL_H

#include <string.h>

#include "../include/CKernels.h"

#define CK_INLINE static inline __attribute__((always_inline, unused))

CK_INLINE int ck_bits(ck_kind kind) {
    switch (kind) {
    case CK_Q4_0: case CK_Q4_1: case CK_Q4_K: return 4;
    case CK_Q5_0: case CK_Q5_1: case CK_Q5_K: return 5;
    case CK_Q6_K: return 6;
    default: return 8;
    }
}

CK_INLINE int ck_offset(ck_kind kind) {
    switch (kind) {
    case CK_Q4_0: return 8;
    case CK_Q5_0: return 16;
    case CK_Q6_K: return 32;
    case CK_Q8_0: return 128;
    default: return 0;
    }
}

CK_INLINE bool ck_has_minimum(ck_kind kind) {
    return kind == CK_Q4_1 || kind == CK_Q5_1 || kind == CK_Q4_K || kind == CK_Q5_K;
}

CK_INLINE bool ck_is_super(ck_kind kind) { return kind >= CK_Q4_K; }

CK_INLINE size_t ck_quant_bytes(ck_kind kind) {
    const int bits = ck_bits(kind);
    return bits == 4 ? 256 : bits == 5 ? 320 : bits == 6 ? 384 : 512;
}

CK_INLINE size_t ck_scale_bytes(ck_kind kind, size_t blocks) {
    size_t bytes;
    if (kind == CK_Q6_K) bytes = blocks / 8 * (32 + 8 * 32);
    else if (ck_is_super(kind)) bytes = blocks / 8 * (64 + 8 * 32);
    else bytes = blocks * (ck_has_minimum(kind) ? 64 : 32);
    return (bytes + 63) & ~(size_t)63;
}

/// IEEE half to float, exact for every input (NaN payloads kept, quiet or not).
CK_INLINE float ck_half(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    uint32_t bits;
    if (rest >= 0x0f800000) bits = rest | 0x7f800000; // infinity, NaN
    else {
        float f; // the exponent is 112 too small; multiplying also normalises subnormals
        memcpy(&f, &rest, 4);
        f *= 0x1p112f;
        memcpy(&bits, &f, 4);
    }
    bits |= sign;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

CK_INLINE float ck_half_at(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, 2);
    return ck_half(h);
}

/// The scales of one block of a panel as floats: weight = scale[half] * (q - offset) + minimum.
typedef struct ck_block_scales {
    float scale[2][CK_PANEL_ROWS]; ///< the two halves differ only in Q6_K
    float minimum[CK_PANEL_ROWS];
} ck_block_scales;

/// Scales (of both halves) and minimum of one row of a block.
CK_INLINE void ck_read_row_scales(ck_kind kind, const uint8_t *section, size_t block, size_t r, float scale[2],
                                  float *minimum) {
    *minimum = 0;
    if (kind == CK_Q6_K) {
        const uint8_t *super = section + block / 8 * 288, *own = super + 32 + block % 8 * 32;
        const float d = ck_half_at(super + 2 * r);
        scale[0] = d * (float)(int8_t)own[r];
        scale[1] = d * (float)(int8_t)own[16 + r];
    } else if (ck_is_super(kind)) {
        const uint8_t *super = section + block / 8 * 320, *own = super + 64 + block % 8 * 32;
        scale[0] = scale[1] = ck_half_at(super + 2 * r) * (float)own[r];
        *minimum = -ck_half_at(super + 32 + 2 * r) * (float)own[16 + r];
    } else {
        const uint8_t *own = section + block * (ck_has_minimum(kind) ? 64 : 32);
        scale[0] = scale[1] = ck_half_at(own + 2 * r);
        if (ck_has_minimum(kind)) *minimum = ck_half_at(own + 32 + 2 * r);
    }
}

CK_INLINE void ck_read_scales(ck_kind kind, const uint8_t *section, size_t block, ck_block_scales *out) {
    for (size_t r = 0; r < CK_PANEL_ROWS; r++) {
        float scale[2];
        ck_read_row_scales(kind, section, block, r, scale, &out->minimum[r]);
        out->scale[0][r] = scale[0];
        out->scale[1][r] = scale[1];
    }
}

/// The unsigned value of one weight of a quants block.
CK_INLINE uint8_t ck_read_quant(ck_kind kind, const uint8_t *block, size_t row, size_t column) {
    const size_t group = column / 4, byte = 4 * row + column % 4;
    if (kind == CK_Q8_0) return block[64 * group + byte];
    uint8_t q = (uint8_t)(block[64 * (group / 2) + byte] >> (group % 2 * 4)) & 15;
    if (ck_bits(kind) == 5) q |= (uint8_t)((block[256 + byte] >> group & 1) << 4);
    if (ck_bits(kind) == 6) q |= (uint8_t)((block[256 + 64 * (group / 4) + byte] >> (group % 4 * 2) & 3) << 4);
    return q;
}

#endif
