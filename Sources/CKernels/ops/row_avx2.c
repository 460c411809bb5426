// The AVX2 + FMA + F16C row: the operations with 8-float vectors.
#include "../rows.h"

#if CK_X86
#include <immintrin.h>
#include <math.h>

#include "../types/panel.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#define ROW avx2
#define VL 8
#define MAX_TILE 4
#include "row.inc"
#pragma clang attribute pop
#endif
