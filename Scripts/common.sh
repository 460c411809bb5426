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

# install_packages PACKAGE…: with apt-get, as root or through sudo; a clear failure where there is neither.
install_packages() {
    command -v apt-get > /dev/null || fail "missing packages: $*; apt-get is not here, install them by hand"
    local as_root=() install
    if [ "$(id -u)" != 0 ]; then
        command -v sudo > /dev/null || fail "missing packages; ask an administrator for: apt-get install $*"
        as_root=(sudo)
    fi
    say "installing: $*"
    install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@")
    # The package lists may be absent or stale: try with what is there, then once more after an update.
    "${install[@]}" > /dev/null 2>&1 < /dev/null || {
        "${as_root[@]}" apt-get update < /dev/null >&2
        "${install[@]}" < /dev/null >&2
    } || fail "apt-get could not install: $*"
}
