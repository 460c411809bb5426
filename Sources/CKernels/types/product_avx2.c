// The quantized product with AVX2: `vpmaddubsw` on the same panels, 8 rows times up to 4 tokens at a time.
//
// Products of unsigned weights and signed activations are added in 16 bits as long as they fit: 8 groups of 4-bit
// weights (8 * 2 * 15 * 127 = 30480), 4 of 5 bits, 2 of 6 bits. 8-bit weights would overflow already in the
// instruction, so they go in as magnitude, with their sign moved to the activation: 2 * 128 * 127 = 32512 fits. So do
// the numbers of a codebook.
#include "../rows.h"

#if CK_X86
#include <immintrin.h>

#include "panel.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

CK_INLINE __m256 halves(const uint8_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
CK_INLINE __m256 unsigned_bytes(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
CK_INLINE __m256 signed_bytes(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/// Group `g` of 8 rows: 32 bytes of a quants block, unsigned (signed for Q8_0 and codebooks).
CK_INLINE __m256i unpack_group(const ck_kind kind, const __m256i codebook, const uint8_t *block, size_t half,
                               const int g) {
    const uint8_t *at = block + 32 * half;
    const int bits = ck_bits(kind);
    if (bits == 8)
        return _mm256_xor_si256(_mm256_load_si256((const __m256i *)(at + 64 * g)), _mm256_set1_epi8((char)0x80));
    if (bits < 4) {
        __m256i v = _mm256_load_si256((const __m256i *)(at + 64 * (g / 4)));
        if (g % 4 != 0) v = _mm256_srli_epi16(v, 2 * (g % 4));
        v = _mm256_and_si256(v, _mm256_set1_epi8(3));
        if (bits == 3) {
            const __m256i plane = _mm256_load_si256((const __m256i *)(at + 128));
            const __m256i moved = g <= 2 ? _mm256_slli_epi16(plane, g <= 2 ? 2 - g : 0)
                                         : _mm256_srli_epi16(plane, g > 2 ? g - 2 : 0);
            v = _mm256_or_si256(v, _mm256_and_si256(moved, _mm256_set1_epi8(4)));
        }
        return ck_is_codebook(kind) ? _mm256_shuffle_epi8(codebook, v) : v;
    }
    __m256i v = _mm256_load_si256((const __m256i *)(at + 64 * (g / 2)));
    if (g % 2 != 0) v = _mm256_srli_epi16(v, 4);
    v = _mm256_and_si256(v, _mm256_set1_epi8(15));
    if (bits == 5) {
        const __m256i plane = _mm256_load_si256((const __m256i *)(at + 256));
        const __m256i moved = g <= 4 ? _mm256_slli_epi16(plane, g <= 4 ? 4 - g : 0)
                                     : _mm256_srli_epi16(plane, g > 4 ? g - 4 : 0);
        v = _mm256_or_si256(v, _mm256_and_si256(moved, _mm256_set1_epi8(16)));
    }
    if (bits == 6) {
        const __m256i plane = _mm256_load_si256((const __m256i *)(at + 256 + 64 * (g / 4)));
        const int j = g % 4;
        const __m256i moved = j <= 2 ? _mm256_slli_epi16(plane, j <= 2 ? 4 - 2 * j : 0) : _mm256_srli_epi16(plane, 2);
        v = _mm256_or_si256(v, _mm256_and_si256(moved, _mm256_set1_epi8(48)));
    }
    return ck_is_codebook(kind) ? _mm256_shuffle_epi8(codebook, v) : v;
}

CK_INLINE __m256i broadcast(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

/// Rows 8 * half ... 8 * half + 7 of a panel times one tile of `T` tokens.
CK_INLINE void half_panel_times_tile(const ck_kind kind, const int T, const ck_matrix *matrix,
                                     const uint8_t *restrict panel, size_t half, size_t blocks, const ck_activations *a,
                                     size_t token, float *restrict out, size_t out_stride, size_t rows,
                                     bool accumulate) {
    __m256 sums[T];
#pragma clang loop unroll(full)
    for (int t = 0; t < T; t++) sums[t] = _mm256_setzero_ps();
    const uint8_t *scales = panel + (kind == CK_C4_FLOAT ? 32 : 16) * half, *quants = panel + ck_scale_bytes(kind, blocks);
    const int8_t *q = a->q + token * a->columns;
    const float *activation_scale = a->scale + token * blocks, *scaled_sum = a->scaled_sum + token * blocks;
    const int32_t *start = kind == CK_Q4_0 ? a->start8 : a->start16;
    start += token * blocks;
    const bool has_halves = ck_has_halves(kind);
    if (has_halves) start = a->start32 + 2 * token * blocks;
    const bool has_start = kind == CK_Q4_0 || kind == CK_Q5_0 || kind == CK_Q6_K;
    const bool is_signed = kind == CK_Q8_0 || ck_is_codebook(kind);
    const __m256i codebook = ck_is_codebook(kind)
        ? _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)matrix->codebook)) : _mm256_setzero_si256();
    // Groups whose products are added in 16 bits before they are widened.
    const int run = is_signed ? 1 : has_halves && ck_bits(kind) < 6 ? 4 : ck_bits(kind) <= 4 ? 8
                  : ck_bits(kind) == 5 ? 4 : 2;
    const __m256i ones = _mm256_set1_epi16(1);

    __m256 super_scale = _mm256_setzero_ps(), super_minimum = super_scale;
    for (size_t b = 0; b < blocks; b++) {
        __m256 scale, other_scale = super_scale, minimum = super_scale, other_minimum = super_scale;
        if (ck_is_super(kind)) {
            const uint8_t *super = panel + b / 8 * ck_super_bytes(kind);
            const uint8_t *own = super + ck_super_head(kind) + b % 8 * ck_super_own(kind) + 8 * half;
            if (b % 8 == 0) {
                super_scale = ck_is_codebook(kind) ? _mm256_loadu_ps((const float *)(super + 32 * half))
                                                   : halves(super + 16 * half);
                if (ck_has_minimum(kind))
                    super_minimum = _mm256_sub_ps(_mm256_setzero_ps(), halves(super + 32 + 16 * half));
            }
            if (kind == CK_Q2_K) {
                scale = _mm256_mul_ps(super_scale, unsigned_bytes(own));
                other_scale = _mm256_mul_ps(super_scale, unsigned_bytes(own + 16));
                minimum = _mm256_mul_ps(super_minimum, unsigned_bytes(own + 32));
                other_minimum = _mm256_mul_ps(super_minimum, unsigned_bytes(own + 48));
            } else if (has_halves) {
                scale = _mm256_mul_ps(super_scale, signed_bytes(own));
                other_scale = _mm256_mul_ps(super_scale, signed_bytes(own + 16));
            } else {
                scale = _mm256_mul_ps(super_scale, unsigned_bytes(own));
                minimum = _mm256_mul_ps(super_minimum, unsigned_bytes(own + 16));
            }
        } else if (kind == CK_C4_FLOAT) {
            scale = _mm256_loadu_ps((const float *)scales);
            other_scale = _mm256_loadu_ps((const float *)(scales + 64));
            scales += 128;
        } else {
            scale = halves(scales);
            if (ck_has_minimum(kind)) minimum = halves(scales + 32);
            scales += ck_plain_bytes(kind);
        }
        __m256i dot[T], sixteen[T];
#pragma clang loop unroll(full)
        for (int t = 0; t < T; t++) dot[t] = has_start ? _mm256_set1_epi32(start[t]) : _mm256_setzero_si256();
#pragma clang loop unroll(full)
        for (int g = 0; g < 8; g++) {
            const __m256i w = unpack_group(kind, codebook, quants, half, g);
            const __m256i magnitude = is_signed ? _mm256_abs_epi8(w) : w;
#pragma clang loop unroll(full)
            for (int t = 0; t < T; t++) {
                __m256i x = broadcast(q + 32 * t + 4 * g);
                if (is_signed) x = _mm256_sign_epi8(x, w);
                const __m256i products = _mm256_maddubs_epi16(magnitude, x);
                sixteen[t] = g % run == 0 ? products : _mm256_add_epi16(sixteen[t], products);
                if (g % run == run - 1) dot[t] = _mm256_add_epi32(dot[t], _mm256_madd_epi16(sixteen[t], ones));
            }
            if (has_halves && g == 3) { // the first half of the columns has a scale of its own
#pragma clang loop unroll(full)
                for (int t = 0; t < T; t++) {
                    const __m256 s = _mm256_set1_ps(activation_scale[t]);
                    sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[t]), _mm256_mul_ps(scale, s), sums[t]);
                    dot[t] = has_start ? _mm256_set1_epi32(start[T + t]) : _mm256_setzero_si256();
                }
            }
        }
        quants += ck_quant_bytes(kind);
#pragma clang loop unroll(full)
        for (int t = 0; t < T; t++) {
            const __m256 s = _mm256_set1_ps(activation_scale[t]);
            const __m256 own = has_halves ? other_scale : scale;
            sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[t]), _mm256_mul_ps(own, s), sums[t]);
            if (kind == CK_Q2_K) {
                const __m256 first = _mm256_set1_ps(ck_half_sum(start[t], activation_scale[t]));
                const __m256 second = _mm256_set1_ps(ck_half_sum(start[T + t], activation_scale[t]));
                sums[t] = _mm256_fmadd_ps(minimum, first, sums[t]);
                sums[t] = _mm256_fmadd_ps(other_minimum, second, sums[t]);
            } else if (ck_has_minimum(kind)) sums[t] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(scaled_sum[t]), sums[t]);
        }
        q += 32 * T;
        activation_scale += T;
        scaled_sum += T;
        start += has_halves ? 2 * T : T;
    }
    out += token * out_stride;
#pragma clang loop unroll(full)
    for (int t = 0; t < T; t++, out += out_stride) {
        if (rows >= 8) {
            if (accumulate) sums[t] = _mm256_add_ps(sums[t], _mm256_loadu_ps(out));
            _mm256_storeu_ps(out, sums[t]);
            continue;
        }
        float last[8];
        _mm256_storeu_ps(last, sums[t]);
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
    for (; end_token - t >= width; t += width) {                                                                      \
        half_panel_times_tile(kind, width, matrix, panel, 0, blocks, a, t, to, out_stride, left, accumulate);         \
        if (left > 8)                                                                                                 \
            half_panel_times_tile(kind, width, matrix, panel, 1, blocks, a, t, to + 8, out_stride, left - 8,          \
                                  accumulate);                                                                        \
    }
        TILE(4)
        TILE(2)
        TILE(1)
#undef TILE
    }
}

#define ROW avx2
#include "products.inc"

#pragma clang attribute pop
#endif
