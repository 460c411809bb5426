#define _GNU_SOURCE
#include "limits.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { MOST_THREADS = 256, ROUNDS = 1 << 21, CHAINS = 12 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/// Runs `body` on every thread at once; the seconds of the slowest.
static double together(int threads, void *(*body)(void *), void **arguments) {
    pthread_t handles[MOST_THREADS];
    const double start = now();
    for (int i = 1; i < threads; i++)
        if (pthread_create(&handles[i], NULL, body, arguments[i]) != 0) return 1e30;
    body(arguments[0]);
    for (int i = 1; i < threads; i++) pthread_join(handles[i], NULL);
    return now() - start;
}

static volatile int sink;

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vnni"))) static void dots_vnni(void) {
    __m512i sums[CHAINS], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_setzero_si512();
    for (int round = 0; round < ROUNDS; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], w, x);
        __asm__ volatile("" : "+v"(w), "+v"(x));
    }
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    sink = _mm512_reduce_add_epi32(sums[0]);
}

__attribute__((target("avx2"))) static void dots_avx2(void) {
    __m256i sums[CHAINS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_setzero_si256();
    for (int round = 0; round < ROUNDS; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < CHAINS; i++) {
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
            __asm__ volatile("" : "+x"(w)); // or all chains would share one product
        }
    }
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    sink = _mm256_extract_epi32(sums[0], 0);
}
#elif defined(__aarch64__)
__attribute__((target("dotprod"))) static void dots_neon(void) {
    int32x4_t sums[CHAINS];
    int8x16_t w = vdupq_n_s8(3), x = vdupq_n_s8(5);
    for (int i = 0; i < CHAINS; i++) sums[i] = vdupq_n_s32(0);
    for (int round = 0; round < ROUNDS; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < CHAINS; i++) sums[i] = vdotq_s32(sums[i], w, x);
        __asm__ volatile("" : "+w"(w), "+w"(x));
    }
    for (int i = 1; i < CHAINS; i++) sums[0] = vaddq_s32(sums[0], sums[i]);
    sink = vaddvq_s32(sums[0]);
}
#endif

/// Bytes that one instruction multiplies, and the loop of them.
static int instruction(void (**loop)(void)) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni")) return *loop = dots_vnni, 64;
    if (__builtin_cpu_supports("avx2")) return *loop = dots_avx2, 32;
#elif defined(__aarch64__)
    return *loop = dots_neon, 16;
#endif
    return *loop = NULL, 0;
}

static void *run_dots(void *loop) {
    (*(void (**)(void))loop)();
    return NULL;
}

double limits_int8_gops(int threads) {
    void (*loop)(void);
    const int bytes = instruction(&loop);
    if (bytes == 0 || threads < 1 || threads > MOST_THREADS) return 0;
    void *arguments[MOST_THREADS];
    for (int i = 0; i < threads; i++) arguments[i] = &loop;
    double best = 1e30;
    for (int turn = 0; turn < 5; turn++) {
        const double time = together(threads, run_dots, arguments);
        if (time < best) best = time;
    }
    return 2.0 * bytes * CHAINS * (double)ROUNDS * threads / best / 1e9;
}

typedef struct part {
    const uint64_t *words;
    size_t count;
} part;

static void *run_read(void *argument) {
    const part p = *(part *)argument;
    uint64_t sums[8] = {0};
    for (size_t i = 0; i + 64 <= p.count; i += 64) { // a prefetch a line, as the engine's own loops have
        __builtin_prefetch(p.words + i + 512);
        for (size_t k = 0; k < 64; k += 8) {
            __builtin_prefetch(p.words + i + k + 512);
            for (size_t j = 0; j < 8; j++) sums[j] += p.words[i + k + j];
        }
    }
    for (size_t j = 1; j < 8; j++) sums[0] += sums[j];
    sink = (int)sums[0];
    return NULL;
}

double limits_read_gigabytes(int threads, unsigned long bytes) {
    if (threads < 1 || threads > MOST_THREADS) return 0;
    void *memory = NULL;
    if (posix_memalign(&memory, 2 << 20, bytes) != 0) return 0;
    memset(memory, 1, bytes);
    part parts[MOST_THREADS];
    void *arguments[MOST_THREADS];
    const size_t words = bytes / 8 / (size_t)threads;
    for (int i = 0; i < threads; i++) {
        parts[i] = (part){(const uint64_t *)memory + (size_t)i * words, words};
        arguments[i] = &parts[i];
    }
    double best = 1e30;
    for (int turn = 0; turn < 7; turn++) {
        const double time = together(threads, run_read, arguments);
        if (time < best) best = time;
    }
    free(memory);
    return (double)words * 8 * threads / best / 1e9;
}
