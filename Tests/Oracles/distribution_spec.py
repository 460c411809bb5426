#!/usr/bin/env python3
"""Every request of the OCI distribution spec (1.1 and what main adds to it) to a running registry, over sockets.

distribution_spec.py HOST:PORT [USER:PASSWORD]     prints what differs and how many checks passed; ends with 1 on a difference

Blobs in every way they can be sent, with both hash functions; then kinds of manifests, each pushed by digest and by tag,
listed, read, referred to, and deleted, after which everything must be gone at once; then what must be refused.
"""
import base64
import hashlib
import http.client
import io
import json
import os
import sys
import tarfile
import urllib.parse

REPOSITORY, OTHER = "spec/one", "spec/two"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCTETS = {"Content-Type": "application/octet-stream"}

connection = http.client.HTTPConnection(sys.argv[1], timeout=30)
authorization = "Basic " + base64.b64encode(sys.argv[2].encode()).decode() if len(sys.argv) > 2 else None
passes, differences = 0, 0


def check(what, holds, seen=""):
    global passes, differences
    if holds:
        passes += 1
    else:
        differences += 1
        print("DIFFERS ", what, seen)


class Answer:
    def __init__(self, response):
        self.status, self.body = response.status, response.read()
        self.header = response.getheader
        self.all = lambda name: response.headers.get_all(name) or []
        self.place = response.getheader("Location") or ""


def ask(method, path, headers=None, body=None, streamed=False, **query):
    if query:
        # A trailing underscore stands for a word that Python keeps for itself.
        items = {key.rstrip("_").replace("_", "-"): value for key, value in query.items()}
        path += ("&" if "?" in path else "?") + urllib.parse.urlencode(items, doseq=True)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in {**(headers or {}), **({"Authorization": authorization} if authorization else {})}.items():
        for item in value if isinstance(value, list) else [value]:
            connection.putheader(name, item)
    if streamed:
        connection.putheader("Transfer-Encoding", "chunked")
    elif body is not None or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders()
    if streamed:
        connection.send((b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")
    elif body:
        connection.send(body)
    return Answer(connection.getresponse())


def digest(content, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def blob_path(name, key):
    return f"/v2/{name}/blobs/{key}"


# Blobs

def begin(name=REPOSITORY, **query):
    answer = ask("POST", f"/v2/{name}/blobs/uploads/", **query)
    check("an upload begins", answer.status == 202 and answer.place, answer.status)
    return answer


def ended(what, answer, key, content, wrong):
    if wrong:
        return check(f"{what}: a wrong digest", answer.status == 400, answer.status)
    check(what, answer.status == 201, (answer.status, answer.body))
    check(f"{what}: digest header", answer.header("Docker-Content-Digest") == key)
    read = ask("GET", answer.place)
    check(f"{what}: its location", read.status == 200 and read.body == content, (read.status, answer.place))


def post_only(name, key, content, wrong=False):
    ended("POST", ask("POST", f"/v2/{name}/blobs/uploads/", OCTETS, content, digest=key), key, content, wrong)


def post_put(name, key, content, wrong=False):
    ended("POST and PUT", ask("PUT", begin(name).place, OCTETS, content, digest=key), key, content, wrong)


def stream(name, key, content, wrong=False):
    answer = ask("PATCH", begin(name).place, OCTETS, content, streamed=True)
    check("a streamed PATCH", answer.status == 202 and answer.place, answer.status)
    ended("stream", ask("PUT", answer.place, OCTETS, digest=key), key, content, wrong)


def chunked(name, key, content, wrong=False, put_last=False, disordered=False):
    what = f"chunks{', the last by PUT' if put_last else ''}{', out of order' if disordered else ''}"
    answer = begin(name)
    size = max(len(content) // 3 + 1, 1024, int(answer.header("OCI-Chunk-Min-Length") or 0))
    place, sent = answer.place, 0

    def send(start, end):
        headers = {**OCTETS, "Content-Range": f"{start}-{end - 1}"}
        if put_last and end == len(content):
            return ask("PUT", place, headers, content[start:end], digest=key)
        return ask("PATCH", place, headers, content[start:end])

    while sent < len(content):
        if disordered:
            start = sent + size if sent + size < len(content) else 0
            answer = send(start, min(start + size, len(content)))
            check(f"{what}: 416", answer.status == 416, answer.status)
            answer = ask("GET", answer.place or place)
            range_ = answer.header("Range") or ""
            check(f"{what}: status", answer.status == 204 and (sent == 0 or range_ == f"0-{sent - 1}"), range_)
            place = answer.place
        end = min(sent + size, len(content))
        answer = send(sent, end)
        sent = end
        if put_last and end == len(content):
            return ended(what, answer, key, content, wrong)
        check(f"{what}: PATCH", answer.status == 202 and answer.header("Range") == f"0-{end - 1}", answer.status)
        place = answer.place
    ended(what, ask("PUT", place, OCTETS, digest=key), key, content, wrong)


WAYS = (post_put, post_only, stream, chunked)


def blob_is_there(key, content, name=REPOSITORY):
    for method, body in (("HEAD", b""), ("GET", content)):
        answer = ask(method, blob_path(name, key))
        check(f"{method} of a blob",
              answer.status == 200 and answer.body == body and answer.header("Content-Length") == str(len(content))
              and answer.header("Docker-Content-Digest") == key, answer.status)


def delete_blob(key, name=REPOSITORY):
    answer = ask("DELETE", blob_path(name, key))
    check("DELETE of a blob", answer.status in (202, 404), (answer.status, answer.body))
    check("a deleted blob is gone", ask("HEAD", blob_path(name, key)).status == 404)


def blobs(algorithm):
    def new(size=512):
        content = os.urandom(size)
        return digest(content, algorithm), content

    check("a blob nobody sent", ask("GET", blob_path(REPOSITORY, new()[0])).status == 404)
    for way in WAYS:
        key, content = new()
        way(REPOSITORY, key, content)
        blob_is_there(key, content)
        delete_blob(key)
    for put_last in (False, True):
        for disordered in (False, True):
            key, content = new(3 * 1024 - 5)
            chunked(REPOSITORY, key, content, put_last=put_last, disordered=disordered)
            blob_is_there(key, content)
            delete_blob(key)
    for source in ({"from_": OTHER}, {}):
        key, content = new()
        post_put(OTHER, key, content)
        ended("mount", ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", mount=key, **source), key, content, False)
        blob_is_there(key, content)
        delete_blob(key)
        delete_blob(key, OTHER)
    key, content = new()
    place = begin(mount=key, from_=OTHER).place
    ended("a mount of nothing", ask("PUT", place, OCTETS, content, digest=key), key, content, False)
    delete_blob(key)
    place = begin(digest_algorithm=algorithm).place
    check("an upload is cancelled", ask("DELETE", place).status == 204)
    check("a cancelled upload is gone", ask("GET", place).status == 404)
    ranges(*new(2048))
    for content in (b"", b"{}"):
        for way in (post_put, post_only, stream):
            key = digest(content, algorithm)
            way(REPOSITORY, key, content)
            blob_is_there(key, content)
            delete_blob(key)
    for way in WAYS:
        key, content = new(3067)
        way(REPOSITORY, key, content + b"oh no", wrong=True)
    chunked(REPOSITORY, key, content + b"oh no", wrong=True, put_last=True)


def ranges(key, content):
    post_put(REPOSITORY, key, content)
    for text, first, end in (("500-1499", 500, 1500), ("500-", 500, 2048), ("-500", 1548, 2048),
                             ("2000-5000", 2000, 2048), ("500-0", None, None), ("5000-10000", None, None)):
        answer = ask("GET", blob_path(REPOSITORY, key), {"Range": f"bytes={text}"})
        if first is None:
            check(f"range {text}", answer.status == 416, answer.status)
        else:
            check(f"range {text}",
                  answer.status == 206 and answer.body == content[first:end]
                  and answer.header("Content-Length") == str(end - first)
                  and answer.header("Content-Range") == f"bytes {first}-{end - 1}/2048", answer.status)
    delete_blob(key)


# Manifests

class Collection:
    """Some manifests with their blobs, in the order of pushing."""

    def __init__(self, name, algorithm="sha256"):
        self.name, self.algorithm = name, algorithm
        self.blobs, self.manifests, self.tags, self.referrers = {}, {}, {}, {}
        self.sets_tags_by_parameter = False

    def blob(self, content, kind, data=False):
        key = digest(content, self.algorithm)
        self.blobs[key] = content
        entry = {"mediaType": kind, "digest": key, "size": len(content)}
        return {**entry, "data": base64.b64encode(content).decode()} if data else entry

    def layer(self, compressed=True, data=False):
        out, content = io.BytesIO(), os.urandom(20).hex().encode()
        with tarfile.open(fileobj=out, mode="w:gz" if compressed else "w") as archive:
            entry = tarfile.TarInfo("file")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return self.blob(out.getvalue(), LAYER + ("+gzip" if compressed else ""), data)

    def image(self, tag=None, layers=None, config=None, data=False, more=None, **members):
        if layers is None:
            layers = [self.layer(data=data), self.layer(data=data)]
        if config is None:
            text = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [os.urandom(8).hex()]}}
            config = self.blob(json.dumps({**text, **(more or {})}).encode(), CONFIG, data)
        return self.add({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers, **members,
                         **(more or {})}, tag, members.get("artifactType") or config["mediaType"])

    def artifact(self, kind, layer_kind=None, content=None, **members):
        return self.image(layers=[self.blob(content or os.urandom(2048), layer_kind or kind)],
                          config=self.blob(b"{}", EMPTY), artifactType=kind, **members)

    def index(self, keys, tag=None, more=None, platforms=True, **members):
        entries = [{**self.entry(key), **({"platform": {"architecture": f"a{number}", "os": "linux"}} if platforms else {})}
                   for number, key in enumerate(keys)]
        return self.add({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **members, **(more or {})}, tag,
                        members.get("artifactType"))

    def add(self, manifest, tag, kind):
        content = json.dumps(manifest, separators=(",", ":")).encode()
        key = digest(content, self.algorithm)
        self.manifests[key] = content
        if tag:
            self.tags[tag] = key
        if "subject" in manifest:
            entry = {**self.entry(key), "annotations": manifest.get("annotations", {})}
            if kind:
                entry["artifactType"] = kind
            self.referrers.setdefault(manifest["subject"]["digest"], []).append(entry)
        return key

    def entry(self, key):
        content = self.manifests[key]
        return {"mediaType": json.loads(content)["mediaType"], "digest": key, "size": len(content)}


def collections():
    first, second = "application/vnd.example.spec.v1", "application/vnd.example.spec.v2"

    def notes():
        return {"org.example.note": "hello", "org.example." + os.urandom(4).hex(): os.urandom(4).hex()}

    made = []

    def new(*arguments):
        made.append(Collection(*arguments))
        return made[-1]

    new("image").image("image")
    (one := new("uncompressed layers")).image("plain", layers=[one.layer(compressed=False)])
    new("large manifest").image("large", annotations={f"note-{number}": "A" * 10_000 for number in range(390)})
    (one := new("index")).index([one.image(), one.image()], "index")
    (one := new("index of indexes")).index(
        [one.index([one.image(), one.image()]), one.index([one.image()])], "nested", platforms=False)
    new("empty index").index([], "empty-index")
    new("artifact").artifact(first, tag="artifact")
    (one := new("index of artifacts")).index([one.artifact(first), one.artifact(first)], "artifacts", artifactType=first)
    new("artifact without content").artifact(first, EMPTY, b"{}", tag="bare")
    one = new("referrers")
    subject = one.entry(one.image("image"))
    one.image(subject=subject)
    one.artifact(first, subject=subject, annotations=notes(), tag="referrer-1")
    one.artifact(second, "application/octet-stream", subject=subject, annotations=notes(), tag="referrer-2")
    one = new("indexes as referrers")
    subject = one.entry(one.index([one.image(), one.image()], "index"))
    one.index([one.artifact(first, subject=subject)], "referrer", artifactType=first, subject=subject, annotations=notes())
    one.index([], subject=subject, annotations=notes())
    missing = {"mediaType": IMAGE, "digest": digest(os.urandom(9)), "size": 123}
    new("subject that is missing").artifact(first, subject=missing, annotations=notes(), tag="early")
    new("embedded data").image("data", data=True)
    one = new("layers kept elsewhere")
    one.image("foreign", layers=[
        {"mediaType": FOREIGN + end, "digest": digest(os.urandom(9)), "size": 12_345, "urls": ["https://example.com/x"]}
        for end in ("+gzip", "")] + [one.layer()])
    more = {"org.example.more": "x", "deep": {"er": [1, 2.5, None, True]}}
    (one := new("members nobody knows")).index([one.image(more=more), one.image(more=more)], "members", more=more)
    new("no layers").image("no-layers", layers=[])
    (one := new("sha512", "sha512")).index([one.image(), one.image()])
    for algorithm in ("sha256", "sha512"):
        one = new(f"tags by parameter, {algorithm}", algorithm)
        one.sets_tags_by_parameter = True
        one.index([one.image(f"{algorithm}-image"), one.image()], f"{algorithm}-index")
        one.tags.update({f"{algorithm}-{number}": key for number, key in enumerate(one.manifests)})
    return made


def put_manifest(one, reference, key, tags=()):
    content = one.manifests[key]
    manifest = json.loads(content)
    query = {"tag": list(tags)} if tags else {}
    answer = ask("PUT", f"/v2/{REPOSITORY}/manifests/{reference}", {"Content-Type": manifest["mediaType"]}, content,
                 streamed=True, **query)
    check(f"{one.name}: PUT", answer.status == 201 and answer.header("Docker-Content-Digest") == key,
          (answer.status, answer.body))
    if "subject" in manifest:
        check(f"{one.name}: OCI-Subject", answer.header("OCI-Subject") == manifest["subject"]["digest"])
    said = {tag.strip() for line in answer.all("OCI-Tag") for tag in line.split(",")}
    check(f"{one.name}: OCI-Tag", set(tags) <= said, said)
    read = ask("GET", answer.place)
    check(f"{one.name}: its location", read.status == 200 and read.body == content, read.status)


def list_tags(one):
    answer = ask("GET", f"/v2/{REPOSITORY}/tags/list")
    if answer.status == 404:
        return check(f"{one.name}: tags", not one.tags)
    tags = json.loads(answer.body)["tags"]
    check(f"{one.name}: tags", set(one.tags) <= set(tags) and tags == sorted(tags), tags)
    if len(tags) < 2:
        return
    half = len(tags) // 2
    answer = ask("GET", f"/v2/{REPOSITORY}/tags/list", last=tags[half - 1])
    check(f"{one.name}: tags after one", json.loads(answer.body)["tags"] == tags[half:])
    answer = ask("GET", f"/v2/{REPOSITORY}/tags/list", n=1)
    check(f"{one.name}: one tag", json.loads(answer.body)["tags"] == tags[:1] and 'rel="next"' in answer.header("Link"))
    answer = ask("GET", f"/v2/{REPOSITORY}/tags/list", n=0)
    check(f"{one.name}: no tags", json.loads(answer.body)["tags"] == [] and not answer.header("Link"))


def referrers_of(subject, what, **query):
    answer = ask("GET", f"/v2/{REPOSITORY}/referrers/{subject}", **query)
    is_index = answer.status == 200 and answer.header("Content-Type") == INDEX
    document = json.loads(answer.body) if is_index else {"manifests": []}
    check(f"{what}: referrers",
          is_index and document["mediaType"] == INDEX and document["schemaVersion"] == 2, answer.status)
    return document["manifests"], answer.header("OCI-Filters-Applied") or ""


def list_referrers(one):
    for subject, expected in one.referrers.items():
        found, _ = referrers_of(subject, one.name)
        known = {entry["digest"]: entry for entry in found}
        for entry in expected:
            seen = known.get(entry["digest"], {})
            check(f"{one.name}: an entry", {**seen, "annotations": seen.get("annotations", {})} == entry, seen)
        for kind in {entry["artifactType"] for entry in expected if "artifactType" in entry}:
            found, applied = referrers_of(subject, one.name, artifactType=kind)
            check(f"{one.name}: filter", "artifactType" in applied, applied)
            wanted = {entry["digest"] for entry in expected if entry.get("artifactType") == kind}
            check(f"{one.name}: filtered", {entry["digest"] for entry in found} == wanted, found)


def manifests(one):
    for number, (key, content) in enumerate(one.blobs.items()):
        WAYS[number % len(WAYS)](REPOSITORY, key, content)
    for key in one.manifests:
        put_manifest(one, key, key, [tag for tag in one.tags if one.tags[tag] == key and one.sets_tags_by_parameter])
    for tag, key in one.tags.items():
        if not one.sets_tags_by_parameter:
            put_manifest(one, tag, key)
    list_tags(one)
    for reference, key in [*one.tags.items(), *zip(one.manifests, one.manifests)]:
        content = one.manifests[key]
        for method, body in (("HEAD", b""), ("GET", content)):
            answer = ask(method, f"/v2/{REPOSITORY}/manifests/{reference}", {"Accept": [INDEX, IMAGE]})
            check(f"{one.name}: {method}",
                  answer.status == 200 and answer.body == body and answer.header("Docker-Content-Digest") == key
                  and answer.header("Content-Type") == json.loads(content)["mediaType"]
                  and answer.header("Content-Length") == str(len(content)), answer.status)
    for key, content in one.blobs.items():
        blob_is_there(key, content)
    list_referrers(one)
    for reference in [*one.tags, *reversed(one.manifests)]:
        path = f"/v2/{REPOSITORY}/manifests/{reference}"
        answer = ask("DELETE", path)
        check(f"{one.name}: DELETE", answer.status == 202, (answer.status, answer.body))
        check(f"{one.name}: gone", ask("HEAD", path).status == 404)
    for key in one.blobs:
        delete_blob(key)
    for subject in one.referrers:
        check(f"{one.name}: no referrers left", referrers_of(subject, one.name)[0] == [])


def refusals():
    def refused(what, statuses, *arguments, code=None, **more):
        answer = ask(*arguments, **more)
        check(what, answer.status in statuses, (answer.status, answer.body[:200]))
        if code:
            check(f"{what}: code", json.loads(answer.body)["errors"][0]["code"] == code, answer.body[:200])

    manifests_ = f"/v2/{REPOSITORY}/manifests"
    nothing = digest(os.urandom(9))
    refused("a manifest nobody sent", [404], "GET", f"{manifests_}/{nothing}", code="MANIFEST_UNKNOWN")
    refused("a tag nobody set", [404], "GET", f"{manifests_}/missing")
    refused("a tag nobody set, deleted", [404], "DELETE", f"{manifests_}/missing")
    refused("a blob nobody sent, deleted", [404], "DELETE", blob_path(REPOSITORY, nothing))
    one = Collection("refused")
    key = one.image()
    content, kind = one.manifests[key], {"Content-Type": IMAGE}
    refused("an image without its blobs", [400, 404], "PUT", f"{manifests_}/x", kind, content,
            code="MANIFEST_BLOB_UNKNOWN")
    for blob, bytes_ in one.blobs.items():
        post_put(REPOSITORY, blob, bytes_)
    refused("another digest", [400], "PUT", f"{manifests_}/{key}", kind, content + b"  ", code="DIGEST_INVALID")
    refused("no digest", [400], "PUT", f"{manifests_}/sha256:nodigest", kind, content)
    refused("no digest, read", [400, 404], "GET", f"{manifests_}/sha256:nodigest")
    refused("no tag", [400], "PUT", f"{manifests_}/.x", kind, content)
    refused("no JSON", [400], "PUT", f"{manifests_}/x", kind, b"{", code="MANIFEST_INVALID")
    refused("too large", [413], "PUT", f"{manifests_}/x", kind, b" " * (5 << 20))
    refused("referrers of no digest", [400], "GET", f"/v2/{REPOSITORY}/referrers/sha256:nodigest")
    for name in ("UPPER/x", "a//b", "a/-b", "a..b/x"):
        refused(f"the name {name}", [400, 404], "GET", f"/v2/{name}/tags/list")
    for blob in one.blobs:
        delete_blob(blob)


check("GET /v2/", ask("GET", "/v2/").status == 200)
check("tags of nothing", ask("GET", f"/v2/{REPOSITORY}/tags/list").status in (200, 404))
check("referrers of nothing", referrers_of(digest(os.urandom(9)), "an unknown repository")[0] == [])
for algorithm in ("sha256", "sha512"):
    blobs(algorithm)
for one in collections():
    manifests(one)
refusals()
print(f"{passes} checks passed, {differences} differ")
sys.exit(1 if differences else 0)
