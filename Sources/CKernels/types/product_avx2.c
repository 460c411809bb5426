#include "../rows.h"
#if CK_X86
void ck_product_avx2(const ck_matrix *matrix, size_t first_panel, size_t end_panel, const ck_activations *a,
                   size_t first_token, size_t end_token, float *out, size_t out_stride, bool accumulate) {
    ck_product_portable(matrix, first_panel, end_panel, a, first_token, end_token, out, out_stride, accumulate);
}
#endif
