#!/usr/bin/env bash
# Soft prompts against hand-written ones on four tasks; Markdown on stdout. Two hours on two cores with three seeds.
# INCIPIT_SEEDS (default 3); $1 … name tasks instead of all four; INCIPIT_DATA=FOLDER takes rows that are there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

incipit=${INCIPIT:-.build/release/incipit}
[ -x "$incipit" ] || fail "$incipit is not there: run make build first"
python=${INCIPIT_PYTHON:-python3}
data=${INCIPIT_DATA:-$cache/tasks}
if [ -z "${INCIPIT_DATA:-}" ] && [ ! -s "$data/verb_past.jsonl" ]; then
    say 'fetching the tasks'
    if ! "$python" -m pip --version > /dev/null 2>&1; then
        "$python" -m venv "$cache/tasks-env" || fail 'no venv: apt-get install python3-venv'
        python=$cache/tasks-env/bin/python
    fi
    "$python" "$here/tasks/fetch_tasks.py" "$data"
fi
home=$(mktemp -d "$cache/tasks-home.XXXXXX")
trap 'rm -rf "$home"' EXIT
"$python" "$here/tasks/compare_prompts.py" --incipit "$incipit" --model "$(Scripts/fetch-model.sh)" --data "$data" \
    --home "$home" --seeds "${INCIPIT_SEEDS:-3}" ${1:+--tasks "$@"}
