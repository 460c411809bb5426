#!/usr/bin/env python3
"""Make three labelled tasks out of published packages: language_id, movie_sentiment, verb_past.

    python fetch_tasks.py FOLDER

Rows are {"input", "target", "split"}; the split follows the SHA-256 of what a row is about, so that no text is in two.
Sources: Django's translations (BSD-3), the film reviews in vaderSentiment's resources (texts of third parties: fetched,
never committed), lemminflect's table of inflections (MIT). pip fetches them; nothing is installed.
"""

import collections
import csv
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

LANGUAGES = {"de": "German", "es": "Spanish", "fi": "Finnish", "fr": "French", "it": "Italian", "nl": "Dutch",
             "pl": "Polish", "pt": "Portuguese", "sv": "Swedish"}


def fetch(requirement, folder, *options):
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *options, "-d", folder, requirement]
    before = set(os.listdir(folder))
    subprocess.run(pip, check=True, stdout=sys.stderr)
    (name,) = set(os.listdir(folder)) - before
    return os.path.join(folder, name)


def split_of(key, parts):
    """train, dev or test by a number in 0 ... 1 that follows from the key."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for name, end in parts:
        if place < end:
            return name
    return parts[-1][0]


def messages(text):
    """(msgid, msgstr) of a .po file; plural, fuzzy and obsolete entries left out."""
    for entry in re.split(r"\n\s*\n", text):
        if "#, fuzzy" in entry or "msgid_plural" in entry or "\n#~" in entry:
            continue
        found = {}
        for key in ("msgid", "msgstr"):
            match = re.search(rf'^{key} ((?:"(?:[^"\\]|\\.)*"\s*)+)', entry, re.MULTILINE)
            if match:
                found[key] = "".join(json.loads(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', match.group(1)))
        if found.get("msgid") and found.get("msgstr"):
            yield found["msgid"], found["msgstr"]


def languages(wheel):
    texts = collections.defaultdict(dict)  # label → msgid → text
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            match = re.search(r"/locale/(\w+)/LC_MESSAGES/django\.po$", name)
            if match and match.group(1) in LANGUAGES:
                for source, text in messages(archive.read(name).decode()):
                    texts[LANGUAGES[match.group(1)]].setdefault(source, text)
                    texts["English"].setdefault(source, source)
    parts = [("train", 0.6), ("dev", 0.75), ("test", 1)]
    for label, entries in sorted(texts.items()):
        chosen = [(source, text) for source, text in sorted(entries.items(), key=lambda e: split_of_order(e[0]))
                  if 15 <= len(text) <= 160 and not re.search(r"[%\n{<]", source + text)]
        for source, text in chosen[:160]:
            if label == "English" or text != source:
                yield {"input": text, "target": label, "split": split_of(source, parts)}


def split_of_order(key):
    return hashlib.sha256(b"order " + key.encode()).digest()


def reviews(archive):
    with tarfile.open(archive) as outer:
        inner = next(member for member in outer if member.name.endswith("hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=io.BytesIO(outer.extractfile(inner).read())) as resources:
            member = next(member for member in resources if member.name.endswith("movieReviewSnippets_GroundTruth.txt"))
            lines = resources.extractfile(member).read().decode("utf-8", "replace").splitlines()
    rows = collections.defaultdict(list)
    for line in lines:
        _, rating, text = line.split("\t", 2)
        text = " ".join(text.split())
        if abs(float(rating)) >= 1 and 10 <= len(text) <= 255:
            rows["positive" if float(rating) > 0 else "negative"].append(text)
    count = min(950, *map(len, rows.values()))
    parts = [("train", 10 / 19), ("dev", 13 / 19), ("test", 1)]
    for label, texts in sorted(rows.items()):
        for text in sorted(set(texts), key=split_of_order)[:count]:
            yield {"input": text, "target": label, "split": split_of(text, parts)}


def verbs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read("lemminflect/resources/infl_lu.csv.gz")).decode()
    rows = {}
    for fields in csv.reader(io.StringIO(table)):
        if len(fields) > 2 and fields[1] == "verb" and re.fullmatch("[a-z]{3,12}", fields[0]):
            if re.fullmatch("[a-z]+", fields[2]) and fields[2] != fields[0]:  # one form, and not the lemma again
                rows.setdefault(fields[0], fields[2])
    parts = [("train", 10 / 17), ("dev", 12 / 17), ("test", 1)]
    for lemma in sorted(rows, key=split_of_order)[:1700]:
        yield {"input": lemma, "target": rows[lemma], "split": split_of(lemma, parts)}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        tasks = {
            "language_id": lambda: languages(fetch("django==5.2.19", work)),
            "movie_sentiment": lambda: reviews(
                fetch("vaderSentiment==3.3.2", work, "--no-binary", "vaderSentiment")),
            "verb_past": lambda: verbs(fetch("lemminflect==0.2.3", work)),
        }
        for name, make in tasks.items():
            path = folder / f"{name}.jsonl"
            if path.exists():
                continue
            rows = sorted(make(), key=lambda row: split_of_order(row["input"]))
            part = path.with_suffix(".part")
            part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            part.rename(path)
            counts = collections.Counter(row["split"] for row in rows)
            print(f"{name}: {counts['train']} train, {counts['dev']} dev, {counts['test']} test", file=sys.stderr)


if __name__ == "__main__":
    main()
