// OpenBLAS from Debian's libopenblas-dev. Only the single-threaded F32 product and two switches are used.
#ifndef INCIPIT_COPENBLAS_SHIM_H
#define INCIPIT_COPENBLAS_SHIM_H
#include <cblas.h>
#endif
