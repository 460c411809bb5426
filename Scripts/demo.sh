#!/usr/bin/env bash
# The main job, end to end, on a real model. Each command is printed as it runs, so that you can copy it.
#
# Needs a release build and the model (make demo does both first). Everything is stored under a folder of its own in the
# cache and made anew each time; your own INCIPIT_HOME is not touched.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

bin=$(swift build -c release --show-bin-path)
[ -x "$bin/incipit" ] || fail "no release build: run swift build -c release --product incipit"
export PATH=$bin:$PATH
export INCIPIT_DATA=$root/Fixtures/Data
MODEL=$(Scripts/fetch-model.sh)
TINY=Fixtures/Models/tiny/tiny-llama.gguf
work=$cache/demo
rm -rf "$work"
mkdir -p "$work/reports"
export INCIPIT_HOME=$work/home
started=$(date +%s)

server=
stop_server() {
    [ -z "$server" ] || { kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; }
    server=
}
trap stop_server EXIT

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# show COMMAND…: print the command as one would type it, with the shell's own quoting where it is needed.
show() {
    local word line='$'
    for word in "$@"; do
        case $word in
            "$MODEL") line+=' $MODEL' ;;
            *$'\n'*) line+=" $(printf '%q' "$word")" ;;
            *[!A-Za-z0-9_./:=@,+-]*) line+=" \"$word\"" ;;
            *) line+=" $word" ;;
        esac
    done
    printf '%s\n' "$line"
}
run() { show "$@"; "$@"; }
# report NAME COMMAND…: the command with --json, its output kept for the table.
report() {
    local name=$1
    shift
    show "$@" --json
    "$@" --json > "$work/reports/$name.json"
    printf '  accuracy %s, %s context tokens a request, first token after %s ms\n' \
        "$(json_number "$work/reports/$name.json" accuracy)" \
        "$(json_number "$work/reports/$name.json" contextTokens)" \
        "$(json_number "$work/reports/$name.json" timeToFirstTokenMilliseconds)"
}

printf 'export MODEL=%s\nexport INCIPIT_HOME=%s\nexport INCIPIT_DATA=%s\n' "$MODEL" "$INCIPIT_HOME" "$INCIPIT_DATA"

step '1. Look at the model'
run incipit inspect "$MODEL"
show incipit inspect "$MODEL" --json
incipit inspect "$MODEL" --json > "$work/reports/inspect.json"
printf '  %s bytes of JSON\n' "$(wc -c < "$work/reports/inspect.json")"

step '2. Baselines: the task asked for in words'
report zero-shot incipit eval "$MODEL" --data gloss_category --split test --prompt zero-shot
report few-shot incipit eval "$MODEL" --data gloss_category --split test --prompt few-shot

step '3. Train a soft prompt on the frozen model'
run incipit tune "$MODEL" --method prefix-tuning \
    --init-text "Each line describes a thing. Say what kind of thing it is: animal, plant, food, person, place, artifact, body or substance." \
    --data gloss_category --name demo/gloss-category

step '4. It is version v1 in the embedded registry'
run incipit prompt list --base "$MODEL"

step '5. Push it to a registry, pull it into an empty home'
printf '$ incipit serve --registry --port 0 --port-file %s &\n' "$work/port"
INCIPIT_HOME=$work/server incipit serve --registry --port 0 --port-file "$work/port" > "$work/server.log" 2>&1 &
server=$!
for _ in $(seq 100); do
    [ -s "$work/port" ] && break
    kill -0 "$server" 2> /dev/null || fail "the server ended: $(tail -n 3 "$work/server.log")"
    sleep 0.1
done
[ -s "$work/port" ] || fail 'the server did not say its port within ten seconds'
address=127.0.0.1:$(tr -d '[:space:]' < "$work/port")/demo/gloss-category:v1
run incipit push demo/gloss-category:v1 "$address"
printf '$ INCIPIT_HOME=%s incipit pull %s\n' "$work/second" "$address"
INCIPIT_HOME=$work/second incipit pull "$address"
incipit prompt show demo/gloss-category:v1 --json > "$work/reports/here.json"
INCIPIT_HOME=$work/second incipit prompt show demo/gloss-category:v1 --json > "$work/reports/there.json"
incipit prompt export demo/gloss-category:v1 "$work/here" > /dev/null
INCIPIT_HOME=$work/second incipit prompt export demo/gloss-category:v1 "$work/there" > /dev/null
here=$(json_string "$work/reports/here.json" digest)
there=$(json_string "$work/reports/there.json" digest)
[ -n "$here" ] && [ "$here" = "$there" ] || fail "digests differ: $here here, $there there"
diff -r "$work/here" "$work/there" || fail 'the bytes differ'
printf '  same digest on both sides, same bytes: %s\n' "$here"
stop_server

step '6. Use it'
run incipit run "$MODEL" --attach demo/gloss-category:v1 --stats \
    "a large freshwater fish with a long snout"
report soft-prompt incipit eval "$MODEL" --data gloss_category --split test --attach demo/gloss-category:v1

step '7. Another base refuses it'
show incipit run "$TINY" --attach demo/gloss-category:v1 "an otter"
status=0
incipit run "$TINY" --attach demo/gloss-category:v1 "an otter" 2> "$work/refusal.txt" || status=$?
cat "$work/refusal.txt"
[ "$status" != 0 ] || fail 'a soft prompt was attached to a model it was not trained on'
[ "$status" -lt 126 ] && [ -s "$work/refusal.txt" ] || fail "no refusal but exit code $status"

step 'Result on the test split (800 rows)'
printf '| %-12s | %8s | %22s | %19s |\n' prompt accuracy 'context tokens/request' 'time to first token'
printf '| %-12s | %8s | %22s | %19s |\n' --- --: --: --:
for name in zero-shot few-shot soft-prompt; do
    file=$work/reports/$name.json
    printf '| %-12s | %6.1f %% | %22s | %16.1f ms |\n' "$name" \
        "$(awk "BEGIN { print 100 * $(json_number "$file" accuracy) }")" "$(json_number "$file" contextTokens)" \
        "$(json_number "$file" timeToFirstTokenMilliseconds)"
done
printf '\n%s seconds in all.\n' $(($(date +%s) - started))

accuracy=$(json_number "$work/reports/soft-prompt.json" accuracy)
few=$(json_number "$work/reports/few-shot.json" accuracy)
awk "BEGIN { exit !($accuracy >= 0.88 && $accuracy > $few) }" ||
    fail "the soft prompt reached $accuracy; it should beat few-shot ($few) and reach 0.88"
