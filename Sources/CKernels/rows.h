// Internal: the rows of the table and the products that live in files of their own.
#ifndef INCIPIT_CKERNELS_ROWS_H
#define INCIPIT_CKERNELS_ROWS_H

#include "include/CKernels.h"

#if defined(__x86_64__)
#define CK_X86 1
#else
#define CK_X86 0
#endif

#if defined(__aarch64__)
#define CK_ARM 1
#else
#define CK_ARM 0
#endif

#define CK_DECLARE_PRODUCT(row)                                                                                     \
    void ck_product_##row(const ck_matrix *matrix, size_t first_panel, size_t end_panel,                            \
                          const ck_activations *activations, size_t first_token, size_t end_token, float *out,      \
                          size_t out_stride, bool accumulate);                                                      \
    extern const ck_table_row ck_row_##row

CK_DECLARE_PRODUCT(portable);
#if CK_X86
CK_DECLARE_PRODUCT(avx2);
CK_DECLARE_PRODUCT(avx512);
#endif
#if CK_ARM
CK_DECLARE_PRODUCT(neon);
#endif

bool ck_cpu_has_avx2(void);   ///< AVX2, FMA, F16C, BMI2, and registers saved by the system
bool ck_cpu_has_avx512(void); ///< AVX-512 F BW DQ VL VNNI on top
bool ck_cpu_has_dot(void);    ///< the dot products of ARMv8.2 (FEAT_DotProd)

#endif
