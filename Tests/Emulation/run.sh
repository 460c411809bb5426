#!/usr/bin/env bash
# Test the kernels of processors that are not at hand: the same comparison with the rows of this one, then with those of
# AVX-512 where it lacks it (their instructions computed one by one), then with those of 64-bit ARM under qemu-user.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sources=(Tests/Emulation/compare_rows.c Sources/CKernels/*.c Sources/CKernels/*/*.c)
clang -O2 -ISources/CKernels/include "${sources[@]}" -lm -o "$work/here"
"$work/here"
if grep -qw avx2 /proc/cpuinfo && ! grep -qw avx512_vnni /proc/cpuinfo; then
    say 'emulating AVX-512'
    "$here/emulate_avx512.sh" "$work/avx512"
    clang -O1 -Wno-psabi -I"$work/avx512/include" Tests/Emulation/compare_rows.c "$work"/avx512/*.c "$work"/avx512/*/*.c \
        -lm -o "$work/emulated"
    "$work/emulated" avx512
fi

if ! command -v qemu-aarch64-static > /dev/null || ! command -v aarch64-linux-gnu-gcc > /dev/null; then
    say 'installing the emulator and the libraries of 64-bit ARM'
    install_packages qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross
fi
for source in "${sources[@]}"; do
    clang --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include -O2 -ISources/CKernels/include -c "$source" \
        -o "$work/$(basename "$source" .c).o"
done
aarch64-linux-gnu-gcc -static "$work"/*.o -lm -o "$work/arm"
qemu-aarch64-static -cpu max "$work/arm" neon
say 'a processor without dot products takes the portable row'
qemu-aarch64-static -cpu cortex-a53 "$work/arm" > /dev/null
