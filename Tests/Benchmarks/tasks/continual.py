#!/usr/bin/env python3
"""What a prompt forgets while it learns more: Markdown rows on stdout.

    python continual.py --incipit INCIPIT --model MODEL.gguf --data FOLDER --home FOLDER [--task gloss_category]

Trained on half of the labels, continued on the other half: with replay and anchor as `incipit continue` does it, and
without either. A half's accuracy is that among its own labels, and among all of them. Ends with 1 when the first loses more
than 2 points of the old half's own accuracy, or more than the second does.
"""

import json
import os
import sys

from compare_prompts import TASKS, arguments, call, path_of, score


def main():
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--task", default="gloss_category", choices=list(TASKS))
    a = parser.parse_args()
    with open(path_of(a, a.task), encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    labels = sorted({row["target"] for row in rows})
    halves = labels[: len(labels) // 2], labels[len(labels) // 2:]
    paths = []
    for number, half in enumerate(halves):
        paths.append(os.path.join(a.home, f"half-{number}.jsonl"))
        with open(paths[-1], "w", encoding="utf-8") as out:
            for row in rows:
                if row["target"] in half:
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
    parent = "continual/parent"
    call(a, "tune", a.model, "--data", paths[0], "--name", parent, "--init-text", TASKS[a.task]["instructions"][0],
         "--tokens", a.tokens, "--steps", a.steps, "--restart")
    print("| prompt | old labels | new labels | old, among all | new, among all |")
    print("| --- | ---: | ---: | ---: | ---: |")
    tests = [row["target"] for row in rows if row["split"] == "test"]

    def scored(label, name):
        own = [100 * score(a, path, "test", "--attach", name)["accuracy"] for path in paths]
        answers = score(a, path_of(a, a.task), "test", "--attach", name)["answers"]
        among = []
        for half in halves:
            right = [answer == target for answer, target in zip(answers, tests) if target in half]
            among.append(100 * sum(right) / len(right))
        print(f"| {label} | " + " | ".join(f"{value:.1f} %" for value in own + among) + " |", flush=True)
        return own[0]

    before = scored("parent", parent + ":v1")
    # --force: what the gate would refuse is to be seen here.
    call(a, "continue", a.model, parent + ":v1", "--data", paths[1], "--force", "--restart")
    kept = scored("continued", parent + ":v2")
    call(a, "continue", a.model, parent + ":v1", "--data", paths[1], "--replay", 0, "--anchor", 0, "--force", "--restart")
    lost = scored("continued without replay and anchor", parent + ":v3")
    passes = kept >= before - 2 and kept > lost
    print(f"\nOld labels {', '.join(halves[0])}; new {', '.join(halves[1])}. {'pass' if passes else 'FAIL'}")
    sys.exit(not passes)


if __name__ == "__main__":
    main()
