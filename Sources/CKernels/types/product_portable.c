// The quantized product, portable: the definition that the faster rows must match in every integer.
#include "panel.h"
#include "../rows.h"

static void unpack_block(ck_kind kind, const uint8_t *block, uint8_t *w) { // [group][row][4]
    const int bits = ck_bits(kind);
    if (bits == 8) {
        memcpy(w, block, 512);
        return;
    }
    for (size_t g = 0; g < 8; g++)
        for (size_t i = 0; i < 64; i++) {
            uint8_t q = (uint8_t)(block[64 * (g / 2) + i] >> (g % 2 * 4)) & 15;
            if (bits == 5) q |= (uint8_t)((block[256 + i] >> g & 1) << 4);
            if (bits == 6) q |= (uint8_t)((block[256 + 64 * (g / 4) + i] >> (g % 4 * 2) & 3) << 4);
            w[64 * g + i] = q;
        }
}

void ck_product_portable(const ck_matrix *matrix, size_t first_panel, size_t end_panel, const ck_activations *a,
                         size_t first_token, size_t end_token, float *out, size_t out_stride, bool accumulate) {
    const ck_kind kind = matrix->kind;
    const size_t blocks = matrix->columns / CK_BLOCK_COLUMNS;
    const int offset = ck_offset(kind);
    for (size_t p = first_panel; p < end_panel; p++) {
        const uint8_t *panel = matrix->panels + p * matrix->panel_bytes;
        const size_t rows = matrix->rows - p * CK_PANEL_ROWS < CK_PANEL_ROWS ? matrix->rows - p * CK_PANEL_ROWS
                                                                            : CK_PANEL_ROWS;
        for (size_t t0 = first_token; t0 < end_token;) {
            const size_t width = ck_tile_width(end_token - t0, a->max_tile);
            float sums[CK_MAX_TILE][CK_PANEL_ROWS] = {{0}};
            const uint8_t *quants = panel + ck_scale_bytes(kind, blocks);
            for (size_t b = 0; b < blocks; b++, quants += ck_quant_bytes(kind)) {
                ck_block_scales s;
                uint8_t w[512];
                ck_read_scales(kind, panel, b, &s);
                unpack_block(kind, quants, w);
                for (size_t t = 0; t < width; t++) {
                    const int8_t *q = a->q + t0 * a->columns + (b * width + t) * CK_BLOCK_COLUMNS;
                    const size_t side = t0 * blocks + b * width + t;
                    const float scale = a->scale[side], scaled_sum = a->scaled_sum[side];
                    int32_t dot[2][CK_PANEL_ROWS] = {{0}};
                    for (size_t g = 0; g < 8; g++)
                        for (size_t r = 0; r < CK_PANEL_ROWS; r++)
                            for (size_t c = 0; c < 4; c++)
                                dot[g / 4][r] += (w[64 * g + 4 * r + c] - offset) * q[4 * g + c];
                    for (size_t r = 0; r < CK_PANEL_ROWS; r++) {
                        if (kind == CK_Q6_K) {
                            sums[t][r] += (float)dot[0][r] * (s.scale[0][r] * scale);
                            sums[t][r] += (float)dot[1][r] * (s.scale[1][r] * scale);
                        } else {
                            sums[t][r] += (float)(dot[0][r] + dot[1][r]) * (s.scale[0][r] * scale);
                            if (ck_has_minimum(kind)) sums[t][r] += s.minimum[r] * scaled_sum;
                        }
                    }
                }
            }
            for (size_t t = 0; t < width; t++) {
                float *row = out + (t0 + t) * out_stride + p * CK_PANEL_ROWS;
                for (size_t r = 0; r < rows; r++) row[r] = accumulate ? row[r] + sums[t][r] : sums[t][r];
            }
            t0 += width;
        }
    }
}
