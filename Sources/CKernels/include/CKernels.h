// The numerical kernels of Incipit behind one table of function pointers.
//
// Each row of the table (portable, AVX2, AVX-512) implements the same operations; `ck_table` picks the best one that
// the processor and the operating system support. Every row computes the same integers; float results differ between
// rows only by the rounding of the accumulation. Nothing here allocates, locks or reports errors: callers check shapes.
#ifndef INCIPIT_CKERNELS_H
#define INCIPIT_CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// MARK: - Quantized weights in panels

/// Rows of a panel. The last panel of a matrix is padded with rows of zero scale.
#define CK_PANEL_ROWS 16
/// Columns of a block: the width that shares one scale (two halves share one block in Q6_K).
#define CK_BLOCK_COLUMNS 32
/// The widest tile of tokens of any row of the table.
#define CK_MAX_TILE 16

/// How the weights of a matrix are stored. Most kinds are affine: weight = scale * (q - offset) + minimum. Those with a
/// codebook look q up in the matrix's own table of integers: weight = scale * codebook[q].
typedef enum ck_kind {
    CK_Q4_0 = 0, ///< 4 bits, offset 8
    CK_Q4_1 = 1, ///< 4 bits, minimum
    CK_Q5_0 = 2, ///< 5 bits, offset 16
    CK_Q5_1 = 3, ///< 5 bits, minimum
    CK_Q8_0 = 4, ///< 8 bits, offset 128
    CK_Q4_K = 5, ///< 4 bits, scale and minimum are 6-bit multiples of one pair per 256 columns
    CK_Q5_K = 6, ///< 5 bits, as Q4_K
    CK_Q6_K = 7, ///< 6 bits, offset 32, one signed 8-bit scale per 16 columns
    CK_Q2_K = 8, ///< 2 bits, scale and minimum are 4-bit multiples of one pair per 256 columns, for every 16 columns
    CK_C2 = 9,   ///< 2 bits of a codebook, one signed 8-bit multiple of a float per 256 columns, for every 16 columns
    CK_C3 = 10,  ///< 3 bits, as C2
    CK_C4 = 11,  ///< 4 bits, as C2
    CK_C4_BLOCK = 12, ///< 4 bits of a codebook, an F16 scale per 32 columns
    CK_C4_FLOAT = 13, ///< 4 bits of a codebook, an F32 scale per 16 columns
    CK_T6 = 14,       ///< 65 levels in bytes, offset 32; of no file: what training's backward products read
    CK_KIND_COUNT = 15
} ck_kind;

/// A matrix of quantized weights, repacked for the product (see types/panel.h for the byte layout).
typedef struct ck_matrix {
    ck_kind kind;
    size_t rows, columns;
    size_t panel_bytes; ///< distance between panels, a multiple of 64
    const uint8_t *panels;
    int8_t codebook[16]; ///< of the kinds that have one
} ck_matrix;

/// Bytes of one panel of a matrix with this many columns. `columns` must be a multiple of `ck_column_multiple(kind)`.
size_t ck_panel_bytes(ck_kind kind, size_t columns);
/// 32, or 256 for the kinds with scales of scales.
size_t ck_column_multiple(ck_kind kind);
/// True of the kinds whose matrices have a codebook.
bool ck_has_codebook(ck_kind kind);
/// Repacks up to 16 rows of the file's layout, `row_bytes` apart, into the panel at `panel` (64-byte aligned,
/// `ck_panel_bytes` long). For the kinds without a codebook, which are named after the type of the file.
void ck_pack_panel(ck_kind kind, const uint8_t *rows, size_t row_bytes, size_t row_count, size_t columns,
                   uint8_t *panel);
/// Packs one row for a kind with a codebook from its decoded values; the panel must be zero where the row goes.
///
/// - `super_scales`: one per 256 columns for C2, C3, C4, else unused
/// - `steps`: a multiple of the super scale per 16 columns, for the same kinds
/// - `scales`: for C4_BLOCK one per 32 columns, for C4_FLOAT one per 16, else unused
///
/// Every value must be its scale times a number of the codebook; one that is not becomes entry 0.
void ck_pack_codebook_row(ck_kind kind, const int8_t codebook[16], const float *values, const float *super_scales,
                          const int8_t *steps, const float *scales, size_t columns, size_t row, uint8_t *panel);
/// Rounds columns of a row-major float matrix into rows of a panel of kind T6 (memory that was zero): weight (c, r) of
/// the source, rows `stride` apart, becomes column c of row r, for `row_count` (up to 16) rows and the `block_count`
/// blocks of 32 columns from `first_block` of `blocks` on. `source` is where column 32 * first_block begins.
void ck_pack_transposed(const float *source, size_t stride, size_t row_count, size_t first_block, size_t block_count,
                        size_t blocks, uint8_t *panel);
/// Decodes one row back to floats, exactly as the file's format defines the value.
void ck_unpack_row(const ck_matrix *matrix, size_t row, float *out);

// MARK: - Activations

/// Activations as int8 with one scale per 32 columns.
///
/// Tokens are stored in tiles whose widths are the greedy powers of two of the token count (`ck_tile_width`). A tile
/// that starts at token t lies at `q + t * columns` as [block][token in tile][32], and in each side array at
/// `t * blocks` as [block][token in tile].
typedef struct ck_activations {
    size_t tokens, columns;
    size_t max_tile;
    int8_t *q;
    float *scale;       ///< x is about scale * q
    float *scaled_sum;  ///< scale * (sum of q)
    int32_t *start8;    ///< -8 * (sum of q): what an accumulator starts at when the weights have offset 8
    int32_t *start16;
    int32_t *start128;
    int32_t *start32;   ///< -32 * (sum of q over 16 columns), as [block][half][token in tile] at 2 * t * blocks
} ck_activations;

/// Width of the tile that starts when `remaining` tokens are left.
static inline size_t ck_tile_width(size_t remaining, size_t max_tile) {
    size_t width = max_tile;
    while (width > remaining) width >>= 1;
    return width;
}

/// Activations as 14-bit integers with one scale per 32 columns, for products with F16 and BF16 weights.
///
/// Tokens are stored in tiles of CK_WORD_TILE, the last one whole, as [tile][block][token in tile][32].
typedef struct ck_words {
    size_t columns; ///< a multiple of 32
    int16_t *words;
    float *scale;   ///< x is about scale * word; [tile][block][token in tile]
} ck_words;

#define CK_WORD_TILE 8
/// The largest word: 32 * 8191 * 8191 is below 2^31.
#define CK_WORD_LEVELS 8191.0f

// MARK: - Attention

/// How the elements of cached keys and values are stored.
typedef enum ck_cache_type {
    CK_CACHE_F32 = 0,
    CK_CACHE_F16 = 1,
    CK_CACHE_Q8_0 = 2 ///< head_dimension int8, then an F16 scale for each 32 of them; the dimension is a multiple of 32
} ck_cache_type;

/// Bytes of one head of one slot.
static inline size_t ck_cache_row_bytes(ck_cache_type type, size_t head_dimension) {
    return type == CK_CACHE_F32 ? 4 * head_dimension
           : type == CK_CACHE_F16 ? 2 * head_dimension
                                  : head_dimension + head_dimension / 32 * 2;
}

/// Consecutive slots of one layer. Keys and values: [key_value_head][capacity][row].
typedef struct ck_cache_page {
    const void *keys, *values; ///< NULL once the window has left them behind
    size_t first;              ///< its first slot
    size_t count;              ///< slots up to the next page
    size_t capacity;           ///< slots from one head to the next, at least `count`
} ck_cache_page;

/// Shapes and pointers of one attention call.
typedef struct ck_attention {
    const float *queries; ///< (tokens, head_count * head_dimension), row stride `query_stride`
    float *out;           ///< the same shape, row stride `out_stride`
    const ck_cache_page *pages; ///< in order of slots, without gaps
    size_t page_count;
    ck_cache_type type;
    size_t query_stride, out_stride;
    size_t head_dimension, head_count, key_value_head_count;
    size_t past, tokens;  ///< query t sees slots 0 ... past + t
    float scale;
    float soft_cap;       ///< scores become cap * tanh(score / cap); 0: they stay
    size_t window;        ///< query t sees its last `window` slots only, its own included; 0: all
} ck_attention;

/// Queries of one tile of `attention_tile`, and the scratch floats it needs.
size_t ck_attention_tile_tokens(const ck_attention *a);
size_t ck_attention_tile_scratch(const ck_attention *a);
/// Floats of one partial result of `attention_range`: per head of the group maximum, sum and head_dimension values.
size_t ck_attention_partial_floats(const ck_attention *a);
/// Keys of one `attention_range` task. Fixed, so that the result does not depend on the number of threads.
#define CK_ATTENTION_RANGE 256

// MARK: - Activation functions

/// The function of a feed-forward network.
typedef enum ck_activation {
    CK_SILU = 0,      ///< x / (1 + e^-x)
    CK_GELU_TANH = 1, ///< x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
    CK_GELU = 2       ///< x / 2 * (1 + erf(x / sqrt 2))
} ck_activation;

// MARK: - The table

typedef struct ck_table_row {
    const char *name; ///< "portable", "avx2" or "avx512"
    size_t max_tile;  ///< widest tile of tokens of `product`

    /// out[t, r] (+)= sum over c of activation[t, c] * weight[r, c] for panels and tokens in the given ranges.
    /// `first_token` is a multiple of `max_tile`, `end_token` too unless it is the token count.
    void (*product)(const ck_matrix *matrix, size_t first_panel, size_t end_panel, const ck_activations *activations,
                    size_t first_token, size_t end_token, float *out, size_t out_stride, bool accumulate);
    /// Same for row-major float weights: element size 4 (F32) or 2 (F16, or BF16 when `bfloat`).
    void (*float_rows)(const void *weights, int element, size_t columns, size_t first_row, size_t end_row,
                       const float *x, size_t x_stride, size_t tokens, float *out, size_t out_stride, bool accumulate);
    /// out[t, r] (+)= sum over c of x[t, c] * weight[r, c] for row-major F16 or BF16 weights and many tokens, both sides
    /// rounded to 14 bits. `first_token` is a multiple of CK_WORD_TILE, `columns` of 32; `scratch` has
    /// `ck_word_scratch(columns)` bytes, 64-byte aligned. NULL in rows where F32 products are as fast.
    void (*word_rows)(const void *weights, int element, size_t columns, size_t first_row, size_t end_row,
                      const ck_words *activations, size_t first_token, size_t end_token, float *out, size_t out_stride,
                      bool accumulate, void *scratch);
    /// The words of token `token` of `activations` from one row of floats.
    void (*words_of_row)(const float *x, const ck_words *activations, size_t token);
    /// The int8 form of token `token` of `activations` from one row of floats.
    void (*quantize_row)(const float *x, const ck_activations *activations, size_t token);
    /// The int8 form of what `activations`, already filled for `token`, leave out of `x`. Both have the same shape.
    void (*quantize_remainder)(const float *x, const ck_activations *activations, const ck_activations *remainder,
                               size_t token);

    void (*rms_norm)(const float *x, const float *weight, float epsilon, float *out, size_t n);
    void (*rms_norm_backward)(const float *x, const float *weight, float epsilon, const float *d_out, float *d_x,
                              size_t n);
    void (*swiglu)(const float *gate, const float *up, float *out, size_t n);
    void (*swiglu_backward)(const float *gate, const float *up, const float *d_out, float *d_gate, float *d_up,
                            size_t n);
    /// out = (x - mean) / sqrt(variance + epsilon) * weight + bias; `bias` may be NULL.
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float epsilon, float *out, size_t n);
    void (*layer_norm_backward)(const float *x, const float *weight, float epsilon, const float *d_out, float *d_x,
                                size_t n);
    /// out = f(gate) * up, or f(gate) when `up` is NULL; backward then leaves `d_up` alone.
    void (*activate)(ck_activation f, const float *gate, const float *up, float *out, size_t n);
    void (*activate_backward)(ck_activation f, const float *gate, const float *up, const float *d_out, float *d_gate,
                              float *d_up, size_t n);
    /// x = cap * tanh(x / cap); `slope`, unless NULL, gets the derivative.
    void (*soft_cap)(float cap, float *x, float *slope, size_t n);
    void (*softmax)(float *row, size_t n);
    float (*log_sum_exp)(const float *row, size_t n);
    void (*softmax_backward)(const float *p, const float *d_p, float *d_s, size_t n, float scale);
    void (*rope_interleaved)(float *row, size_t heads, size_t head_dimension, size_t rope_dimension, const float *cos,
                             const float *sin, bool inverse);
    void (*rope_half)(float *row, size_t heads, size_t head_dimension, size_t rope_dimension, const float *cos,
                      const float *sin, bool inverse);
    float (*dot)(const float *a, const float *b, size_t n);
    void (*axpy)(float factor, const float *x, float *y, size_t n);
    void (*scale)(float factor, float *x, size_t n);
    void (*add)(const float *x, float *y, size_t n);
    float (*max_abs)(const float *x, size_t n);
    size_t (*argmax)(const float *x, size_t n);
    void (*half_to_float)(const uint16_t *in, float *out, size_t n);
    void (*float_to_half)(const float *in, uint16_t *out, size_t n);
    void (*bfloat_to_float)(const uint16_t *in, float *out, size_t n);

    /// C = alpha·op(A)·op(B) + beta·C, row-major, op(A) m × k, op(B) k × n. With beta 0, C is not read.
    /// `scratch` holds ck_sgemm_scratch() floats, 64-byte aligned.
    void (*sgemm)(bool transposes_a, bool transposes_b, size_t m, size_t n, size_t k, float alpha, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc, float *scratch);

    /// Attention of the queries [first_token, first_token + count) of one key-value head, `count` <= tile tokens.
    void (*attention_tile)(const ck_attention *a, size_t key_value_head, size_t first_token, size_t count,
                           float *scratch);
    /// Unnormalised attention of one query over the slots [first_key, end_key) of a page, counted from the page's first;
    /// at most CK_ATTENTION_RANGE of them.
    void (*attention_range)(const ck_attention *a, size_t page, size_t key_value_head, size_t token, size_t first_key,
                            size_t end_key, float *partial);
    /// Merges the partial results of consecutive ranges into the output row.
    void (*attention_merge)(const ck_attention *a, size_t key_value_head, size_t token, const float *partials,
                            size_t count);
    /// One head's row of a cache from floats, and back.
    void (*cache_write)(ck_cache_type type, const float *x, void *row, size_t head_dimension);
    void (*cache_read)(ck_cache_type type, const void *row, float *x, size_t head_dimension);
} ck_table_row;

#define CK_ELEMENT_F32 0
#define CK_ELEMENT_F16 1
#define CK_ELEMENT_BF16 2

/// Slices of a float product: depth, and rows of A that are packed at a time.
#define CK_SGEMM_K 256
#define CK_SGEMM_M 480
/// Floats of scratch that `sgemm` needs; the slack takes what the packing writes past its end.
static inline size_t ck_sgemm_scratch(void) {
    return (CK_SGEMM_K + 1) * (CK_SGEMM_M + 32) + 256;
}

/// Bytes of scratch that `word_rows` needs.
static inline size_t ck_word_scratch(size_t columns) {
    return CK_PANEL_ROWS * (columns * sizeof(int16_t) + columns / CK_BLOCK_COLUMNS * sizeof(float));
}

/// The rows that this processor can run, best last. `index` from 0; NULL past the end.
const ck_table_row *ck_available_row(size_t index);
/// The row to use: the best available one, or the one that INCIPIT_KERNELS names. An unknown or unsupported name
/// falls back to the best row; `ck_table_request_refused` then says so.
const ck_table_row *ck_table(void);
bool ck_table_request_refused(void);

/// The processors in this thread's affinity mask; 0 when the system does not say.
int ck_affinity_count(void);

// MARK: - Waiting

/// Tells the processor that this is a spin loop.
static inline void ck_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
