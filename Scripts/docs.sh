#!/usr/bin/env bash
# Build the reference documentation of the library modules with DocC; a warning is an error. Needs a release build.
# The archives lie in .build/docs; `$1 …` names modules instead of all that have a catalogue.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
cd "$root"

command -v docc > /dev/null || fail 'docc is not on the PATH; it comes with the Swift toolchain'
modules=$(swift build -c release --show-bin-path)/Modules
triple=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')
out=.build/docs
# Modules of C that ours import are found by their maps.
maps=()
for map in "$(dirname "$modules")"/CKernels.build/module.modulemap Registry/*/module.modulemap; do
    maps+=(-Xcc "-fmodule-map-file=$map")
done
mapfile -t catalogues < <(find Formats Registry Sources -name '*.docc' -type d | sort)
for catalogue in "${catalogues[@]}"; do
    module=$(basename "$(dirname "$catalogue")")
    [ $# = 0 ] || [[ " $* " == *" $module "* ]] || continue
    [ -e "$modules/$module.swiftmodule" ] || fail "$module is not built: run make build first"
    symbols=$out/symbols/$module
    rm -rf "$symbols" "$out/$module.doccarchive"
    mkdir -p "$symbols"
    swift symbolgraph-extract -module-name "$module" -I "$modules" "${maps[@]}" -target "$triple" -minimum-access-level public \
        -output-dir "$symbols"
    docc convert "$catalogue" --additional-symbol-graph-dir "$symbols" --output-dir "$out/$module.doccarchive" \
        --fallback-display-name "$module" --fallback-bundle-identifier "dev.incipit.$module" --warnings-as-errors
    say "documented $module"
done
