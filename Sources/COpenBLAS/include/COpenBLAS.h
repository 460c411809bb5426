// OpenBLAS, loaded when it is first used, with the kernels that this processor deserves.
//
// Not linked, because OpenBLAS picks its kernels while it is loaded: Debian 12's 0.3.21 takes processors that it does
// not know (Emerald Rapids, for one) for a Prescott of 2004 and runs at a sixth of their speed. The only way to tell
// it better is the environment at load time. Linking suffices again once the oldest supported OpenBLAS chooses by
// features; then this target can become a system library.
#ifndef INCIPIT_COPENBLAS_H
#define INCIPIT_COPENBLAS_H

#include <stdbool.h>
#include <stddef.h>

/// c = alpha op(a) op(b) + beta c, row-major, op(a): m x k, op(b): k x n, on the calling thread. Thread-safe.
/// With beta 0 the old content of c is not read.
void copenblas_sgemm(bool transposes_a, bool transposes_b, int m, int n, int k, float alpha, const float *a, int lda,
                     const float *b, int ldb, float beta, float *c, int ldc);

/// The processor that OpenBLAS computes for, or NULL when there is no OpenBLAS and a slow plain loop stands in.
const char *copenblas_core_name(void);

#endif
