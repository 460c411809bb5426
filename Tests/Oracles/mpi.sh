#!/usr/bin/env bash
# A run of 2, 3 and 4 MPI processes against one process with as many batches a step: the same bytes, stored and exported;
# and a run that is killed goes on with another number of processes. Needs Open MPI; builds Incipit with the trait MPI
# into .build-mpi, or takes INCIPIT=path of such a build.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
command -v mpirun > /dev/null || { echo "mpirun is missing: apt-get install openmpi-bin libopenmpi-dev" >&2; exit 1; }
if [ -z "${INCIPIT:-}" ]; then
    swift build -c release --traits MPI --scratch-path .build-mpi --product incipit || exit 1
    INCIPIT=.build-mpi/release/incipit
fi
[ -x "$INCIPIT" ] || { echo "there is no $INCIPIT" >&2; exit 1; }
model=Fixtures/Models/tiny/tiny-llama.gguf data=Fixtures/Data/tiny-kinds.jsonl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export INCIPIT_HOME=$work/home INCIPIT_CACHE=$work/cache
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
failures=0
check() { # what, condition's status
    if [ "$2" = 0 ]; then echo "ok   $1"; else echo "FAIL $1"; failures=$((failures + 1)); fi
}
ranks() { # number, arguments
    local count=$1; shift
    timeout 300 mpirun --oversubscribe --quiet -n "$count" "$INCIPIT" "$@"
}
digest() { "$INCIPIT" prompt show "$1" --json | sed -n 's/.*"digest" : "\(sha256:[0-9a-f]*\)".*/\1/p' | head -n 1; }

for method in prefix-tuning p-tuning multitask-prompt-tuning; do
    for count in 2 3 4; do
        settings=(tune "$model" --data "$data" --method "$method" --tokens 4 --steps 30 --batch 4 --allow-bad-start
            --evaluate-every 10 --threads 1)
        "$INCIPIT" "${settings[@]}" --name "one/$method-$count" --accumulate "$count" --json > /dev/null 2>&1
        output=$(ranks "$count" "${settings[@]}" --name "many/$method-$count" --json 2> "$work/errors") ||
            { cat "$work/errors"; }
        a=$(digest "one/$method-$count") b=$(digest "many/$method-$count")
        [ -n "$a" ] && [ "$a" = "$b" ] && [ "$(grep -c '"digest"' <<< "$output")" = 1 ]
        check "$method, $count processes: $b" $?
    done
done

# Killed in the middle, resumed by two processes.
settings=(tune "$model" --data "$data" --tokens 4 --steps 4000 --batch 4 --evaluate-every 20 --patience 0 --threads 1
    --allow-bad-start)
ranks 4 "${settings[@]}" --name many/killed > /dev/null 2>&1 &
for _ in $(seq 100); do [ -f "$INCIPIT_HOME/runs/many--killed/checkpoint.safetensors" ] && break; sleep 0.1; done
sleep 1
kill -9 $! 2> /dev/null || true
wait 2> /dev/null || true
sleep 1
ranks 2 "${settings[@]}" --accumulate 2 --name many/killed --resume > /dev/null 2> "$work/errors" || cat "$work/errors"
grep -q "resumed at step" "$work/errors"; check "a killed run of 4 goes on with 2" $?
"$INCIPIT" "${settings[@]}" --accumulate 4 --name one/killed > /dev/null 2>&1
a=$(digest one/killed)
[ -n "$a" ] && [ "$a" = "$(digest many/killed)" ]; check "and ends with the bytes of one process" $?

# A process that fails ends all of them, soon, with its reason.
status=0
ranks 3 tune "$model" --data "$data" --tokens 60 --init zero --steps 5 --name many/bad > /dev/null 2> "$work/errors" ||
    status=$?
[ "$status" != 0 ] && [ "$status" != 124 ] && grep -q "the start is bad" "$work/errors"
check "a failing process ends the run (status $status)" $?
exit $((failures > 0))
