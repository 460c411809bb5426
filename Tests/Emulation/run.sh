#!/usr/bin/env bash
# Test the kernels of 64-bit ARM on any machine: build them for it and run them under qemu-user. Then the same comparison
# here, with the rows of this processor.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sources=(Tests/Emulation/compare_rows.c Sources/CKernels/*.c Sources/CKernels/*/*.c)
clang -O2 -ISources/CKernels/include "${sources[@]}" -lm -o "$work/here"
"$work/here"

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
