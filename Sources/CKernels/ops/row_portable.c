// The portable row: plain C with 4-float vectors, which every 64-bit target has (SSE2, NEON).
#include <math.h>

#include "../rows.h"
#include "../types/panel.h"

#if CK_X86
#include <emmintrin.h>
#endif

// Tiles shared by all rows: which tokens an attention task takes, and how much scratch it needs.
size_t ck_attention_tile_tokens(const ck_attention *a) {
    const size_t group = a->head_count / a->key_value_head_count;
    return group == 1 ? 48 : group == 2 ? 32 : 16;
}

size_t ck_attention_tile_scratch(const ck_attention *a) {
    const size_t d = a->head_dimension;
    return 64 * (2 * d + 64 + 2) + 2 * 64 * d;
}

#define ROW portable
#define VL 4
#define MAX_TILE 4
#include "row.inc"
