// Compares every row of the kernel table that this processor can run with the portable row and with plain loops in double
// precision. Built for a processor that is not at hand and run under an emulator (`run.sh`), it tests that processor's row.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static uint64_t state = 42;
static uint64_t next(void) { // SplitMix64
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static float uniform(float scale) { return ((float)(next() >> 40) * 0x1p-23f - 1) * scale; }
static void *memory(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64) != 0) exit(2);
    memset(p, 0, bytes + 64);
    return p;
}
static float *floats(size_t n, float scale) {
    float *p = memory(4 * n);
    for (size_t i = 0; i < n; i++) p[i] = uniform(scale);
    return p;
}

static int failures = 0, checks = 0;
static void check(const char *row, const char *what, const float *actual, const double *expected,
                  const double *magnitudes, double tolerance, size_t n) {
    checks++;
    for (size_t i = 0; i < n; i++)
        if (!(fabs(actual[i] - expected[i]) <= tolerance * magnitudes[i] + 1e-30)) {
            printf("%s, %s, element %zu: %.9g for %.9g\n", row, what, i, (double)actual[i], expected[i]);
            failures++;
            return;
        }
}
/// Against what the portable row gave, of numbers about as large as 1: small ones may be what two large ones leave.
static void check_same(const char *row, const char *what, const float *actual, const float *expected, double tolerance,
                       size_t n) {
    double *values = memory(8 * n), *magnitudes = memory(8 * n);
    for (size_t i = 0; i < n; i++) values[i] = expected[i], magnitudes[i] = fabs((double)expected[i]) + 0.1;
    check(row, what, actual, values, magnitudes, tolerance, n);
    free(values), free(magnitudes);
}

static const char *const kind_names[CK_KIND_COUNT] = {
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "Q2_K", "C2", "C3", "C4", "C4_BLOCK", "C4_FLOAT", "T6"};

/// A matrix of random weights, packed as a model file's would be.
static ck_matrix random_matrix(ck_kind kind, size_t rows, size_t columns) {
    static const size_t block_bytes[] = {18, 20, 22, 24, 34, 144, 176, 210, 84};
    const size_t panels = (rows + CK_PANEL_ROWS - 1) / CK_PANEL_ROWS, size = ck_panel_bytes(kind, columns);
    uint8_t *memory_of_panels = memory(panels * size + 8192);
    ck_matrix m = {.kind = kind, .rows = rows, .columns = columns, .panel_bytes = size, .panels = memory_of_panels};
    if (kind == CK_T6) {
        float *in = memory(4 * rows * columns);
        for (size_t i = 0; i < rows * columns; i++) in[i] = uniform(0.5f);
        for (size_t p = 0; p < panels; p++) {
            const size_t left = rows - p * CK_PANEL_ROWS, blocks = columns / 32;
            ck_pack_transposed(in + p * CK_PANEL_ROWS, rows, left < 16 ? left : 16, 0, blocks, blocks,
                               memory_of_panels + p * size);
        }
        free(in);
        return m;
    }
    if (!ck_has_codebook(kind)) {
        const size_t multiple = ck_column_multiple(kind), units = columns / multiple, bytes = block_bytes[kind];
        uint8_t *in = memory(rows * units * bytes);
        for (size_t i = 0; i < rows * units * bytes; i++) in[i] = (uint8_t)next();
        for (size_t i = 0; i < rows * units; i++) { // moderate scales: F16 numbers between 2^-8 and 2^-6
            uint8_t *block = in + i * bytes;
            const size_t at = kind == CK_Q6_K ? 208 : kind == CK_Q2_K ? 80 : 0;
            block[at + 1] = (uint8_t)(0x1c | (next() & 0x83));
            if (kind == CK_Q4_1 || kind == CK_Q5_1 || kind == CK_Q4_K || kind == CK_Q5_K || kind == CK_Q2_K)
                block[at + 3] = (uint8_t)(0x1c | (next() & 0x83));
        }
        for (size_t p = 0; p < panels; p++) {
            const size_t left = rows - p * CK_PANEL_ROWS, row_bytes = units * bytes;
            ck_pack_panel(kind, in + p * CK_PANEL_ROWS * row_bytes, row_bytes, left < 16 ? left : 16, columns,
                          memory_of_panels + p * size);
        }
        free(in);
        return m;
    }
    const int entries = kind == CK_C2 ? 4 : kind == CK_C3 ? 8 : 16;
    for (int i = 0; i < entries; i++) m.codebook[i] = (int8_t)(i * 254 / (entries - 1) - 127);
    float *values = memory(4 * columns), *supers = memory(4 * columns), *scales = memory(4 * columns);
    int8_t *steps = memory(columns);
    for (size_t r = 0; r < rows; r++) {
        for (size_t g = 0; g < columns / 16; g++) {
            const size_t place = kind == CK_C4_BLOCK ? g / 2 : g;
            if (kind != CK_C4_BLOCK || g % 2 == 0) scales[place] = (float)(next() % 255) * 0x1p-14f;
            if (g % 16 == 0) supers[g / 16] = uniform(0.01f);
            steps[g] = (int8_t)((int)(next() % 255) - 127);
            const float scale = kind <= CK_C4 ? supers[g / 16] * (float)steps[g] : scales[place];
            for (size_t c = 0; c < 16; c++) values[16 * g + c] = scale * (float)m.codebook[next() % (size_t)entries];
        }
        ck_pack_codebook_row(kind, m.codebook, values, supers, steps, scales, columns, r % 16,
                             memory_of_panels + r / 16 * size);
    }
    free(values), free(supers), free(scales), free(steps);
    return m;
}

static ck_activations quantized(const ck_table_row *row, const float *x, size_t tokens, size_t columns) {
    const size_t sides = tokens * columns / 32;
    ck_activations a = {
        .tokens = tokens, .columns = columns, .max_tile = row->max_tile, .q = memory(tokens * columns),
        .scale = memory(4 * sides), .scaled_sum = memory(4 * sides), .start8 = memory(4 * sides),
        .start16 = memory(4 * sides), .start128 = memory(4 * sides), .start32 = memory(8 * sides)};
    for (size_t t = 0; t < tokens; t++) row->quantize_row(x + t * columns, &a, t);
    return a;
}
static void release(ck_activations a) {
    free(a.q), free(a.scale), free(a.scaled_sum), free(a.start8), free(a.start16), free(a.start128), free(a.start32);
}

static void products(const ck_table_row *row) {
    for (int kind = 0; kind < CK_KIND_COUNT; kind++) {
        const size_t multiple = ck_column_multiple((ck_kind)kind);
        for (size_t width = 1; width <= 3; width += 2)
            for (size_t rows = 1; rows <= 37; rows += 12) {
                const size_t columns = width * multiple;
                ck_matrix m = random_matrix((ck_kind)kind, rows, columns);
                float *weights = memory(4 * rows * columns);
                for (size_t r = 0; r < rows; r++) ck_unpack_row(&m, r, weights + r * columns);
                for (size_t tokens = 1; tokens <= 35; tokens += 1 + tokens / 2) {
                    float *x = floats(tokens * columns, 2), *out = memory(4 * tokens * rows);
                    double *expected = memory(8 * tokens * rows), *magnitudes = memory(8 * tokens * rows);
                    ck_activations a = quantized(row, x, tokens, columns);
                    for (size_t t = 0; t < tokens; t++)
                        for (size_t r = 0; r < rows; r++) {
                            double sum = 0, magnitude = 1e-6;
                            for (size_t c = 0; c < columns; c++) {
                                float largest = 0; // the int8 form by its definition
                                for (size_t i = c / 32 * 32; i < c / 32 * 32 + 32; i++)
                                    largest = fmaxf(largest, fabsf(x[t * columns + i]));
                                const float value = (largest / 127) * rintf(x[t * columns + c] * (127 / largest));
                                sum += (double)value * weights[r * columns + c];
                                magnitude += 16 * fabs((double)value * weights[r * columns + c]);
                            }
                            expected[t * rows + r] = sum, magnitudes[t * rows + r] = magnitude;
                        }
                    row->product(&m, 0, (rows + 15) / 16, &a, 0, tokens, out, rows, false);
                    check(row->name, kind_names[kind], out, expected, magnitudes, 4e-6, tokens * rows);
                    release(a), free(x), free(out), free(expected), free(magnitudes);
                }
                free(weights), free((void *)m.panels);
            }
    }
}

static void word_products(const ck_table_row *row) {
    if (row->word_rows == NULL) return;
    const uint64_t before = state; // the numbers of what comes after stay the same in every row
    for (int element = CK_ELEMENT_F16; element <= CK_ELEMENT_BF16; element++)
        for (size_t columns = 32; columns <= 96; columns += 32)
            for (size_t rows = 1; rows <= 37; rows += 12)
                for (size_t tokens = 1; tokens <= 35; tokens += 1 + tokens / 2) {
                    const size_t tiles = (tokens + CK_WORD_TILE - 1) / CK_WORD_TILE;
                    float *x = floats(tokens * columns, 2), *w = floats(rows * columns, 1), *out = memory(4 * tokens * rows);
                    uint16_t *weights = memory(2 * rows * columns);
                    if (element == CK_ELEMENT_F16) {
                        row->float_to_half(w, weights, rows * columns);
                        row->half_to_float(weights, w, rows * columns);
                    } else {
                        for (size_t i = 0; i < rows * columns; i++) {
                            uint32_t b;
                            memcpy(&b, w + i, 4);
                            weights[i] = (uint16_t)(b >> 16);
                        }
                        row->bfloat_to_float(weights, w, rows * columns);
                    }
                    double *expected = memory(8 * tokens * rows), *magnitudes = memory(8 * tokens * rows);
                    for (size_t i = 0; i < tokens * rows; i++)
                        for (size_t c = 0; c < columns; c++) {
                            expected[i] += (double)x[i / rows * columns + c] * w[i % rows * columns + c];
                            magnitudes[i] += 2; // of the largest numbers, whose 8191st parts are the steps
                        }
                    ck_words a = {.columns = columns, .words = memory(2 * tiles * CK_WORD_TILE * columns),
                                  .scale = memory(tiles * CK_WORD_TILE * columns / 8)};
                    void *scratch = memory(ck_word_scratch(columns));
                    for (size_t t = 0; t < tokens; t++) row->words_of_row(x + t * columns, &a, t);
                    row->word_rows(weights, element, columns, 0, rows, &a, 0, tokens, out, rows, false, scratch);
                    check(row->name, "word_rows", out, expected, magnitudes, 0.5 / 8191, tokens * rows);
                    free(x), free(w), free(out), free(weights), free(expected), free(magnitudes), free(a.words);
                    free(a.scale), free(scratch);
                }
    state = before;
}

static void operations(const ck_table_row *row) {
    const ck_table_row *base = ck_available_row(0);
    for (size_t n = 1; n < 200; n += 1 + n / 3) {
        float *x = floats(n, 3), *y = floats(n, 3), *w = floats(n, 1), *a = memory(4 * n), *b = memory(4 * n);
#define SAME(label, call)                                                                                              \
    {                                                                                                                 \
        const ck_table_row *r = base;                                                                                 \
        float *o = b;                                                                                                 \
        memcpy(o, y, 4 * n);                                                                                          \
        call;                                                                                                         \
        r = row, o = a;                                                                                               \
        memcpy(o, y, 4 * n);                                                                                          \
        call;                                                                                                         \
        check_same(row->name, label, a, b, 2e-6, n);                                                                  \
    }
        SAME("rms_norm", r->rms_norm(x, w, 1e-5f, o, n))
        SAME("layer_norm", r->layer_norm(x, w, y, 1e-5f, o, n))
        SAME("rms_norm_backward", r->rms_norm_backward(x, w, 1e-5f, y, o, n))
        SAME("swiglu", r->swiglu(x, y, o, n))
        SAME("activate", r->activate(CK_GELU, x, y, o, n))
        SAME("softmax", r->softmax(o, n))
        SAME("axpy", r->axpy(0.5f, x, o, n))
        SAME("scale", r->scale(0.5f, o, n))
        SAME("add", r->add(x, o, n))
        SAME("dot", o[0] = r->dot(x, y, n))
        SAME("log_sum_exp", o[0] = r->log_sum_exp(x, n))
        SAME("max_abs", o[0] = r->max_abs(x, n))
        SAME("argmax", o[0] = (float)r->argmax(x, n))
        uint16_t *halves = memory(2 * n);
        base->float_to_half(x, halves, n);
        SAME("half_to_float", r->half_to_float(halves, o, n))
        SAME("float_to_half", { uint16_t *h = memory(2 * n); r->float_to_half(x, h, n); base->half_to_float(h, o, n); free(h); })
        free(x), free(y), free(w), free(a), free(b), free(halves);
    }
    for (size_t m = 1; m < 40; m += 7)
        for (size_t k = 1; k < 90; k += 29) {
            const size_t n = 2 * m + 3;
            float *a = floats(m * k, 1), *b = floats(n * k, 1), *c = memory(4 * m * n);
            double *expected = memory(8 * m * n), *magnitudes = memory(8 * m * n);
            float *scratch = memory(4 * ck_sgemm_scratch());
            for (size_t i = 0; i < m * n; i++)
                for (size_t j = 0; j < k; j++) {
                    const double product = (double)a[i / n * k + j] * b[i % n * k + j];
                    expected[i] += product;
                    magnitudes[i] += fabs(product);
                }
            row->sgemm(false, true, m, n, k, 1, a, k, b, k, 0, c, n, scratch);
            check(row->name, "sgemm", c, expected, magnitudes, 1e-6, m * n);
            row->float_rows(b, CK_ELEMENT_F32, k, 0, n, a, k, m, c, n, false);
            check(row->name, "float_rows", c, expected, magnitudes, 1e-6, m * n);
            free(a), free(b), free(c), free(expected), free(magnitudes), free(scratch);
        }
}

int main(int count, char **names) {
    int tested = 0;
    for (size_t i = 0; ck_available_row(i) != NULL; i++) {
        const ck_table_row *row = ck_available_row(i);
        products(row);
        operations(row);
        word_products(row);
        printf("%s: %d checks so far, %d failures\n", row->name, checks, failures);
        for (int n = 1; n < count; n++) tested += strcmp(names[n], row->name) == 0;
    }
    if (tested != count - 1) {
        printf("a row that was asked for cannot run here\n");
        return 1;
    }
    return failures != 0;
}
