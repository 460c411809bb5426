#!/usr/bin/env python3
"""Accuracy when requests are worded otherwise, hand-written prompts against a soft one: Markdown rows on stdout.

    python robustness.py --incipit INCIPIT --model MODEL.gguf --data FOLDER --home FOLDER [--tasks …] [--limit 200]

Ten variants a task: an instruction and the format of a request. The hand-written prompt is few-shot in that wording and
format; the soft one, trained in the standard format alone, reads requests in that format. Nothing is chosen: every
variant counts.
"""

import statistics
import sys

from compare_prompts import TASKS, arguments, call, path_of, score

FORMATS = [
    "{input}\nAnswer:",
    "{input}\n\nAnswer:",
    "Text: {input}\nAnswer:",
    "\"{input}\"\nAnswer:",
    "Input: {input}\nOutput:",
    "{input} ->",
    "Q: {input}\nA:",
    "{input}\nanswer:",
    "- {input}\n  Answer:",
    "{input}\nThe answer is:",
]
# The three wordings of a task in each of these, and the first one in capitals.
FRAMES = ["{}", "Please help. {}", "{} Be exact."]


def wordings(task):
    own = TASKS[task]["instructions"]
    return [frame.format(text) for frame in FRAMES for text in own] + [own[0].upper()]


def main():
    parser = arguments(__doc__)
    parser.add_argument("--limit", type=int, default=200, help="test rows a variant")
    parser.add_argument("--prompt", help="a stored prompt to use instead of training one (one task only)")
    parser.add_argument("--tasks", nargs="+", default=["gloss_category", "movie_sentiment"], choices=list(TASKS))
    a = parser.parse_args()
    print("| task | prompt | mean | worst | best |")
    print("| --- | --- | ---: | ---: | ---: |")
    passed = True
    for task in a.tasks:
        path = path_of(a, task)
        shots = ["--shots", TASKS[task]["shots"]] if "shots" in TASKS[task] else []
        name = a.prompt or f"robust/{task}"
        if not a.prompt:
            call(a, "tune", a.model, "--data", path, "--name", name, "--init-text", TASKS[task]["instructions"][0],
                 "--tokens", a.tokens, "--restart", *TASKS[task].get("tune", []))
        words, soft = [], []
        for number, (text, form) in enumerate(zip(wordings(task), FORMATS)):
            words.append(score(a, path, "test", "--prompt", "few-shot", "--instruction", text, f"--template={form}", *shots,
                               limit=a.limit)["accuracy"])
            soft.append(score(a, path, "test", "--attach", name, f"--template={form}", limit=a.limit)["accuracy"])
            print(f"  {task} {number + 1}: {100 * words[-1]:.1f} {100 * soft[-1]:.1f}", file=sys.stderr, flush=True)
        for label, values in (("few-shot", words), ("soft prompt", soft)):
            print(f"| {task} | {label} | {100 * statistics.mean(values):.1f} % | {100 * min(values):.1f} % | "
                  f"{100 * max(values):.1f} % |", flush=True)
        passed &= statistics.mean(soft) > statistics.mean(words) and min(soft) > min(words)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
