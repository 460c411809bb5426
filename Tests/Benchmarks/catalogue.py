#!/usr/bin/env python3
"""Fills an embedded registry's catalogue with a million versions, to see what listing them costs.

catalogue.py FOLDER [VERSIONS]   FOLDER/catalogue.sqlite must exist (any incipit command makes it)

A thousand prompts of a thousand versions each, on 50 bases, with tasks, owners and an accuracy. Manifests have the size
of real ones; they share one blob. Written straight into the tables, since pushing a million takes an hour.
"""
import hashlib
import json
import sqlite3
import sys

folder = sys.argv[1]
versions = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
per_prompt = 1000
db = sqlite3.connect(folder + "/catalogue.sqlite")
db.execute("PRAGMA synchronous = OFF")
empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
prompt_type = "application/vnd.incipit.softprompt.v1+json"
manifest_type = "application/vnd.oci.image.manifest.v1+json"


def digest(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def anchor(fingerprint):
    """The digest of the base anchor: the canonical manifest that a fingerprint determines."""
    descriptor = {"digest": empty, "mediaType": "application/vnd.oci.empty.v1+json", "size": 2}
    manifest = {"annotations": {"dev.incipit.base.fingerprint": fingerprint},
                "artifactType": "application/vnd.incipit.base.v1+json", "config": descriptor, "layers": [descriptor],
                "mediaType": manifest_type, "schemaVersion": 2}
    return digest(json.dumps(manifest, sort_keys=True, separators=(",", ":")))


def search_key(anchor):
    """What the labels' index holds of the anchor's digest: its first 63 bits."""
    return int(anchor.split(":")[1][:16], 16) >> 1


bases = [digest(f"base {index}") for index in range(50)]
anchors = [anchor(base) for base in bases]
print("base", bases[7])
with db:
    db.execute("INSERT OR IGNORE INTO blobs VALUES (?, 2, 0, 2, ?, 1, 1)", (empty, b"{}"))
    for prompt in range(versions // per_prompt):
        name = f"team{prompt % 20}/task-{prompt}"
        repository = db.execute("INSERT INTO repositories (name, created) VALUES (?, 1)", (name,)).lastrowid
        db.execute("INSERT INTO repo_blobs VALUES (?, ?)", (repository, empty))
        manifests, refs, tags, labels = [], [], [], []
        first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM manifests").fetchone()[0]
        for index in range(per_prompt):
            number = first + index
            base = (prompt + index) % 50
            annotations = {
                "dev.incipit.base.fingerprint": bases[base], "dev.incipit.base.name": f"model-{base}",
                "dev.incipit.method": "prefix-tuning", "dev.incipit.tokens": "32", "dev.incipit.dtype": "F32",
                "dev.incipit.task": f"task-{prompt % 100}", "dev.incipit.label.owner": f"owner-{index % 500}",
                "dev.incipit.metric.accuracy": str((number * 7919 % 100_000) / 100_000)}
            text = json.dumps(annotations, sort_keys=True, separators=(",", ":"))
            content = f"{text} {name} {index}".ljust(len(text) + 1200)
            key = digest(content)
            manifests.append((number, repository, key, manifest_type, prompt_type, anchors[base], text,
                              content.encode(), 1))
            refs.append((number, empty, 1))
            tags.append((repository, f"v{index + 1}", key, 1))
            for label in ("dev.incipit.task", "dev.incipit.label.owner"):
                labels.append((label, annotations[label], None, number, search_key(anchors[base])))
            accuracy = annotations["dev.incipit.metric.accuracy"]
            labels.append(("dev.incipit.metric.accuracy", accuracy, float(accuracy), number,
                           search_key(anchors[base])))
        db.executemany("INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", manifests)
        db.executemany("INSERT INTO refs VALUES (?, ?, ?)", refs)
        db.executemany("INSERT INTO tags VALUES (?, ?, ?, ?)", tags)
        db.executemany("INSERT INTO labels VALUES (?, ?, ?, ?, ?)", labels)
        db.execute("INSERT INTO versions VALUES (?, ?)", (name, per_prompt))
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
