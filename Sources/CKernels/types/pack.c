// From the file's blocks to panels and back. Runs once per matrix at load time: plain C that compilers make wide, since it is
// most of what opening a model takes.
#include <math.h>

#include "../rows.h"
#include "panel.h"

size_t ck_column_multiple(ck_kind kind) { return ck_is_super(kind) ? 256 : 32; }

bool ck_has_codebook(ck_kind kind) { return ck_is_codebook(kind); }

size_t ck_panel_bytes(ck_kind kind, size_t columns) {
    const size_t blocks = columns / CK_BLOCK_COLUMNS;
    return ck_scale_bytes(kind, blocks) + blocks * ck_quant_bytes(kind);
}

/// Sets bits of four neighbouring bytes.
CK_INLINE void put_four(uint8_t *bytes, uint32_t bits) {
    uint32_t old;
    memcpy(&old, bytes, 4);
    old |= bits;
    memcpy(bytes, &old, 4);
}

/// `bits` is a constant wherever this is inlined. Four columns at a time: they lie in neighbouring bytes, and no value, moved
/// to its place, leaves its byte.
CK_INLINE void put_quants_of(const int bits, const uint8_t *q, size_t row, uint8_t *block) {
    block += 4 * row;
#pragma clang loop unroll(full)
    for (size_t group = 0; group < CK_BLOCK_COLUMNS / 4; group++) {
        uint32_t four;
        memcpy(&four, q + 4 * group, 4);
        if (bits == 8) {
            memcpy(block + 64 * group, &four, 4);
            continue;
        }
        if (bits < 4) {
            put_four(block + 64 * (group / 4), (four & 0x03030303) << (group % 4 * 2));
            if (bits == 3) put_four(block + 128, (four >> 2 & 0x01010101) << group);
            continue;
        }
        put_four(block + 64 * (group / 2), (four & 0x0F0F0F0F) << (group % 2 * 4));
        if (bits == 5) put_four(block + 256, (four >> 4 & 0x01010101) << group);
        if (bits == 6) put_four(block + 256 + 64 * (group / 4), (four >> 4 & 0x03030303) << (group % 4 * 2));
    }
}

/// Writes the 32 unsigned values of one row into a quants block that was zero.
static void put_quants(ck_kind kind, const uint8_t *q, size_t row, uint8_t *block) {
    switch (ck_bits(kind)) {
    case 2: put_quants_of(2, q, row, block); break;
    case 3: put_quants_of(3, q, row, block); break;
    case 4: put_quants_of(4, q, row, block); break;
    case 5: put_quants_of(5, q, row, block); break;
    case 6: put_quants_of(6, q, row, block); break;
    default: put_quants_of(8, q, row, block); break;
    }
}

/// Scale and minimum number `j` (0...7) of the 12 bytes that Q4_K and Q5_K share.
static void six_bit_pair(const uint8_t *s, size_t j, uint8_t *scale, uint8_t *minimum) {
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
    } else {
        *scale = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *minimum = (uint8_t)((s[j + 4] >> 4) | (s[j] >> 6) << 4);
    }
}

static void pack_simple(ck_kind kind, const uint8_t *in, size_t block, size_t row, uint8_t *scales, uint8_t *quants) {
    uint8_t q[CK_BLOCK_COLUMNS];
    const bool minimum = ck_has_minimum(kind);
    uint8_t *own = scales + block * (minimum ? 64 : 32);
    memcpy(own + 2 * row, in, 2);
    if (minimum) memcpy(own + 32 + 2 * row, in + 2, 2);
    const uint8_t *data = in + (minimum ? 4 : 2);
    if (kind == CK_Q8_0) {
        for (size_t c = 0; c < 32; c++) q[c] = (uint8_t)(data[c] ^ 0x80); // q + 128
    } else {
        const uint8_t *low = data + (ck_bits(kind) == 5 ? 4 : 0);
        for (size_t c = 0; c < 16; c++) {
            q[c] = low[c] & 15;
            q[c + 16] = low[c] >> 4;
        }
        if (ck_bits(kind) == 5)
            for (size_t c = 0; c < 32; c++) q[c] |= (uint8_t)((data[c / 8] >> (c % 8) & 1) << 4);
    }
    put_quants(kind, q, row, quants + block * ck_quant_bytes(kind));
}

static void pack_k(ck_kind kind, const uint8_t *in, size_t super, size_t row, uint8_t *scales, uint8_t *quants) {
    uint8_t *own = scales + super * ck_super_bytes(kind);
    memcpy(own + 2 * row, in, 2);
    memcpy(own + 32 + 2 * row, in + 2, 2);
    const uint8_t *high = in + 16, *low = in + (kind == CK_Q5_K ? 48 : 16);
    for (size_t j = 0; j < 8; j++) {
        uint8_t q[CK_BLOCK_COLUMNS];
        six_bit_pair(in + 4, j, own + 64 + 32 * j + row, own + 64 + 32 * j + 16 + row);
        for (size_t c = 0; c < 32; c++) {
            q[c] = (uint8_t)(low[32 * (j / 2) + c] >> (j % 2 * 4)) & 15;
            if (kind == CK_Q5_K) q[c] |= (uint8_t)((high[c] >> j & 1) << 4);
        }
        put_quants(kind, q, row, quants + (8 * super + j) * ck_quant_bytes(kind));
    }
}

static void pack_q6_k(const uint8_t *in, size_t super, size_t row, uint8_t *scales, uint8_t *quants) {
    uint8_t *own = scales + super * ck_super_bytes(CK_Q6_K);
    memcpy(own + 2 * row, in + 208, 2);
    for (size_t j = 0; j < 8; j++) {
        // Block j is quarter j % 4 of half j / 4 of the 256 values.
        const uint8_t *low = in + 64 * (j / 4) + 32 * (j % 2), *high = in + 128 + 32 * (j / 4);
        uint8_t q[CK_BLOCK_COLUMNS];
        for (size_t c = 0; c < 32; c++) {
            const uint8_t nibble = j % 4 < 2 ? low[c] & 15 : low[c] >> 4;
            q[c] = (uint8_t)(nibble | (high[c] >> (j % 4 * 2) & 3) << 4);
        }
        own[32 + 32 * j + row] = in[192 + 2 * j];
        own[32 + 32 * j + 16 + row] = in[192 + 2 * j + 1];
        put_quants(CK_Q6_K, q, row, quants + (8 * super + j) * ck_quant_bytes(CK_Q6_K));
    }
}

static void pack_q2_k(const uint8_t *in, size_t super, size_t row, uint8_t *scales, uint8_t *quants) {
    uint8_t *own = scales + super * ck_super_bytes(CK_Q2_K);
    memcpy(own + 2 * row, in + 80, 2);
    memcpy(own + 32 + 2 * row, in + 82, 2);
    own += 64 + row;
    for (size_t j = 0; j < 8; j++, own += 64) {
        // Block j is bits 2 (j % 4) of the 32 bytes of half j / 4 of the 256 values.
        const uint8_t *low = in + 16 + 32 * (j / 4);
        uint8_t q[CK_BLOCK_COLUMNS];
        for (size_t c = 0; c < 32; c++) q[c] = (uint8_t)(low[c] >> (j % 4 * 2)) & 3;
        for (size_t half = 0; half < 2; half++) {
            own[16 * half] = in[2 * j + half] & 15;
            own[32 + 16 * half] = in[2 * j + half] >> 4;
        }
        put_quants(CK_Q2_K, q, row, quants + (8 * super + j) * ck_quant_bytes(CK_Q2_K));
    }
}

void ck_pack_transposed(const float *source, size_t stride, size_t row_count, size_t first_block, size_t block_count,
                        size_t blocks, uint8_t *panel) {
    uint8_t *quants = panel + ck_scale_bytes(CK_T6, blocks);
    for (size_t b = 0; b < block_count; b++, source += CK_BLOCK_COLUMNS * stride) {
        float largest[CK_PANEL_ROWS] = {0}, scale[CK_PANEL_ROWS];
        for (size_t c = 0; c < CK_BLOCK_COLUMNS; c++)
            for (size_t r = 0; r < row_count; r++) {
                const float magnitude = fabsf(source[c * stride + r]);
                largest[r] = magnitude > largest[r] ? magnitude : largest[r];
            }
        uint16_t narrow[CK_PANEL_ROWS];
        for (size_t r = 0; r < CK_PANEL_ROWS; r++) scale[r] = largest[r] / 32;
        ck_row_portable.float_to_half(scale, narrow, CK_PANEL_ROWS);
        memcpy(panel + (first_block + b) * ck_plain_bytes(CK_T6), narrow, sizeof narrow);
        uint8_t *block = quants + (first_block + b) * ck_quant_bytes(CK_T6);
        for (size_t r = 0; r < row_count; r++) {
            const float rounded = ck_half(narrow[r]), inverse = rounded > 0 ? 1 / rounded : 0;
            for (size_t c = 0; c < CK_BLOCK_COLUMNS; c++) {
                float q = rintf(source[c * stride + r] * inverse);
                q = q > 32 ? 32 : q >= -32 ? q : -32; // NaN too
                block[64 * (c / 4) + 4 * r + c % 4] = (uint8_t)((int)q + 32);
            }
        }
    }
}

void ck_pack_panel(ck_kind kind, const uint8_t *rows, size_t row_bytes, size_t row_count, size_t columns,
                   uint8_t *panel) {
    const size_t blocks = columns / CK_BLOCK_COLUMNS;
    uint8_t *scales = panel, *quants = panel + ck_scale_bytes(kind, blocks);
    memset(panel, 0, ck_panel_bytes(kind, columns));
    for (size_t row = 0; row < row_count && row < CK_PANEL_ROWS; row++) {
        const uint8_t *in = rows + row * row_bytes;
        const size_t units = blocks / (ck_is_super(kind) ? 8 : 1), size = row_bytes / units;
        for (size_t u = 0; u < units; u++, in += size) {
            if (kind == CK_Q6_K) pack_q6_k(in, u, row, scales, quants);
            else if (kind == CK_Q2_K) pack_q2_k(in, u, row, scales, quants);
            else if (ck_is_super(kind)) pack_k(kind, in, u, row, scales, quants);
            else pack_simple(kind, in, u, row, scales, quants);
        }
    }
}

void ck_pack_codebook_row(ck_kind kind, const int8_t codebook[16], const float *values, const float *super_scales,
                          const int8_t *steps, const float *scales, size_t columns, size_t row, uint8_t *panel) {
    const size_t blocks = columns / CK_BLOCK_COLUMNS;
    uint8_t *quants = panel + ck_scale_bytes(kind, blocks);
    uint8_t entry_of[256] = {0};
    for (size_t i = (size_t)1 << ck_bits(kind); i-- > 0;) entry_of[(uint8_t)codebook[i]] = (uint8_t)i;
    for (size_t b = 0; b < blocks; b++, values += CK_BLOCK_COLUMNS, quants += ck_quant_bytes(kind)) {
        float scale[2];
        if (ck_is_super(kind)) {
            uint8_t *super = panel + b / 8 * ck_super_bytes(kind);
            uint8_t *own = super + ck_super_head(kind) + b % 8 * ck_super_own(kind);
            memcpy(super + 4 * row, super_scales + b / 8, 4);
            for (size_t half = 0; half < 2; half++) {
                own[16 * half + row] = (uint8_t)steps[2 * b + half];
                scale[half] = super_scales[b / 8] * (float)steps[2 * b + half];
            }
        } else if (kind == CK_C4_FLOAT) {
            for (size_t half = 0; half < 2; half++) {
                scale[half] = scales[2 * b + half];
                memcpy(panel + b * 128 + 64 * half + 4 * row, scale + half, 4);
            }
        } else {
            scale[0] = scale[1] = scales[b];
            uint16_t narrow;
            ck_row_portable.float_to_half(scales + b, &narrow, 1);
            memcpy(panel + b * 32 + 2 * row, &narrow, 2);
        }
        uint8_t q[CK_BLOCK_COLUMNS];
        for (size_t c = 0; c < CK_BLOCK_COLUMNS; c++) {
            const float level = values[c] / scale[c / 16]; // exact, or not a number where the scale is 0 or not finite
            q[c] = level >= -128 && level <= 127 ? entry_of[(uint8_t)(int8_t)level] : 0;
        }
        put_quants(kind, q, row, quants);
    }
}

/// `kind` is a constant wherever this is inlined.
CK_INLINE void unpack_row_of(const ck_kind kind, const ck_matrix *matrix, size_t row, float *out) {
    const size_t blocks = matrix->columns / CK_BLOCK_COLUMNS, r = row % CK_PANEL_ROWS;
    const uint8_t *panel = matrix->panels + row / CK_PANEL_ROWS * matrix->panel_bytes;
    const uint8_t *quants = panel + ck_scale_bytes(kind, blocks);
    for (size_t b = 0; b < blocks; b++, quants += ck_quant_bytes(kind), out += CK_BLOCK_COLUMNS) {
        float scale[2], minimum[2];
        ck_read_row_scales(kind, panel, b, r, scale, minimum);
#pragma clang loop unroll(full)
        for (size_t c = 0; c < CK_BLOCK_COLUMNS; c++) {
            const int q = ck_read_quant(kind, quants, r, c);
            const float value = scale[c / 16] * (float)(ck_is_codebook(kind) ? matrix->codebook[q] : q - ck_offset(kind));
            out[c] = ck_has_minimum(kind) ? value + minimum[c / 16] : value;
        }
    }
}

void ck_unpack_row(const ck_matrix *matrix, size_t row, float *out) {
    switch (matrix->kind) {
#define CASE(kind) case CK_##kind: unpack_row_of(CK_##kind, matrix, row, out); break;
        CK_EACH_KIND(CASE)
#undef CASE
    case CK_KIND_COUNT: break;
    }
}
