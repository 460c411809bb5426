#!/usr/bin/env python3
"""Kills the registry at random moments, fills its disk, and lets garbage collection run against clients: nothing that was
acknowledged may be lost, and what is left must be whole.

registry_faults.py INCIPIT [--rounds 100] [--seconds 300] [--only kill|kill-gc|gc|migrate|disk]

kill      kill -9 during pushes, tag moves and deletions over HTTP, from 4 clients; then every acknowledged push is read
          back byte for byte, tags mean what was last acknowledged (or what was being set), and the store verifies
kill-gc   the same, with garbage collection running in a loop, which is killed too
gc        32 clients push and pull artifacts that share blobs while collection without leases runs in a loop
migrate   kill -9 while a catalogue of the first schema, with 30 000 manifests, is brought up to date
disk      a registry on a file system of 16 MiB (needs the right to mount): pushes until it is full are refused with an
          error, the rest stays readable, and after deleting there is room again
"""
import argparse
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("incipit")
parser.add_argument("--rounds", type=int, default=100)
parser.add_argument("--seconds", type=float, default=300)
parser.add_argument("--only", choices=["kill", "kill-gc", "gc", "migrate", "disk"])
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
random.seed(options.seed)
work = tempfile.mkdtemp(prefix="incipit-faults-")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def fail(text):
    print("FAIL ", text)
    sys.exit(1)


class Server:
    def __init__(self, home):
        self.home = home
        self.environment = dict(os.environ, INCIPIT_HOME=home, INCIPIT_CACHE=home + "-cache")
        self.process = None

    def start(self):
        port_file = self.home + ".port"
        if os.path.exists(port_file):
            os.unlink(port_file)
        self.log = open(self.home + ".log", "ab")
        self.process = subprocess.Popen(
            [options.incipit, "serve", "--registry", "--port", "0", "--port-file", port_file],
            env=self.environment, stderr=self.log)
        for _ in range(300):
            if os.path.exists(port_file) and open(port_file).read().strip():
                self.port = int(open(port_file).read())
                return
            if self.process.poll() is not None:
                fail("the server did not start: " + open(self.home + ".log").read()[-2000:])
            time.sleep(0.02)
        fail("the server did not say its port")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=60) != 0:
            fail(f"the server ended with {self.process.returncode}")

    def command(self, *arguments, check=True):
        result = subprocess.run([options.incipit, *arguments], env=self.environment, capture_output=True, text=True)
        if check and result.returncode != 0:
            fail(f"{arguments} ended with {result.returncode}: {result.stdout[-500:]}{result.stderr[-500:]}")
        return result


def request(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.read(), response.getheader("Location") or ""


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def push_blob(connection, name, content):
    status, _, place = request(connection, "POST", f"/v2/{name}/blobs/uploads/")
    if status != 202:
        raise OSError(f"POST answered {status}")
    if random.random() < 0.3:  # in two pieces, so that files and rows of uploads are in play
        half = len(content) // 2
        status, _, place = request(connection, "PATCH", place, content[:half], {"Content-Range": f"0-{half - 1}"})
        if status != 202:
            raise OSError(f"PATCH answered {status}")
        content, whole = content[half:], content
    else:
        whole = content
    status, answer, _ = request(connection, "PUT", f"{place}?digest={digest(whole)}", content)
    if status != 201:
        raise OSError(f"PUT answered {status} {answer[:200]}")
    return {"mediaType": "application/octet-stream", "digest": digest(whole), "size": len(whole)}


def push(connection, name, tag, contents):
    layers = []
    for content in contents:
        status, _, _ = request(connection, "HEAD", f"/v2/{name}/blobs/{digest(content)}")
        known = {"mediaType": "application/octet-stream", "digest": digest(content), "size": len(content)}
        layers.append(known if status == 200 else push_blob(connection, name, content))
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": layers[0], "layers": layers}).encode()
    status, answer, _ = request(connection, "PUT", f"/v2/{name}/manifests/{tag}", manifest, {"Content-Type": MANIFEST})
    if status == 404 and b"MANIFEST_BLOB_UNKNOWN" in answer:
        raise LookupError("a blob went meanwhile")
    if status != 201:
        raise OSError(f"manifest answered {status} {answer[:200]}")
    return manifest


def check_artifact(connection, name, manifest):
    status, content, _ = request(connection, "GET", f"/v2/{name}/manifests/{digest(manifest)}")
    if status != 200 or content != manifest:
        fail(f"{name}: acknowledged manifest {digest(manifest)} answers {status}")
    for layer in json.loads(manifest)["layers"]:
        status, content, _ = request(connection, "GET", f"/v2/{name}/blobs/{layer['digest']}")
        if status != 200 or digest(content) != layer["digest"]:
            fail(f"{name}: acknowledged blob {layer['digest']} answers {status}")


def kill_rounds(collecting):
    server = Server(f"{work}/kill{'-gc' if collecting else ''}")
    os.makedirs(server.home)
    acknowledged, tags, lock = {}, {}, threading.Lock()  # manifests by repository; tag: (last acknowledged, under way)
    for round_ in range(options.rounds):
        server.start()
        ending = threading.Event()

        def client(index):
            name = f"faults/c{index}"
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            number = 0
            try:
                while not ending.is_set():
                    number += 1
                    contents = [os.urandom(random.choice([10, 2000, 60_000, 300_000])), b"shared %d" % (number % 3)]
                    manifest_tag = f"t{round_}-{number}"
                    try:
                        manifest = push(connection, name, manifest_tag, contents)
                    except LookupError:
                        continue
                    with lock:
                        acknowledged.setdefault(name, []).append(manifest)
                    before = tags.get(name, (None, None))[0]
                    tags[name] = (before, digest(manifest))
                    status, _, _ = request(connection, "PUT", f"/v2/{name}/manifests/moving", manifest,
                                           {"Content-Type": MANIFEST})
                    if status == 201:
                        tags[name] = (digest(manifest), digest(manifest))
            except (OSError, http.client.HTTPException):
                if not ending.is_set():
                    ending.wait(1)

        def collector():
            while not ending.is_set():
                process = subprocess.Popen([options.incipit, "registry", "gc", "--hours", "0.001",
                                            "--trash-hours", "0"],
                                           env=server.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                ending.wait(random.uniform(0.01, 0.1))
                process.kill()
                process.wait()

        threads = [threading.Thread(target=client, args=(index,)) for index in range(4)]
        if collecting:
            threads.append(threading.Thread(target=collector))
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.05, 0.6))
        ending.set()
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for name, manifests in acknowledged.items():
            for manifest in manifests[-20:]:
                check_artifact(connection, name, manifest)
            status, content, _ = request(connection, "GET", f"/v2/{name}/manifests/moving")
            if name in tags and tags[name][0] and digest(content) not in tags[name]:
                fail(f"{name}:moving is {digest(content)}, acknowledged was {tags[name][0]}")
        connection.close()
        server.stop()
        if round_ % 10 == 9 or round_ == options.rounds - 1:
            server.command("registry", "verify", "--read-data")
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    count = 0
    for name, manifests in acknowledged.items():
        for manifest in manifests:
            check_artifact(connection, name, manifest)
            count += 1
    server.stop()
    if count == 0:
        fail("no push was ever acknowledged")
    print(f"PASS  {options.rounds} kills{' during collection' if collecting else ''}: {count} acknowledged pushes are whole")


def collection_under_load():
    server = Server(f"{work}/gc")
    os.makedirs(server.home)
    server.start()
    deadline = time.time() + options.seconds
    shared = [b"shared blob %d " % index * 1000 for index in range(12)]
    problems, counts = [], [0, 0]

    def client(index):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            name = f"gc/r{index % 4}"
            while time.time() < deadline and not problems:
                contents = random.sample(shared, 3) + [os.urandom(1000)]
                try:
                    manifest = push(connection, name, f"c{index}", contents)
                except LookupError:
                    counts[1] += 1  # the spec's answer: push again what went
                    continue
                check_artifact(connection, name, manifest)
                counts[0] += 1
                if random.random() < 0.5:
                    request(connection, "DELETE", f"/v2/{name}/manifests/{digest(manifest)}")
        except SystemExit:
            problems.append(f"client {index} lost something")
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=client, args=(index,)) for index in range(32)]
    for thread in threads:
        thread.start()
    collections = 0
    while time.time() < deadline and not problems:
        server.command("registry", "gc", "--hours", "0", "--trash-hours", "0")
        collections += 1
    for thread in threads:
        thread.join()
    server.stop()
    if problems:
        fail(problems[0])
    server.command("registry", "verify", "--read-data")
    print(f"PASS  {collections} collections beside 32 clients: {counts[0]} pushes were whole, {counts[1]} had to repeat a blob")


def migration():
    server = Server(f"{work}/migrate")
    os.makedirs(server.home)
    server.command("registry", "status")
    path = server.home + "/registry/catalogue.sqlite"
    generator = os.path.join(os.path.dirname(__file__), "../Benchmarks/catalogue.py")
    subprocess.run([sys.executable, generator, server.home + "/registry", "30000"], check=True, capture_output=True)
    database = sqlite3.connect(path)
    # Back to schema 1: what the second migration made goes, and so does the memory of it.
    for table in ("labels", "versions", "trash_refs", "trash", "protected_tags", "quotas"):
        database.execute(f"DROP TABLE {table}")
    for index in ("manifests_by_base", "manifests_by_type"):
        database.execute(f"DROP INDEX {index}")
    database.execute("DELETE FROM grdb_migrations WHERE identifier = '2 versions and care'")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    old = path + ".old"
    shutil.copy(path, old)
    killed = 0
    for _ in range(options.rounds):
        for suffix in ("-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.unlink(path + suffix)
        shutil.copy(old, path)
        process = subprocess.Popen([options.incipit, "registry", "status"], env=server.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.01, 1.0))
        if process.poll() is None:
            killed += 1
        process.kill()
        process.wait()
        figures = json.loads(server.command("registry", "status", "--json").stdout)
        if figures["manifests"] != 30000 or figures["tags"] != 30000:
            fail(f"after a killed migration the catalogue has {figures}")
        found = json.loads(server.command("prompt", "list", "--task", "task-7", "--json").stdout)
        if len(found) != 1000:
            fail(f"after a killed migration {len(found)} of 1000 prompts of a task are found")
    print(f"PASS  {killed} of {options.rounds} migrations killed on their way; each was done by the next process")


def full_disk():
    home = f"{work}/disk"
    os.makedirs(home)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", home], capture_output=True, text=True)
    if mounted.returncode != 0:
        print("SKIP  disk: no right to mount a file system")
        return
    try:
        server = Server(home + "/registry-home")
        os.makedirs(server.home)
        server.home_port = None
        server.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        stored, refusals = [], 0
        for number in range(200):
            content = os.urandom(random.choice([50_000, 400_000]))
            try:
                stored.append(push(connection, "disk/a", f"t{number}", [content]))
            except (OSError, http.client.HTTPException) as error:
                refusals += 1
                if "500" not in str(error) and "507" not in str(error):
                    fail(f"a full disk was answered with {error}")
                connection.close()
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                if refusals >= 5:
                    break
        if refusals == 0 or not stored:
            fail(f"{len(stored)} pushes and {refusals} refusals: the disk did not fill up")
        for manifest in stored:
            check_artifact(connection, "disk/a", manifest)
        server.stop()
        server.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for manifest in stored:
            check_artifact(connection, "disk/a", manifest)
        server.stop()
        print(f"PASS  a full disk: {refusals} pushes refused, {len(stored)} acknowledged ones whole")
    finally:
        subprocess.run(["umount", "-l", home])


try:
    if options.only in (None, "kill"):
        kill_rounds(False)
    if options.only in (None, "kill-gc"):
        kill_rounds(True)
    if options.only in (None, "gc"):
        collection_under_load()
    if options.only in (None, "migrate"):
        migration()
    if options.only in (None, "disk"):
        full_disk()
finally:
    shutil.rmtree(work, ignore_errors=True)
