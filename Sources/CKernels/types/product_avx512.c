// The quantized product with AVX-512 VNNI: tiles of 16 rows times up to 16 tokens, one `vpdpbusd` per 64 weights.
//
// A block's weights are unpacked once into 8 registers and meet every token of the tile; activations come as
// broadcast memory operands. Accumulators start at -offset * sum(activations), which makes offsets free. Per block and
// token that leaves one conversion, one multiplication and one FMA (two with a minimum). Streaming one token reads
// weights as fast as memory delivers them.
#include "../rows.h"

#if CK_X86
#include <immintrin.h>

#include "panel.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
                             apply_to = function)

/// Measured on Emerald Rapids: 0 reaches 70 % of the read bandwidth, 1024 80 %, 4096 90 %; more brings nothing.
#define PREFETCH_DISTANCE 4096

/// f16 x 16 at `p` as floats.
CK_INLINE __m512 halves(const uint8_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
CK_INLINE __m512 unsigned_bytes(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
CK_INLINE __m512 signed_bytes(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

/// The 8 groups of a quants block, one unsigned byte a weight; numbers of a codebook 128 too large.
CK_INLINE void unpack_quants(const ck_kind kind, const __m512i codebook, const uint8_t *block, __m512i w[8]) {
    const int bits = ck_bits(kind);
    if (bits == 8) {
#pragma clang loop unroll(full)
        for (int g = 0; g < 8; g++) w[g] = _mm512_load_si512(block + 64 * g);
        return;
    }
    // Truth table 0xF8 is a | (b & c). The shifts move 16-bit lanes; what crosses a byte border is masked away.
    if (bits < 4) {
        const __m512i three = _mm512_set1_epi8(3), third = _mm512_set1_epi8(4);
#pragma clang loop unroll(full)
        for (int g = 0; g < 8; g++) {
            const __m512i plane = _mm512_load_si512(block + 64 * (g / 4));
            w[g] = _mm512_and_si512(g % 4 == 0 ? plane : _mm512_srli_epi16(plane, 2 * (g % 4)), three);
            if (bits == 3) {
                const __m512i upper = _mm512_load_si512(block + 128);
                const __m512i moved = g <= 2 ? _mm512_slli_epi16(upper, g <= 2 ? 2 - g : 0)
                                             : _mm512_srli_epi16(upper, g > 2 ? g - 2 : 0);
                w[g] = _mm512_ternarylogic_epi32(w[g], moved, third, 0xF8);
            }
            if (ck_is_codebook(kind)) w[g] = _mm512_shuffle_epi8(codebook, w[g]);
        }
        return;
    }
    const __m512i nibble = _mm512_set1_epi8(15);
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        const __m512i v = _mm512_load_si512(block + 64 * i);
        w[2 * i] = _mm512_and_si512(v, nibble);
        w[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
    }
    if (ck_is_codebook(kind)) {
#pragma clang loop unroll(full)
        for (int g = 0; g < 8; g++) w[g] = _mm512_shuffle_epi8(codebook, w[g]);
    }
    if (bits == 5) {
        const __m512i plane = _mm512_load_si512(block + 256), fifth = _mm512_set1_epi8(16);
#pragma clang loop unroll(full)
        for (int g = 0; g < 8; g++) {
            const __m512i moved = g <= 4 ? _mm512_slli_epi16(plane, g <= 4 ? 4 - g : 0)
                                         : _mm512_srli_epi16(plane, g > 4 ? g - 4 : 0);
            w[g] = _mm512_ternarylogic_epi32(w[g], moved, fifth, 0xF8);
        }
    }
    if (bits == 6) {
        const __m512i upper = _mm512_set1_epi8(48);
#pragma clang loop unroll(full)
        for (int g = 0; g < 8; g++) {
            const __m512i plane = _mm512_load_si512(block + 256 + 64 * (g / 4));
            const int j = g % 4;
            const __m512i moved = j <= 2 ? _mm512_slli_epi16(plane, j <= 2 ? 4 - 2 * j : 0)
                                         : _mm512_srli_epi16(plane, 2);
            w[g] = _mm512_ternarylogic_epi32(w[g], moved, upper, 0xF8);
        }
    }
}

CK_INLINE __m512i broadcast(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}

/// One panel times one tile of `T` tokens. `kind` and `T` are constants wherever this is inlined.
CK_INLINE void panel_times_tile(const ck_kind kind, const int T, const ck_matrix *matrix,
                                const uint8_t *restrict panel, size_t blocks, const ck_activations *a, size_t token,
                                float *restrict out, size_t out_stride, __mmask16 rows, bool accumulate) {
    __m512 sums[T];
#pragma clang loop unroll(full)
    for (int t = 0; t < T; t++) sums[t] = _mm512_setzero_ps();
    const uint8_t *scales = panel, *quants = panel + ck_scale_bytes(kind, blocks);
    const int8_t *q = a->q + token * a->columns;
    const float *activation_scale = a->scale + token * blocks, *scaled_sum = a->scaled_sum + token * blocks;
    const int32_t *start = kind == CK_Q4_0 ? a->start8 : kind == CK_Q5_0 ? a->start16 : a->start128;
    if (kind == CK_T6) start = a->start16;
    start += token * blocks;
    const bool has_halves = ck_has_halves(kind);
    if (has_halves) start = a->start32 + 2 * token * blocks;
    // -128 * sum of a half is four times what `start32` has, -32 * sum twice what `start16` has.
    const int start_shift = ck_is_codebook(kind) && has_halves ? 2 : kind == CK_T6 ? 1 : 0;
    const __m512i codebook = ck_is_codebook(kind)
        ? _mm512_xor_si512(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)matrix->codebook)),
                           _mm512_set1_epi8((char)0x80))
        : _mm512_setzero_si512();

    __m512 super_scale = _mm512_setzero_ps(), super_minimum = super_scale;
    for (size_t b = 0; b < blocks; b++) {
        __m512 scale, other_scale = super_scale, minimum = super_scale, other_minimum = super_scale;
        if (ck_is_super(kind)) {
            if (b % 8 == 0) {
                super_scale = ck_is_codebook(kind) ? _mm512_loadu_ps(scales) : halves(scales);
                if (ck_has_minimum(kind)) super_minimum = _mm512_sub_ps(_mm512_setzero_ps(), halves(scales + 32));
                scales += ck_super_head(kind);
            }
            if (kind == CK_Q2_K) {
                scale = _mm512_mul_ps(super_scale, unsigned_bytes(scales));
                other_scale = _mm512_mul_ps(super_scale, unsigned_bytes(scales + 16));
                minimum = _mm512_mul_ps(super_minimum, unsigned_bytes(scales + 32));
                other_minimum = _mm512_mul_ps(super_minimum, unsigned_bytes(scales + 48));
            } else if (has_halves) {
                scale = _mm512_mul_ps(super_scale, signed_bytes(scales));
                other_scale = _mm512_mul_ps(super_scale, signed_bytes(scales + 16));
            } else {
                scale = _mm512_mul_ps(super_scale, unsigned_bytes(scales));
                minimum = _mm512_mul_ps(super_minimum, unsigned_bytes(scales + 16));
            }
            scales += ck_super_own(kind);
        } else if (kind == CK_C4_FLOAT) {
            scale = _mm512_loadu_ps(scales);
            other_scale = _mm512_loadu_ps(scales + 64);
            scales += 128;
        } else {
            scale = halves(scales);
            if (ck_has_minimum(kind)) minimum = halves(scales + 32);
            scales += ck_plain_bytes(kind);
        }
        __m512i w[8];
        unpack_quants(kind, codebook, quants, w);
        // One stream a core does not keep enough lines in flight by itself: up to a tile of tokens is bound by memory.
#pragma clang loop unroll(full)
        for (size_t i = 0; i < ck_quant_bytes(kind); i += 64)
            _mm_prefetch((const char *)quants + PREFETCH_DISTANCE + i, _MM_HINT_T0);
        quants += ck_quant_bytes(kind);
        // Four tokens at a time: enough independent chains, and few enough registers. The empty statements keep the
        // compiler from mixing the groups, which would spill.
        const int STEP = T < 4 ? T : 4;
#pragma clang loop unroll(full)
        for (int t0 = 0; t0 < T; t0 += STEP) {
            __asm__ volatile("" : "+r"(q), "+r"(activation_scale));
            __m512i dot[STEP], high[STEP];
#pragma clang loop unroll(full)
            for (int t = 0; t < STEP; t++) {
                const bool has_start = ck_offset(kind) != 0;
                dot[t] = has_start ? _mm512_set1_epi32(start[t0 + t] * (1 << start_shift)) : _mm512_setzero_si512();
                if (has_halves)
                    high[t] = has_start ? _mm512_set1_epi32(start[T + t0 + t] * (1 << start_shift))
                                        : _mm512_setzero_si512();
            }
#pragma clang loop unroll(full)
            for (int g = 0; g < 8; g++)
#pragma clang loop unroll(full)
                for (int t = 0; t < STEP; t++) {
                    const __m512i x = broadcast(q + 32 * (t0 + t) + 4 * g);
                    if (has_halves && g >= 4) high[t] = _mm512_dpbusd_epi32(high[t], w[g], x);
                    else dot[t] = _mm512_dpbusd_epi32(dot[t], w[g], x);
                }
#pragma clang loop unroll(full)
            for (int t = t0; t < t0 + STEP; t++) {
                const __m512 s = _mm512_set1_ps(activation_scale[t]);
                sums[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[t - t0]), _mm512_mul_ps(scale, s), sums[t]);
                if (has_halves)
                    sums[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high[t - t0]), _mm512_mul_ps(other_scale, s), sums[t]);
                if (kind == CK_Q2_K) {
                    const __m512 first = _mm512_set1_ps(ck_half_sum(start[t], activation_scale[t]));
                    const __m512 second = _mm512_set1_ps(ck_half_sum(start[T + t], activation_scale[t]));
                    sums[t] = _mm512_fmadd_ps(minimum, first, sums[t]);
                    sums[t] = _mm512_fmadd_ps(other_minimum, second, sums[t]);
                } else if (ck_has_minimum(kind)) {
                    sums[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(scaled_sum[t]), sums[t]);
                }
                __asm__ volatile("" : "+v"(sums[t]));
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
        if (accumulate) sums[t] = _mm512_add_ps(sums[t], _mm512_maskz_loadu_ps(rows, out));
        _mm512_mask_storeu_ps(out, rows, sums[t]);
    }
}

CK_INLINE void product_of(const ck_kind kind, const ck_matrix *matrix, size_t first_panel, size_t end_panel,
                          const ck_activations *a, size_t first_token, size_t end_token, float *out, size_t out_stride,
                          bool accumulate) {
    const size_t blocks = matrix->columns / CK_BLOCK_COLUMNS;
    for (size_t p = first_panel; p < end_panel; p++) {
        const uint8_t *panel = matrix->panels + p * matrix->panel_bytes;
        const size_t left = matrix->rows - p * CK_PANEL_ROWS;
        const __mmask16 rows = left >= CK_PANEL_ROWS ? 0xffff : (__mmask16)((1u << left) - 1);
        float *to = out + p * CK_PANEL_ROWS;
        size_t t = first_token;
#define TILE(width)                                                                                                   \
    for (; end_token - t >= width; t += width)                                                                        \
        panel_times_tile(kind, width, matrix, panel, blocks, a, t, to, out_stride, rows, accumulate)
        TILE(16);
        TILE(8);
        TILE(4);
        TILE(2);
        TILE(1);
#undef TILE
    }
}

#define ROW avx512
#include "products.inc"

#pragma clang attribute pop
#endif
