#!/usr/bin/env bash
# Our registry and Debian's docker-registry under the same load, in turns, on this machine.
#
# Pushes of a 50 KB prompt with 1, 8 and 32 clients (Python), pulls of its layer with 1, 8 and 32 connections (wrk), and
# the most memory each server took. Each figure is the median of ROUNDS (3) turns; both keep their data in a folder on
# the same file system (STORAGE, default: a temporary one). INCIPIT_BINARY names another executable.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../Scripts/common.sh"
cd "$root"
rounds=${ROUNDS:-3}

missing=()
for tool in docker-registry wrk python3; do command -v "$tool" > /dev/null || missing+=("$tool"); done
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
binary=${INCIPIT_BINARY:-$(swift build -c release --show-bin-path)/incipit}
[ -x "$binary" ] || fail "no release build: run swift build -c release --product incipit"

work=${STORAGE:-$(mktemp -d)}
mkdir -p "$work"
processes=()
clean_up() {
    for process in "${processes[@]}"; do
        kill "$process" 2> /dev/null || true
        wait "$process" 2> /dev/null || true
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

INCIPIT_HOME=$work/ours "$binary" serve --registry --port 0 --port-file "$work/port" 2> "$work/ours.log" &
ours=$!
processes+=("$ours")
for _ in $(seq 100); do [ -s "$work/port" ] && break; sleep 0.1; done
ours_port=$(cat "$work/port") || fail "our server did not start: $(cat "$work/ours.log")"
for _ in $(seq 20); do
    theirs_port=$((20000 + RANDOM % 12000))
    printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
        "$work/theirs" "$theirs_port" > "$work/registry.yml"
    docker-registry serve "$work/registry.yml" > "$work/theirs.log" 2>&1 &
    theirs=$!
    sleep 1
    if kill -0 "$theirs" 2> /dev/null; then processes+=("$theirs"); break; fi
done

for clients in 1 8 32; do
    count=$((clients == 1 ? 100 : clients == 8 ? 40 : 15))
    for round in $(seq "$rounds"); do
        for side in ours theirs; do
            port_name=${side}_port
            result=$(python3 Tests/Benchmarks/peers/registry_load.py "${!port_name}" "$clients" "$count")
            printf 'push %s %s %s\n' "$side" "$clients" "$result" >> "$work/results"
            blob=$(printf '%s' "$result" | python3 -c 'import json, sys; print(json.load(sys.stdin)["blob"])')
            threads=$((clients < 2 ? 1 : 2))
            pulled=$(wrk -t "$threads" -c "$clients" -d 3s --latency "http://127.0.0.1:${!port_name}$blob")
            printf '%s' "$pulled" | grep -q 'Non-2xx' && fail "$side answered errors: $pulled"
            printf 'pull %s %s %s\n' "$side" "$clients" "$(printf '%s' "$pulled" |
                awk '/Requests\/sec/ { rate = $2 } $1 == "99%" { p99 = $2 } END { print rate, p99 }')" >> "$work/results"
        done
    done
done
for side in ours theirs; do
    printf 'memory %s 0 %s\n' "$side" "$(awk '/VmHWM/ { print $2 }' "/proc/${!side}/status")" >> "$work/results"
done

python3 - "$work/results" << 'PYTHON'
import json, re, statistics, sys
figures = {}
for line in open(sys.argv[1]):
    kind, side, clients, rest = line.split(" ", 3)
    if kind == "push":
        result = json.loads(rest)
        values = {"pushes/s": result["rate"], "push p99 ms": result["p99"]}
    elif kind == "pull":
        rate, p99 = rest.split()
        number, unit = re.match(r"([\d.]+)(us|ms|s)", p99).groups()
        values = {"pulls/s": float(rate), "pull p99 ms": float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]}
    else:
        values = {"peak MiB": int(rest) / 1024}
    for name, value in values.items():
        figures.setdefault((name, int(clients)), {}).setdefault(side, []).append(value)
print(f"{'figure':14} {'clients':>7} {'incipit':>10} {'docker-registry':>16} {'ratio':>7}")
for (name, clients), sides in sorted(figures.items(), key=lambda item: (item[0][0], item[0][1])):
    ours, theirs = (statistics.median(sides[side]) for side in ("ours", "theirs"))
    print(f"{name:14} {clients or '':>7} {ours:10.2f} {theirs:16.2f} {ours / theirs:7.2f}")
PYTHON
