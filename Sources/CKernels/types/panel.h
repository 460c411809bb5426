// The byte layout of a panel: 16 rows of a quantized matrix, interleaved for `vpdpbusd`-like instructions.
//
//   panel = scales section (rounded up to 64 bytes), then one quants block per 32 columns
//
// Quants block. A group is 4 columns; a vector of 64 bytes holds one group of all rows, byte 4 * row + column % 4.
//
//   bits  bytes  content
//   2     128    two planes: plane p holds at bits 2j, 2j + 1 group 4p + j
//   3     192    as 2 bits, then a plane of 64 bytes whose bit g is the third bit of group g
//   4     256    vector i (0...3): low nibbles = group 2i, high nibbles = group 2i + 1
//   5     320    as 4 bits, then a plane of 64 bytes whose bit g is the fifth bit of group g
//   6     384    as 4 bits, then two planes: plane p holds at bits 2j, 2j + 1 the upper bits of group 4p + j
//   8     512    vector g = group g
//
// Scales section.
//
//   Q4_0 Q5_0 Q8_0 T6  per block: f16 scale[16]
//   C4_BLOCK         the same
//   Q4_1 Q5_1        per block: f16 scale[16], f16 minimum[16]
//   Q4_K Q5_K        per 8 blocks: f16 scale[16], f16 minimum[16], then per block u8 scale[16], u8 minimum[16];
//                    scale = product of the two, minimum = -product
//   Q2_K             per 8 blocks: f16 scale[16], f16 minimum[16], then per block u8 scale[16] for each half, u8
//                    minimum[16] for each half
//   Q6_K             per 8 blocks: f16 scale[16], then per block i8 scale[16] for each half
//   C2 C3 C4         per 8 blocks: f32 scale[16], then per block i8 scale[16] for each half
//   C4_FLOAT         per block: f32 scale[16] for each half
//
// Nothing is rounded: a panel holds exactly the numbers of the file. Sizes in bits per weight: Q4_0 4.5, Q4_1 5,
// Q5_0 5.5, Q5_1 6, Q8_0 8.5, Q2_K 3.125, Q4_K 4.625, Q5_K 5.625, Q6_K 6.5625, C2 2.625, C3 3.625, C4 4.625, C4_BLOCK
// 4.5, C4_FLOAT 6. T6 is of no file: 0...64 in 8.5 bits, so that AVX2 can add two products of bytes in 16 bits.
#ifndef INCIPIT_CKERNELS_PANEL_H
#define INCIPIT_CKERNELS_PANEL_H

#include <string.h>

#include "../include/CKernels.h"

#define CK_INLINE static inline __attribute__((always_inline, unused))

/// `DO(Q4_0) DO(Q4_1) …`, once for each kind.
#define CK_EACH_KIND(DO)                                                                                              \
    DO(Q4_0) DO(Q4_1) DO(Q5_0) DO(Q5_1) DO(Q8_0) DO(Q4_K) DO(Q5_K) DO(Q6_K) DO(Q2_K) DO(C2) DO(C3) DO(C4) DO(C4_BLOCK) \
    DO(C4_FLOAT) DO(T6)

CK_INLINE int ck_bits(ck_kind kind) {
    switch (kind) {
    case CK_Q2_K: case CK_C2: return 2;
    case CK_C3: return 3;
    case CK_Q4_0: case CK_Q4_1: case CK_Q4_K: case CK_C4: case CK_C4_BLOCK: case CK_C4_FLOAT: return 4;
    case CK_Q5_0: case CK_Q5_1: case CK_Q5_K: return 5;
    case CK_Q6_K: return 6;
    default: return 8;
    }
}

CK_INLINE bool ck_is_codebook(ck_kind kind) { return kind >= CK_C2 && kind <= CK_C4_FLOAT; }

CK_INLINE int ck_offset(ck_kind kind) {
    switch (kind) {
    case CK_Q4_0: return 8;
    case CK_Q5_0: return 16;
    case CK_Q6_K: return 32;
    case CK_T6: return 32;
    case CK_Q8_0: return 128;
    default: return ck_is_codebook(kind) ? 128 : 0; // what the fast rows add to make a codebook unsigned
    }
}

CK_INLINE bool ck_has_minimum(ck_kind kind) {
    return kind == CK_Q4_1 || kind == CK_Q5_1 || kind == CK_Q4_K || kind == CK_Q5_K || kind == CK_Q2_K;
}

/// Whether the two halves of a block, of 16 columns each, have scales (and minimums) of their own.
CK_INLINE bool ck_has_halves(ck_kind kind) {
    return kind == CK_Q6_K || kind == CK_Q2_K || (ck_is_codebook(kind) && kind != CK_C4_BLOCK);
}

/// Whether scales are integers times a float per 8 blocks.
CK_INLINE bool ck_is_super(ck_kind kind) { return kind >= CK_Q4_K && kind <= CK_C4; }

CK_INLINE size_t ck_quant_bytes(ck_kind kind) { return (size_t)ck_bits(kind) * 64; }

/// Bytes of what 8 blocks share, and of what each of them has, in the scales section of a super kind.
CK_INLINE size_t ck_super_head(ck_kind kind) { return kind == CK_Q6_K ? 32 : 64; }
CK_INLINE size_t ck_super_own(ck_kind kind) { return kind == CK_Q2_K ? 64 : 32; }
CK_INLINE size_t ck_super_bytes(ck_kind kind) { return ck_super_head(kind) + 8 * ck_super_own(kind); }
/// Bytes of a block's scales in a kind that is not super.
CK_INLINE size_t ck_plain_bytes(ck_kind kind) {
    return kind == CK_C4_FLOAT ? 128 : ck_has_minimum(kind) ? 64 : 32;
}

CK_INLINE size_t ck_scale_bytes(ck_kind kind, size_t blocks) {
    const size_t bytes = ck_is_super(kind) ? blocks / 8 * ck_super_bytes(kind) : blocks * ck_plain_bytes(kind);
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

CK_INLINE float ck_float_at(const uint8_t *p) {
    float f;
    memcpy(&f, p, 4);
    return f;
}

/// The scales of one block of a panel as floats: weight = scale[half] * (q - offset) + minimum[half].
typedef struct ck_block_scales {
    float scale[2][CK_PANEL_ROWS]; ///< the halves differ only in kinds that `ck_has_halves`
    float minimum[2][CK_PANEL_ROWS];
} ck_block_scales;

/// Scales and minimums (of both halves) of one row of a block.
CK_INLINE void ck_read_row_scales(ck_kind kind, const uint8_t *section, size_t block, size_t r, float scale[2],
                                  float minimum[2]) {
    minimum[0] = minimum[1] = 0;
    if (ck_is_super(kind)) {
        const uint8_t *super = section + block / 8 * ck_super_bytes(kind);
        const uint8_t *own = super + ck_super_head(kind) + block % 8 * ck_super_own(kind);
        if (kind == CK_Q4_K || kind == CK_Q5_K) {
            scale[0] = scale[1] = ck_half_at(super + 2 * r) * (float)own[r];
            minimum[0] = minimum[1] = -ck_half_at(super + 32 + 2 * r) * (float)own[16 + r];
        } else if (kind == CK_Q2_K) {
            const float d = ck_half_at(super + 2 * r), m = -ck_half_at(super + 32 + 2 * r);
            for (size_t half = 0; half < 2; half++) {
                scale[half] = d * (float)own[16 * half + r];
                minimum[half] = m * (float)own[32 + 16 * half + r];
            }
        } else {
            const float d = kind == CK_Q6_K ? ck_half_at(super + 2 * r) : ck_float_at(super + 4 * r);
            scale[0] = d * (float)(int8_t)own[r];
            scale[1] = d * (float)(int8_t)own[16 + r];
        }
        return;
    }
    const uint8_t *own = section + block * ck_plain_bytes(kind);
    if (kind == CK_C4_FLOAT) {
        scale[0] = ck_float_at(own + 4 * r);
        scale[1] = ck_float_at(own + 64 + 4 * r);
        return;
    }
    scale[0] = scale[1] = ck_half_at(own + 2 * r);
    if (ck_has_minimum(kind)) minimum[0] = minimum[1] = ck_half_at(own + 32 + 2 * r);
}

CK_INLINE void ck_read_scales(ck_kind kind, const uint8_t *section, size_t block, ck_block_scales *out) {
    for (size_t r = 0; r < CK_PANEL_ROWS; r++) {
        float scale[2], minimum[2];
        ck_read_row_scales(kind, section, block, r, scale, minimum);
        for (size_t half = 0; half < 2; half++) {
            out->scale[half][r] = scale[half];
            out->minimum[half][r] = minimum[half];
        }
    }
}

/// scale * (sum of q over 16 columns), from `start32`.
CK_INLINE float ck_half_sum(int32_t start32, float scale) { return (float)start32 * -0.03125f * scale; }

/// The unsigned value of one weight of a quants block.
CK_INLINE uint8_t ck_read_quant(ck_kind kind, const uint8_t *block, size_t row, size_t column) {
    const size_t group = column / 4, byte = 4 * row + column % 4;
    const int bits = ck_bits(kind);
    if (bits == 8) return block[64 * group + byte];
    if (bits < 4) {
        uint8_t q = (uint8_t)(block[64 * (group / 4) + byte] >> (group % 4 * 2)) & 3;
        if (bits == 3) q |= (uint8_t)((block[128 + byte] >> group & 1) << 2);
        return q;
    }
    uint8_t q = (uint8_t)(block[64 * (group / 2) + byte] >> (group % 2 * 4)) & 15;
    if (bits == 5) q |= (uint8_t)((block[256 + byte] >> group & 1) << 4);
    if (bits == 6) q |= (uint8_t)((block[256 + 64 * (group / 4) + byte] >> (group % 4 * 2) & 3) << 4);
    return q;
}

#endif
