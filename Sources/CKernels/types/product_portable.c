// The quantized product, portable: the definition that the faster rows must match in every integer.
#include "panel.h"
#include "../rows.h"

static void unpack_block(ck_kind kind, const ck_matrix *matrix, const uint8_t *block, int16_t *w) { // [group][row][4]
    for (size_t g = 0; g < 8; g++)
        for (size_t r = 0; r < CK_PANEL_ROWS; r++)
            for (size_t c = 0; c < 4; c++) {
                const int q = ck_read_quant(kind, block, r, 4 * g + c);
                w[64 * g + 4 * r + c] = (int16_t)(ck_is_codebook(kind) ? matrix->codebook[q] : q - ck_offset(kind));
            }
}

void ck_product_portable(const ck_matrix *matrix, size_t first_panel, size_t end_panel, const ck_activations *a,
                         size_t first_token, size_t end_token, float *out, size_t out_stride, bool accumulate) {
    const ck_kind kind = matrix->kind;
    const size_t blocks = matrix->columns / CK_BLOCK_COLUMNS;
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
                int16_t w[512];
                ck_read_scales(kind, panel, b, &s);
                unpack_block(kind, matrix, quants, w);
                for (size_t t = 0; t < width; t++) {
                    const int8_t *q = a->q + t0 * a->columns + (b * width + t) * CK_BLOCK_COLUMNS;
                    const size_t side = t0 * blocks + b * width + t;
                    const float scale = a->scale[side], scaled_sum = a->scaled_sum[side];
                    int32_t dot[2][CK_PANEL_ROWS] = {{0}};
                    for (size_t g = 0; g < 8; g++)
                        for (size_t r = 0; r < CK_PANEL_ROWS; r++)
                            for (size_t c = 0; c < 4; c++)
                                dot[g / 4][r] += w[64 * g + 4 * r + c] * q[4 * g + c];
                    for (size_t r = 0; r < CK_PANEL_ROWS; r++) {
                        if (ck_has_halves(kind)) {
                            sums[t][r] += (float)dot[0][r] * (s.scale[0][r] * scale);
                            sums[t][r] += (float)dot[1][r] * (s.scale[1][r] * scale);
                            if (ck_has_minimum(kind)) {
                                const int32_t *start = a->start32 + 2 * (t0 * blocks + b * width) + t;
                                sums[t][r] += s.minimum[0][r] * ck_half_sum(start[0], scale);
                                sums[t][r] += s.minimum[1][r] * ck_half_sum(start[width], scale);
                            }
                        } else {
                            sums[t][r] += (float)(dot[0][r] + dot[1][r]) * (s.scale[0][r] * scale);
                            if (ck_has_minimum(kind)) sums[t][r] += s.minimum[0][r] * scaled_sum;
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
