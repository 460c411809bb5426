# Shared by the scripts of this folder; to be sourced, not run.

# The package's root, the cache that survives `make clean`, and plain messages on stderr.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${INCIPIT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/incipit}

say() { printf '%s\n' "$*" >&2; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# has_digest FILE SHA256: true when the file is there and its content is right.
has_digest() {
    [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]
}

# json_number FILE KEY: the first number stored under KEY, or nothing. Enough for our own flat reports.
json_number() {
    grep -o "\"$2\"[[:space:]]*:[[:space:]]*-\{0,1\}[0-9.eE+-]*" "$1" | head -n 1 | sed 's/.*:[[:space:]]*//'
}

# json_string FILE KEY: the first string stored under KEY, or nothing.
json_string() {
    grep -o "\"$2\"[[:space:]]*:[[:space:]]*\"[^\"]*\"" "$1" | head -n 1 | sed 's/.*:[[:space:]]*"//; s/"$//; s,\\/,/,g'
}
