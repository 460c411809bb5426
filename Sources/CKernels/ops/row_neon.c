// The NEON row, for 64-bit ARM with dot products: the operations with 4-float vectors.
#include "../rows.h"

#if CK_ARM
#include <arm_neon.h>
#include <math.h>

#include "../types/panel.h"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#define ROW neon
#define VL 4
#define MAX_TILE 8
#include "row.inc"
#pragma clang attribute pop
#endif
