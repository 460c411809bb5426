// The AVX-512 instructions that the kernels name, element by element as Intel's Intrinsics Guide defines them, for
// processors that have AVX2 only. Included after <immintrin.h>, whose own definitions it hides.
#ifndef INCIPIT_AVX512_EMULATION_H
#define INCIPIT_AVX512_EMULATION_H

#include <math.h>
#include <string.h>

#define EMULATED static inline __attribute__((always_inline, unused))

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

/// A register seen as its elements.
typedef union emulated_register {
    __m512i integers;
    __m512 single;
    uint8_t u8[64];
    int8_t i8[64];
    uint16_t u16[32];
    uint32_t u32[16];
    int32_t i32[16];
    float f32[16];
} emulated_register;

#define EACH(count, statement)                                                                                        \
    for (int i = 0; i < (count); i++) { statement; }
#define SINGLE(count, statement)                                                                                      \
    emulated_register r;                                                                                              \
    EACH(count, statement)                                                                                            \
    return r.single
#define INTEGERS(count, statement)                                                                                    \
    emulated_register r;                                                                                              \
    EACH(count, statement)                                                                                            \
    return r.integers

EMULATED __m512 emulated_setzero_ps(void) { SINGLE(16, r.f32[i] = 0); }
EMULATED __m512i emulated_setzero_si512(void) { INTEGERS(64, r.u8[i] = 0); }
EMULATED __m512 emulated_set1_ps(float x) { SINGLE(16, r.f32[i] = x); }
EMULATED __m512i emulated_set1_epi8(char x) { INTEGERS(64, r.i8[i] = (int8_t)x); }
EMULATED __m512i emulated_set1_epi32(int32_t x) { INTEGERS(16, r.i32[i] = x); }
EMULATED __m512 emulated_loadu_ps(const void *p) {
    emulated_register r;
    memcpy(&r, p, 64);
    return r.single;
}
/// Faults on an address that is no multiple of 64, as the instruction does.
EMULATED __m512i emulated_load_si512(const void *p) {
    if ((uintptr_t)p % 64 != 0) __builtin_trap();
    emulated_register r;
    memcpy(&r, p, 64);
    return r.integers;
}
EMULATED __m512 emulated_maskz_loadu_ps(uint16_t mask, const float *p) {
    SINGLE(16, r.f32[i] = mask >> i & 1 ? p[i] : 0);
}
EMULATED void emulated_mask_storeu_ps(float *p, uint16_t mask, __m512 x) {
    const emulated_register a = {.single = x};
    EACH(16, if (mask >> i & 1) p[i] = a.f32[i])
}

EMULATED __m512 emulated_add_ps(__m512 x, __m512 y) {
    const emulated_register a = {.single = x}, b = {.single = y};
    SINGLE(16, r.f32[i] = a.f32[i] + b.f32[i]);
}
EMULATED __m512 emulated_sub_ps(__m512 x, __m512 y) {
    const emulated_register a = {.single = x}, b = {.single = y};
    SINGLE(16, r.f32[i] = a.f32[i] - b.f32[i]);
}
EMULATED __m512 emulated_mul_ps(__m512 x, __m512 y) {
    const emulated_register a = {.single = x}, b = {.single = y};
    SINGLE(16, r.f32[i] = a.f32[i] * b.f32[i]);
}
EMULATED __m512 emulated_fmadd_ps(__m512 x, __m512 y, __m512 z) {
    const emulated_register a = {.single = x}, b = {.single = y}, c = {.single = z};
    SINGLE(16, r.f32[i] = fmaf(a.f32[i], b.f32[i], c.f32[i]));
}

EMULATED __m512i emulated_and_si512(__m512i x, __m512i y) {
    const emulated_register a = {x}, b = {y};
    INTEGERS(16, r.u32[i] = a.u32[i] & b.u32[i]);
}
EMULATED __m512i emulated_xor_si512(__m512i x, __m512i y) {
    const emulated_register a = {x}, b = {y};
    INTEGERS(16, r.u32[i] = a.u32[i] ^ b.u32[i]);
}
/// Bit by bit: the bit of `table` whose number is the three operands' bits, the first one's on top.
EMULATED __m512i emulated_ternarylogic_epi32(__m512i x, __m512i y, __m512i z, int table) {
    const emulated_register a = {x}, b = {y}, c = {z};
    INTEGERS(16, {
        r.u32[i] = 0;
        for (int k = 0; k < 32; k++) {
            const unsigned at = (a.u32[i] >> k & 1) << 2 | (b.u32[i] >> k & 1) << 1 | (c.u32[i] >> k & 1);
            r.u32[i] |= ((unsigned)table >> at & 1) << k;
        }
    });
}
EMULATED __m512i emulated_slli_epi16(__m512i x, unsigned count) {
    const emulated_register a = {x};
    INTEGERS(32, r.u16[i] = count > 15 ? 0 : (uint16_t)(a.u16[i] << count));
}
EMULATED __m512i emulated_srli_epi16(__m512i x, unsigned count) {
    const emulated_register a = {x};
    INTEGERS(32, r.u16[i] = count > 15 ? 0 : (uint16_t)(a.u16[i] >> count));
}
/// Within each 16 bytes.
EMULATED __m512i emulated_shuffle_epi8(__m512i x, __m512i by) {
    const emulated_register a = {x}, b = {by};
    INTEGERS(64, r.u8[i] = b.u8[i] & 0x80 ? 0 : a.u8[i / 16 * 16 + b.u8[i] % 16]);
}
EMULATED __m512i emulated_broadcast_i32x4(__m128i x) {
    emulated_register r;
    EACH(4, memcpy(r.u8 + 16 * i, &x, 16))
    return r.integers;
}
/// Signed 16-bit numbers, two at a time, onto 32-bit sums; nothing saturates.
EMULATED __m512i emulated_dpwssd_epi32(__m512i sums, __m512i x, __m512i y) {
    const emulated_register s = {.integers = sums}, a = {.integers = x}, b = {.integers = y};
    INTEGERS(16, r.i32[i] = s.i32[i] + (int16_t)a.u16[2 * i] * (int16_t)b.u16[2 * i]
                            + (int16_t)a.u16[2 * i + 1] * (int16_t)b.u16[2 * i + 1]);
}
/// Unsigned times signed bytes, four at a time, onto 32-bit sums; nothing saturates.
EMULATED __m512i emulated_dpbusd_epi32(__m512i sums, __m512i x, __m512i y) {
    const emulated_register a = {x}, b = {y}, c = {sums};
    INTEGERS(16, {
        int32_t sum = 0;
        for (int k = 0; k < 4; k++) sum += a.u8[4 * i + k] * b.i8[4 * i + k];
        r.u32[i] = c.u32[i] + (uint32_t)sum;
    });
}

EMULATED __m512 emulated_cvtepi32_ps(__m512i x) {
    const emulated_register a = {x};
    SINGLE(16, r.f32[i] = (float)a.i32[i]);
}
EMULATED __m512i emulated_cvtepu8_epi32(__m128i x) {
    uint8_t bytes[16];
    memcpy(bytes, &x, 16);
    INTEGERS(16, r.i32[i] = bytes[i]);
}
EMULATED __m512i emulated_cvtepi8_epi32(__m128i x) {
    int8_t bytes[16];
    memcpy(bytes, &x, 16);
    INTEGERS(16, r.i32[i] = bytes[i]);
}
EMULATED __m512 emulated_cvtph_ps(__m256i x) {
    uint16_t halves[16];
    memcpy(halves, &x, 32);
    SINGLE(16, r.f32[i] = _cvtsh_ss(halves[i]));
}
EMULATED __m256i emulated_cvtps_ph(__m512 x, int rounding) {
    (void)rounding; // the kernels round to nearest
    const emulated_register a = {.single = x};
    uint16_t halves[16];
    EACH(16, halves[i] = _cvtss_sh(a.f32[i], _MM_FROUND_TO_NEAREST_INT))
    __m256i result;
    memcpy(&result, halves, 32);
    return result;
}

#pragma clang attribute pop
#undef EACH
#undef SINGLE
#undef INTEGERS

// Some of them are macros in <immintrin.h>.
#undef _mm512_ternarylogic_epi32
#undef _mm512_cvtps_ph
#define _mm512_add_ps emulated_add_ps
#define _mm512_and_si512 emulated_and_si512
#define _mm512_broadcast_i32x4 emulated_broadcast_i32x4
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtps_ph emulated_cvtps_ph
#define _mm512_dpbusd_epi32 emulated_dpbusd_epi32
#define _mm512_dpwssd_epi32 emulated_dpwssd_epi32
#define _mm512_fmadd_ps emulated_fmadd_ps
#define _mm512_load_si512 emulated_load_si512
#define _mm512_loadu_ps emulated_loadu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_mul_ps emulated_mul_ps
#define _mm512_set1_epi32 emulated_set1_epi32
#define _mm512_set1_epi8 emulated_set1_epi8
#define _mm512_set1_ps emulated_set1_ps
#define _mm512_setzero_ps emulated_setzero_ps
#define _mm512_setzero_si512 emulated_setzero_si512
#define _mm512_shuffle_epi8 emulated_shuffle_epi8
#define _mm512_slli_epi16 emulated_slli_epi16
#define _mm512_srli_epi16 emulated_srli_epi16
#define _mm512_sub_ps emulated_sub_ps
#define _mm512_ternarylogic_epi32 emulated_ternarylogic_epi32
#define _mm512_xor_si512 emulated_xor_si512

#endif
