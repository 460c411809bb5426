#!/usr/bin/env bash
# emulate_avx512.sh FOLDER: a copy of CKernels in FOLDER whose AVX-512 row runs on a processor with AVX2 only, slowly.
# Its sources are those of the project but for the instructions themselves, which avx512_emulation.h computes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
cp -R "$here/../../Sources/CKernels/." "$1"
cp "$here/avx512_emulation.h" "$1"
for file in "$1"/*/*_avx512.c; do
    sed -i -e 's/avx512[a-z]*,//g' -e 's|#include <immintrin.h>|&\n#include "../avx512_emulation.h"|' \
        -e 's/__asm__ volatile("" : "+v"([^)]*));//' "$file"
done
sed -i 's/ck_cpu_has_avx512()/ck_cpu_has_avx2()/' "$1/kernels.c"
