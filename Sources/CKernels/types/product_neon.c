// The quantized product with NEON's dot products (ARMv8.2 FEAT_DotProd): 4 rows times up to 8 tokens at a time.
//
// A quarter of a panel's vector is 4 rows of 4 columns, which is what one `sdot` multiplies with the 4 columns of a token
// that a lane of its register names. Weights are signed here: 8-bit ones are stored with 128 added, which is taken off,
// codebooks give signed numbers, and narrower ones are small enough to stay as they are.
#include "../rows.h"

#if CK_ARM
#include <arm_neon.h>

#include "panel.h"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

CK_INLINE float32x4_t halves(const uint8_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
CK_INLINE float32x4_t unsigned_bytes(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, 4);
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
}
CK_INLINE float32x4_t signed_bytes(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(four)))));
}
CK_INLINE float32x4_t floats(const uint8_t *p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }

/// Each byte shifted left, or right where `left` is negative.
CK_INLINE uint8x16_t shifted(uint8x16_t v, const int left) { return vshlq_u8(v, vdupq_n_s8((int8_t)left)); }

/// The 8 groups of 4 rows of a quants block.
CK_INLINE void unpack_quants(const ck_kind kind, const int8x16_t codebook, const uint8_t *block, size_t quarter,
                             int8x16_t w[8]) {
    const uint8_t *at = block + 16 * quarter;
    const int bits = ck_bits(kind);
#pragma clang loop unroll(full)
    for (int g = 0; g < 8; g++) {
        uint8x16_t v;
        if (bits == 8) {
            v = vsubq_u8(vld1q_u8(at + 64 * g), vdupq_n_u8((uint8_t)ck_offset(kind)));
        } else if (bits < 4) {
            v = vandq_u8(shifted(vld1q_u8(at + 64 * (g / 4)), -2 * (g % 4)), vdupq_n_u8(3));
            if (bits == 3) v = vorrq_u8(v, vandq_u8(shifted(vld1q_u8(at + 128), 2 - g), vdupq_n_u8(4)));
        } else {
            v = vld1q_u8(at + 64 * (g / 2));
            v = g % 2 == 0 ? vandq_u8(v, vdupq_n_u8(15)) : vshrq_n_u8(v, 4);
            if (bits == 5) v = vorrq_u8(v, vandq_u8(shifted(vld1q_u8(at + 256), 4 - g), vdupq_n_u8(16)));
            if (bits == 6)
                v = vorrq_u8(v, vandq_u8(shifted(vld1q_u8(at + 256 + 64 * (g / 4)), 4 - 2 * (g % 4)), vdupq_n_u8(48)));
        }
        w[g] = ck_is_codebook(kind) ? vqtbl1q_s8(codebook, v) : vreinterpretq_s8_u8(v);
    }
}

/// The products of four groups with 16 columns of a token.
CK_INLINE int32x4_t four_groups(int32x4_t sum, const int8x16_t *w, int8x16_t x) {
    sum = vdotq_laneq_s32(sum, w[0], x, 0);
    sum = vdotq_laneq_s32(sum, w[1], x, 1);
    sum = vdotq_laneq_s32(sum, w[2], x, 2);
    return vdotq_laneq_s32(sum, w[3], x, 3);
}

/// Rows 4 * quarter ... 4 * quarter + 3 of a panel times one tile of `T` tokens.
CK_INLINE void quarter_times_tile(const ck_kind kind, const int T, const ck_matrix *matrix,
                                  const uint8_t *restrict panel, size_t quarter, size_t blocks, const ck_activations *a,
                                  size_t token, float *restrict out, size_t out_stride, size_t rows, bool accumulate) {
    float32x4_t sums[T];
#pragma clang loop unroll(full)
    for (int t = 0; t < T; t++) sums[t] = vdupq_n_f32(0);
    const uint8_t *scales = panel, *quants = panel + ck_scale_bytes(kind, blocks);
    const int8_t *q = a->q + token * a->columns;
    const float *activation_scale = a->scale + token * blocks, *scaled_sum = a->scaled_sum + token * blocks;
    const bool has_halves = ck_has_halves(kind);
    const int32_t *start = has_halves ? a->start32 + 2 * token * blocks
                                      : (kind == CK_Q4_0 ? a->start8 : a->start16) + token * blocks;
    const bool has_start = kind == CK_Q4_0 || kind == CK_Q5_0 || kind == CK_Q6_K;
    const int8x16_t codebook = vld1q_s8(matrix->codebook);

    float32x4_t super_scale = vdupq_n_f32(0), super_minimum = super_scale;
    for (size_t b = 0; b < blocks; b++) {
        float32x4_t scale, other_scale = super_scale, minimum = super_scale, other_minimum = super_scale;
        if (ck_is_super(kind)) {
            const uint8_t *super = panel + b / 8 * ck_super_bytes(kind);
            const uint8_t *own = super + ck_super_head(kind) + b % 8 * ck_super_own(kind) + 4 * quarter;
            if (b % 8 == 0) {
                super_scale = ck_is_codebook(kind) ? floats(super + 16 * quarter) : halves(super + 8 * quarter);
                if (ck_has_minimum(kind)) super_minimum = vnegq_f32(halves(super + 32 + 8 * quarter));
            }
            if (kind == CK_Q2_K) {
                scale = vmulq_f32(super_scale, unsigned_bytes(own));
                other_scale = vmulq_f32(super_scale, unsigned_bytes(own + 16));
                minimum = vmulq_f32(super_minimum, unsigned_bytes(own + 32));
                other_minimum = vmulq_f32(super_minimum, unsigned_bytes(own + 48));
            } else if (has_halves) {
                scale = vmulq_f32(super_scale, signed_bytes(own));
                other_scale = vmulq_f32(super_scale, signed_bytes(own + 16));
            } else {
                scale = vmulq_f32(super_scale, unsigned_bytes(own));
                minimum = vmulq_f32(super_minimum, unsigned_bytes(own + 16));
            }
        } else if (kind == CK_C4_FLOAT) {
            scale = floats(scales + 16 * quarter);
            other_scale = floats(scales + 64 + 16 * quarter);
            scales += 128;
        } else {
            scale = halves(scales + 8 * quarter);
            if (ck_has_minimum(kind)) minimum = halves(scales + 32 + 8 * quarter);
            scales += ck_plain_bytes(kind);
        }
        int8x16_t w[8];
        unpack_quants(kind, codebook, quants, quarter, w);
        quants += ck_quant_bytes(kind);
#pragma clang loop unroll(full)
        for (int t = 0; t < T; t++) {
            const int8x16_t x0 = vld1q_s8(q + 32 * t), x1 = vld1q_s8(q + 32 * t + 16);
            const float s = activation_scale[t];
            int32x4_t dot = four_groups(has_start ? vdupq_n_s32(start[t]) : vdupq_n_s32(0), w, x0);
            if (has_halves) {
                const int32x4_t high = four_groups(has_start ? vdupq_n_s32(start[T + t]) : vdupq_n_s32(0), w + 4, x1);
                sums[t] = vfmaq_f32(sums[t], vcvtq_f32_s32(dot), vmulq_n_f32(scale, s));
                sums[t] = vfmaq_f32(sums[t], vcvtq_f32_s32(high), vmulq_n_f32(other_scale, s));
            } else {
                dot = four_groups(dot, w + 4, x1);
                sums[t] = vfmaq_f32(sums[t], vcvtq_f32_s32(dot), vmulq_n_f32(scale, s));
            }
            if (kind == CK_Q2_K) {
                sums[t] = vfmaq_n_f32(sums[t], minimum, ck_half_sum(start[t], s));
                sums[t] = vfmaq_n_f32(sums[t], other_minimum, ck_half_sum(start[T + t], s));
            } else if (ck_has_minimum(kind)) {
                sums[t] = vfmaq_n_f32(sums[t], minimum, scaled_sum[t]);
            }
        }
        q += 32 * T;
        activation_scale += T;
        scaled_sum += T;
        start += has_halves ? 2 * T : T;
    }
    out += token * out_stride;
#pragma clang loop unroll(full)
    for (int t = 0; t < T; t++, out += out_stride) {
        if (rows >= 4) {
            if (accumulate) sums[t] = vaddq_f32(sums[t], vld1q_f32(out));
            vst1q_f32(out, sums[t]);
            continue;
        }
        float last[4];
        vst1q_f32(last, sums[t]);
        for (size_t r = 0; r < rows; r++) out[r] = accumulate ? out[r] + last[r] : last[r];
    }
}

CK_INLINE void product_of(const ck_kind kind, const ck_matrix *matrix, size_t first_panel, size_t end_panel,
                          const ck_activations *a, size_t first_token, size_t end_token, float *out, size_t out_stride,
                          bool accumulate) {
    const size_t blocks = matrix->columns / CK_BLOCK_COLUMNS;
    for (size_t p = first_panel; p < end_panel; p++) {
        const uint8_t *panel = matrix->panels + p * matrix->panel_bytes;
        const size_t left = matrix->rows - p * CK_PANEL_ROWS;
        float *to = out + p * CK_PANEL_ROWS;
        size_t t = first_token;
#define TILE(width)                                                                                                   \
    for (; end_token - t >= width; t += width)                                                                        \
        for (size_t i = 0; i < 4 && 4 * i < left; i++)                                                                \
            quarter_times_tile(kind, width, matrix, panel, i, blocks, a, t, to + 4 * i, out_stride, left - 4 * i,     \
                               accumulate);
        TILE(8)
        TILE(4)
        TILE(2)
        TILE(1)
#undef TILE
    }
}

#define ROW neon
#include "products.inc"

#pragma clang attribute pop
#endif
