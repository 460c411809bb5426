// What the processor can do and the operating system allows.
#define _GNU_SOURCE // sched_getaffinity
#include "rows.h"

#if defined(__linux__)
#include <sched.h>
#endif

int ck_affinity_count(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return 0;
}

#if CK_ARM && defined(__linux__)
#include <sys/auxv.h>

bool ck_cpu_has_dot(void) { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; } // HWCAP_ASIMDDP
#elif CK_ARM && defined(__APPLE__)
bool ck_cpu_has_dot(void) { return true; } // every processor of Apple's that runs macOS on ARM
#else
bool ck_cpu_has_dot(void) { return false; }
#endif

#if CK_X86
#include <cpuid.h>

typedef struct registers { unsigned a, b, c, d; } registers;

static registers leaf(unsigned number, unsigned sub) {
    registers r = {0, 0, 0, 0};
    if (__get_cpuid_max(number & 0x80000000u, 0) >= number) __cpuid_count(number, sub, r.a, r.b, r.c, r.d);
    return r;
}

/// The register state that the system saves on a context switch (XCR0), or 0.
static unsigned saved_state(void) {
    if (!(leaf(1, 0).c >> 27 & 1)) return 0; // OSXSAVE
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool ck_cpu_has_avx2(void) {
    const registers one = leaf(1, 0), seven = leaf(7, 0);
    const bool base = (one.c >> 28 & 1) && (one.c >> 12 & 1) && (one.c >> 29 & 1); // AVX, FMA, F16C
    const bool more = (seven.b >> 5 & 1) && (seven.b >> 8 & 1);                    // AVX2, BMI2
    return base && more && (saved_state() & 0x06) == 0x06;
}

bool ck_cpu_has_avx512(void) {
    const registers seven = leaf(7, 0);
    const bool f = seven.b >> 16 & 1, dq = seven.b >> 17 & 1, bw = seven.b >> 30 & 1, vl = seven.b >> 31 & 1;
    const bool vnni = seven.c >> 11 & 1;
    return ck_cpu_has_avx2() && f && dq && bw && vl && vnni && (saved_state() & 0xe6) == 0xe6;
}
#else
bool ck_cpu_has_avx2(void) { return false; }
bool ck_cpu_has_avx512(void) { return false; }
#endif
