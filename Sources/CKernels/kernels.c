// The choice of the row, made once.
#include "rows.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const ck_table_row *ck_available_row(size_t index) {
    if (index == 0) return &ck_row_portable;
#if CK_X86
    if (index == 1 && ck_cpu_has_avx2()) return &ck_row_avx2;
    if (index == 2 && ck_cpu_has_avx512()) return &ck_row_avx512;
#endif
#if CK_ARM
    if (index == 1 && ck_cpu_has_dot()) return &ck_row_neon;
#endif
    return NULL;
}

/// Looks at the environment and the processor; sets `refused` when the environment asks for what is not there.
static const ck_table_row *choose(bool *refused) {
    const ck_table_row *best = NULL, *named = NULL;
    const char *request = getenv("INCIPIT_KERNELS");
    for (size_t i = 0; ck_available_row(i) != NULL; i++) {
        best = ck_available_row(i);
        if (request != NULL && strcmp(request, best->name) == 0) named = best;
    }
    *refused = request != NULL && request[0] != 0 && named == NULL;
    return named != NULL ? named : best;
}

static _Atomic(const ck_table_row *) chosen;
static atomic_bool request_refused;

const ck_table_row *ck_table(void) {
    const ck_table_row *row = atomic_load_explicit(&chosen, memory_order_acquire);
    if (row == NULL) { // two threads may both get here; they store the same answer
        bool refused;
        row = choose(&refused);
        atomic_store(&request_refused, refused);
        atomic_store_explicit(&chosen, row, memory_order_release);
    }
    return row;
}

bool ck_table_request_refused(void) {
    (void)ck_table();
    return atomic_load(&request_refused);
}
