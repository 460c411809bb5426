#define _GNU_SOURCE // setenv
#include "include/COpenBLAS.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>


// From cblas.h; the values are those of the reference CBLAS and do not change.
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
typedef void sgemm_function(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                            int lda, const float *b, int ldb, float beta, float *c, int ldc);

static sgemm_function *sgemm;
static const char *core_name;

/// The name of the best set of kernels for this processor, or NULL to leave the choice to OpenBLAS.
static const char *best_core(void) {
#if defined(__x86_64__)
    __builtin_cpu_init(); // also checks what the system saves
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
    return NULL;
}

/// Sets a variable unless the user did; true when it was set.
static bool set_default(const char *name, const char *value) {
    return value != NULL && getenv(name) == NULL && setenv(name, value, 0) == 0;
}

static void load(void) {
    // OpenBLAS reads these in its constructor only, so they are removed again.
    const bool core = set_default("OPENBLAS_CORETYPE", best_core());
    const bool threads = set_default("OPENBLAS_NUM_THREADS", "1");
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
    if (core) unsetenv("OPENBLAS_CORETYPE");
    if (threads) unsetenv("OPENBLAS_NUM_THREADS");
    if (library == NULL) return;
    void (*set_threads)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
    char *(*get_core)(void) = (char *(*)(void))dlsym(library, "openblas_get_corename");
    sgemm = (sgemm_function *)dlsym(library, "cblas_sgemm");
    if (set_threads != NULL) set_threads(1);
    if (sgemm != NULL) core_name = get_core != NULL ? get_core() : "unknown";
}

static void load_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
}

const char *copenblas_core_name(void) {
    load_once();
    return core_name;
}

/// Stands in when OpenBLAS is missing.
static void plain_sgemm(bool transposes_a, bool transposes_b, int m, int n, int k, float alpha, const float *a,
                        int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    for (int i = 0; i < m; i++) {
        float *row = c + (size_t)i * (size_t)ldc;
        for (int j = 0; j < n; j++) row[j] = beta == 0 ? 0 : beta * row[j];
        for (int p = 0; p < k; p++) {
            const float factor = alpha * (transposes_a ? a[(size_t)p * (size_t)lda + (size_t)i]
                                                       : a[(size_t)i * (size_t)lda + (size_t)p]);
            const float *from = transposes_b ? b + p : b + (size_t)p * (size_t)ldb;
            const size_t step = transposes_b ? (size_t)ldb : 1;
            for (int j = 0; j < n; j++) row[j] += factor * from[(size_t)j * step];
        }
    }
}

void copenblas_sgemm(bool transposes_a, bool transposes_b, int m, int n, int k, float alpha, const float *a, int lda,
                     const float *b, int ldb, float beta, float *c, int ldc) {
    load_once();
    if (sgemm == NULL || k == 0) {
        plain_sgemm(transposes_a, transposes_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    sgemm(ROW_MAJOR, transposes_a ? TRANSPOSED : PLAIN, transposes_b ? TRANSPOSED : PLAIN, m, n, k, alpha, a, lda, b,
          ldb, beta, c, ldc);
}
