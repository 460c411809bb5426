// The quantized product with AVX2: `vpmaddubsw` on the same panels, 16 rows times up to 4 tokens at a time.
//
// Four tokens by two vectors of rows: each group of weights is unpacked once for four products, each broadcast activation
// serves two. The 8 running sums leave half of the registers for operands; the float sums wait in memory.
//
// Products of unsigned weights and signed activations are added in 16 bits as long as they fit: 8 groups of 4-bit
// weights (8 * 2 * 15 * 127 = 30480), 4 of 5 bits, 2 of 6 bits. So do the 65 levels of T6 (2 * 2 * 64 * 127 =
// 32512). 8-bit weights would overflow already in the instruction, so they go in as magnitude, with their sign moved to
// the activation: 2 * 128 * 127 = 32512 fits. So do the numbers of a codebook.
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
    if (kind == CK_T6) return _mm256_load_si256((const __m256i *)(at + 64 * g));
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

/// A panel times one tile of `T` tokens. `kind` and `T` are constants wherever this is inlined; `after` is what will be
/// read next, as long as this panel.
CK_INLINE void panel_times_tile(const ck_kind kind, const int T, const ck_matrix *matrix, const uint8_t *restrict panel,
                                const uint8_t *after, size_t blocks, const ck_activations *a, size_t token,
                                float *restrict out, size_t out_stride, size_t rows, bool accumulate) {
    const int H = 2; // vectors of 8 rows
    __m256 sums[8]; // H * T of them, as of the others
#pragma clang loop unroll(full)
    for (int h = 0; h < H; h++)
#pragma clang loop unroll(full)
        for (int t = 0; t < T; t++) sums[h * T + t] = _mm256_setzero_ps();
    const uint8_t *scales = panel, *quants = panel + ck_scale_bytes(kind, blocks);
    after += ck_scale_bytes(kind, blocks);
    const int8_t *q = a->q + token * a->columns;
    const float *activation_scale = a->scale + token * blocks, *scaled_sum = a->scaled_sum + token * blocks;
    const int32_t *start = kind == CK_Q4_0 ? a->start8 : a->start16;
    start += token * blocks;
    const bool has_halves = ck_has_halves(kind);
    if (has_halves) start = a->start32 + 2 * token * blocks;
    const bool has_start = kind == CK_Q4_0 || kind == CK_Q5_0 || kind == CK_Q6_K || kind == CK_T6;
    const int start_factor = kind == CK_T6 ? 2 : 1; // -32 * sum is twice what `start16` has
    const bool is_signed = kind == CK_Q8_0 || ck_is_codebook(kind);
    const __m256i codebook = ck_is_codebook(kind)
        ? _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)matrix->codebook)) : _mm256_setzero_si256();
    // Groups whose products are added in 16 bits before they are widened.
    const int run = is_signed ? 1 : kind == CK_T6 ? 2 : has_halves && ck_bits(kind) < 6 ? 4 : ck_bits(kind) <= 4 ? 8
                  : ck_bits(kind) == 5 ? 4 : 2;
    const __m256i ones = _mm256_set1_epi16(1);

    __m256 super_scale[2], super_minimum[2];
    for (size_t b = 0; b < blocks; b++) {
        __m256 scale[2], other_scale[2], minimum[2], other_minimum[2];
#pragma clang loop unroll(full)
        for (int h = 0; h < H; h++) {
            if (ck_is_super(kind)) {
                const uint8_t *super = panel + b / 8 * ck_super_bytes(kind);
                const uint8_t *own = super + ck_super_head(kind) + b % 8 * ck_super_own(kind) + 8 * h;
                if (b % 8 == 0) {
                    super_scale[h] = ck_is_codebook(kind) ? _mm256_loadu_ps((const float *)(super + 32 * h))
                                                          : halves(super + 16 * h);
                    if (ck_has_minimum(kind))
                        super_minimum[h] = _mm256_sub_ps(_mm256_setzero_ps(), halves(super + 32 + 16 * h));
                }
                if (kind == CK_Q2_K) {
                    scale[h] = _mm256_mul_ps(super_scale[h], unsigned_bytes(own));
                    other_scale[h] = _mm256_mul_ps(super_scale[h], unsigned_bytes(own + 16));
                    minimum[h] = _mm256_mul_ps(super_minimum[h], unsigned_bytes(own + 32));
                    other_minimum[h] = _mm256_mul_ps(super_minimum[h], unsigned_bytes(own + 48));
                } else if (has_halves) {
                    scale[h] = _mm256_mul_ps(super_scale[h], signed_bytes(own));
                    other_scale[h] = _mm256_mul_ps(super_scale[h], signed_bytes(own + 16));
                } else {
                    scale[h] = _mm256_mul_ps(super_scale[h], unsigned_bytes(own));
                    minimum[h] = _mm256_mul_ps(super_minimum[h], unsigned_bytes(own + 16));
                }
            } else if (kind == CK_C4_FLOAT) {
                scale[h] = _mm256_loadu_ps((const float *)(scales + 32 * h));
                other_scale[h] = _mm256_loadu_ps((const float *)(scales + 32 * h + 64));
            } else {
                scale[h] = halves(scales + 16 * h);
                if (ck_has_minimum(kind)) minimum[h] = halves(scales + 16 * h + 32);
            }
        }
        if (!ck_is_super(kind)) scales += ck_plain_bytes(kind);
        if (T < 4) { // bound by memory: the hardware alone does not keep enough lines in flight
#pragma clang loop unroll(full)
            for (size_t i = 0; i < ck_quant_bytes(kind); i += 64)
                _mm_prefetch((const char *)after + i, _MM_HINT_T0);
            after += ck_quant_bytes(kind);
        }
        __m256i dot[8], sixteen[8];
#pragma clang loop unroll(full)
        for (int h = 0; h < H; h++)
#pragma clang loop unroll(full)
            for (int t = 0; t < T; t++) dot[h * T + t] = has_start ? _mm256_set1_epi32(start[t] * start_factor) : _mm256_setzero_si256();
#pragma clang loop unroll(full)
        for (int g = 0; g < 8; g++) {
            __m256i w[2];
#pragma clang loop unroll(full)
            for (int h = 0; h < H; h++) w[h] = unpack_group(kind, codebook, quants, h, g);
#pragma clang loop unroll(full)
            for (int t = 0; t < T; t++) {
                const __m256i x = broadcast(q + 32 * t + 4 * g);
#pragma clang loop unroll(full)
                for (int h = 0; h < H; h++) {
                    const __m256i products = is_signed
                        ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[h]), _mm256_sign_epi8(x, w[h]))
                        : _mm256_maddubs_epi16(w[h], x);
                    sixteen[h * T + t] = g % run == 0 ? products : _mm256_add_epi16(sixteen[h * T + t], products);
                    if (g % run == run - 1)
                        dot[h * T + t] = _mm256_add_epi32(dot[h * T + t], _mm256_madd_epi16(sixteen[h * T + t], ones));
                }
            }
            if (T == 4) { // group by group: mixed by the compiler, they would not fit the registers
#pragma clang loop unroll(full)
                for (int i = 0; i < H * T; i++) {
                    if (g % run == run - 1) __asm__ volatile("" : "+x"(dot[i]));
                    else __asm__ volatile("" : "+x"(sixteen[i]));
                }
            }
            if (has_halves && g == 3) { // the first half of the columns has a scale of its own
#pragma clang loop unroll(full)
                for (int t = 0; t < T; t++) {
                    const __m256 s = _mm256_set1_ps(activation_scale[t]);
#pragma clang loop unroll(full)
                    for (int h = 0; h < H; h++) {
                        sums[h * T + t] =
                            _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[h * T + t]), _mm256_mul_ps(scale[h], s), sums[h * T + t]);
                        dot[h * T + t] = has_start ? _mm256_set1_epi32(start[T + t]) : _mm256_setzero_si256();
                    }
                }
            }
        }
        quants += ck_quant_bytes(kind);
#pragma clang loop unroll(full)
        for (int t = 0; t < T; t++) {
            const __m256 s = _mm256_set1_ps(activation_scale[t]);
#pragma clang loop unroll(full)
            for (int h = 0; h < H; h++) {
                const __m256 own = has_halves ? other_scale[h] : scale[h];
                sums[h * T + t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[h * T + t]), _mm256_mul_ps(own, s), sums[h * T + t]);
                if (kind == CK_Q2_K) {
                    const __m256 first = _mm256_set1_ps(ck_half_sum(start[t], activation_scale[t]));
                    const __m256 second = _mm256_set1_ps(ck_half_sum(start[T + t], activation_scale[t]));
                    sums[h * T + t] = _mm256_fmadd_ps(minimum[h], first, sums[h * T + t]);
                    sums[h * T + t] = _mm256_fmadd_ps(other_minimum[h], second, sums[h * T + t]);
                } else if (ck_has_minimum(kind)) {
                    sums[h * T + t] = _mm256_fmadd_ps(minimum[h], _mm256_set1_ps(scaled_sum[t]), sums[h * T + t]);
                }
            }
        }
        q += 32 * T;
        activation_scale += T;
        scaled_sum += T;
        start += has_halves ? 2 * T : T;
    }
    out += token * out_stride;
#pragma clang loop unroll(full)
    for (int t = 0; t < T; t++, out += out_stride)
#pragma clang loop unroll(full)
        for (int h = 0; h < H; h++) {
            float *to = out + 8 * h;
            if (rows >= (size_t)(8 * h + 8)) {
                if (accumulate) sums[h * T + t] = _mm256_add_ps(sums[h * T + t], _mm256_loadu_ps(to));
                _mm256_storeu_ps(to, sums[h * T + t]);
                continue;
            }
            float last[8];
            _mm256_storeu_ps(last, sums[h * T + t]);
            for (size_t r = 0; 8 * h + r < rows; r++) to[r] = accumulate ? to[r] + last[r] : last[r];
        }
}

CK_INLINE void product_of(const ck_kind kind, const ck_matrix *matrix, size_t first_panel, size_t end_panel,
                          const ck_activations *a, size_t first_token, size_t end_token, float *out, size_t out_stride,
                          bool accumulate) {
    const size_t blocks = matrix->columns / CK_BLOCK_COLUMNS;
    for (size_t p = first_panel; p < end_panel; p++) {
        const uint8_t *panel = matrix->panels + p * matrix->panel_bytes, *after = panel + matrix->panel_bytes;
        const size_t left = matrix->rows - p * CK_PANEL_ROWS;
        float *to = out + p * CK_PANEL_ROWS;
        size_t t = first_token;
#define TILE(width)                                                                                                   \
    for (; end_token - t >= width; t += width)                                                                        \
        panel_times_tile(kind, width, matrix, panel, after, blocks, a, t, to, out_stride, left, accumulate)
        TILE(4);
        TILE(2);
        TILE(1);
#undef TILE
    }
}

#define ROW avx2
#include "products.inc"

#pragma clang attribute pop
#endif
