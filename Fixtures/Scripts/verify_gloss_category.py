#!/usr/bin/env python3
"""Check every row of Fixtures/Data/gloss_category.jsonl against WordNet's own file.

    python verify_gloss_category.py DATA_NOUN [gloss_category.jsonl]

DATA_NOUN comes from Debian's package wordnet-base (/usr/share/wordnet/data.noun); Scripts/fetch-data.sh fetches it.
A row holds when its text is the gloss (up to the first quoted example at most) of a noun whose lexicographer file is the
row's label, no text has two labels or stands in two splits, and the counts are 200 / 50 / 100 per label.
"""

import collections
import json
import os
import sys

LEXICOGRAPHER_FILES = {
    "05": "animal", "20": "plant", "13": "food", "18": "person", "15": "place", "06": "artifact", "08": "body",
    "27": "substance",
}


def glosses(path):
    """{definition: labels} of all nouns in the eight files; each gloss also with later parts (examples) left off."""
    found = collections.defaultdict(set)
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(" "):  # the licence at the top
                continue
            label = LEXICOGRAPHER_FILES.get(line.split(" ", 2)[1])
            if label:
                parts = line.split(" | ", 1)[1].strip().rstrip(";").split("; ")
                for end in range(1, len(parts) + 1):
                    found["; ".join(parts[:end])].add(label)
    return found


def main():
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Data", "gloss_category.jsonl")
    path = sys.argv[2] if len(sys.argv) > 2 else default
    known, rows = glosses(sys.argv[1]), [json.loads(line) for line in open(path, encoding="utf-8")]
    faults = [f"not in WordNet under {row['target']}: {row['input']}" for row in rows if row["target"] not in known.get(row["input"], ())]
    twice = [text for text, count in collections.Counter(row["input"] for row in rows).items() if count > 1]
    faults += [f"more than once: {text}" for text in twice]
    for label in LEXICOGRAPHER_FILES.values():
        counts = collections.Counter(row["split"] for row in rows if row["target"] == label)
        if counts != {"train": 200, "dev": 50, "test": 100}:
            faults.append(f"{label}: {dict(counts)}")
    print("\n".join(faults) or f"{len(rows)} rows hold")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
