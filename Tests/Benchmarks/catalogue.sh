#!/usr/bin/env bash
# What a catalogue of a million versions costs: starting, resolving a tag, listing by base, task, label and metric.
# Times are of the request or statement alone where a server answers, of the whole process where the command line does.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../Scripts/common.sh"
cd "$root"
binary=${INCIPIT_BINARY:-$(swift build -c release --show-bin-path)/incipit}
work=${STORAGE:-$(mktemp -d)}
export INCIPIT_HOME=$work INCIPIT_CACHE=$work/cache
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    [ -n "${STORAGE:-}" ] || rm -rf "$work"
}
trap clean_up EXIT
mkdir -p "$work"
if [ ! -f "$work/base" ]; then
    "$binary" registry status > /dev/null
    python3 Tests/Benchmarks/catalogue.py "$work/registry" "${VERSIONS:-1000000}" > "$work/base"
fi
best=999999999
for _ in 1 2 3 4 5; do # the last one stays
    [ -z "$server" ] || { kill "$server"; wait "$server" || true; }
    rm -f "$work/port"
    began=$(date +%s%N)
    "$binary" serve --registry --port 0 --port-file "$work/port" 2> /dev/null &
    server=$!
    while [ ! -s "$work/port" ]; do sleep 0.002; done
    spent=$((($(date +%s%N) - began) / 1000))
    [ "$spent" -lt "$best" ] && best=$spent
done
printf 'start-up, fastest of five      %6.1f ms\n' "${best}e-3"
python3 - "$(cat "$work/port")" << 'PYTHON'
import http.client, statistics, sys, time
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
def ask(what, path, count=50):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        times.append(time.perf_counter() - start)
        assert response.status in (200, 404), (path, response.status)
    print(f"{what:30} {statistics.median(times) * 1e3:6.1f} ms")
ask("resolve a tag", "/v2/team7/task-507/manifests/v500")
ask("list 100 tags", "/v2/team7/task-507/tags/list?n=100")
ask("list 1000 tags", "/v2/team7/task-507/tags/list")
ask("metrics", "/metrics")
PYTHON
kill "$server"; wait "$server" || true; server=
base=$(cut -d' ' -f2 "$work/base")
measure() { # WHAT ARGUMENT…: the fastest of five processes
    local what=$1 best=999999999 began spent
    shift
    for _ in 1 2 3 4 5; do
        began=$(date +%s%N)
        "$binary" "$@" > "$work/out"
        spent=$((($(date +%s%N) - began) / 1000))
        [ "$spent" -lt "$best" ] && best=$spent
    done
    printf '%-30s %6.1f ms  (%s lines)\n' "$what" "${best}e-3" "$(wc -l < "$work/out")"
}
measure 'the process alone' --version
INCIPIT_HOME=$work/empty measure 'the list of an empty registry' prompt list --limit 50
measure 'registry status' registry status
measure 'first 50 of all' prompt list --limit 50
measure 'first 50 of a base' prompt list --base-fingerprint "$base" --limit 50
measure 'one prompt of a base' prompt list team7/task-507 --base-fingerprint "$base" --limit 50
measure 'first 50 of a task' prompt list --task task-7 --limit 50
measure 'first 50 of an owner' prompt list --label owner=owner-77 --limit 50
measure 'best 50 by accuracy' prompt list --metric 'accuracy>=0.5' --limit 50
measure 'of a base and an owner' prompt list --base-fingerprint "$base" --label owner=owner-77 --limit 50
measure 'of a task and an owner' prompt list --task task-7 --label owner=owner-77 --limit 50
measure 'best 50 of a base' prompt list --base-fingerprint "$base" --metric 'accuracy>=0.5' --limit 50
measure 'first 50 of one prompt' prompt list team7/task-507 --limit 50
# A place far in: after the last version of the prompt in the middle.
middle=$("$binary" prompt list team9/task-509 --label owner=owner-499 --json | python3 -c 'import json, sys
row = json.load(sys.stdin)[-1]
print(row["name"] + "@" + row["digest"])')
measure '50 far into all' prompt list --after "$middle" --limit 50
measure '50 far into a base' prompt list --base-fingerprint "$base" --after "$middle" --limit 50
