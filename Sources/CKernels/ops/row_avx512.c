// The AVX-512 (F, BW, DQ, VL, VNNI) row: the operations with 16-float vectors.
#include "../rows.h"

#if CK_X86
#include <immintrin.h>
#include <math.h>

#include "../types/panel.h"

#pragma clang attribute push(                                                                                        \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi2"))), apply_to = function)
#define ROW avx512
#define VL 16
#define MAX_TILE 16
#include "row.inc"
#pragma clang attribute pop
#endif
