#!/usr/bin/env python3
"""Kills the registry at random moments, fills its disk, and lets garbage collection run against clients: nothing that was
acknowledged may be lost, and what is left must be whole.

registry_faults.py INCIPIT [--rounds 100] [--seconds 300] [--only kill|kill-gc|gc|migrate|disk|clock|bits]

kill      kill -9 during pushes, tag moves and deletions over HTTP, from 4 clients; then every acknowledged push is read
          back byte for byte, tags mean what was last acknowledged (or what was being set), and the store verifies
kill-gc   the same, with garbage collection running in a loop, which is killed too
gc        32 clients push and pull artifacts that share blobs while collection without leases runs in a loop
migrate   kill -9 while a catalogue of an earlier schema, each in turn, with 30 000 manifests, is brought up to date
disk      a registry on a file system of 16 MiB (needs the right to mount): pushes until it is full are refused with an
          error, the rest stays readable, and after deleting there is room again
clock     the wall clock jumps by days and years, both ways, under the server and under collection (needs swiftc)
bits      one bit flipped in every stored file in turn, and at random places of the catalogue: what changes what is served
          is found by verify; blobs and manifests are mended by repair --from a backup and from another server
"""
import argparse
import email.utils
import glob
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("incipit")
parser.add_argument("--rounds", type=int, default=100)
parser.add_argument("--seconds", type=float, default=300)
parser.add_argument("--only", choices=["kill", "kill-gc", "gc", "migrate", "disk", "clock", "bits"])
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
random.seed(options.seed)
work = tempfile.mkdtemp(prefix="incipit-faults-")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def fail(text):
    for path in glob.glob(f"{work}/*.log"):
        errors = [line for line in open(path, errors="replace") if '"error"' in line or "rror" in line]
        print(f"{os.path.basename(path)}:", *errors[-3:])
    print("FAIL ", text)
    sys.exit(1)


class Server:
    running = set()

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
        Server.running.add(self.process)
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


def start_clients(count, client, problems):
    """Threads that run client(index); what one loses or raises ends it and goes to the problems."""

    def guarded(index):
        try:
            client(index)
        except SystemExit:
            problems.append(f"client {index} lost something")
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    return threads


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
            if name not in tags:
                continue
            if tags[name][0] and digest(content) not in tags[name]:
                fail(f"{name}:moving is {digest(content)}, acknowledged was {tags[name][0]}")
            # What is served after a restart is what was stored: a move that was under way is decided now.
            if status == 200:
                tags[name] = (digest(content), digest(content))
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

    threads = start_clients(32, client, problems)
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
    olds = [earlier_schema(path, number) for number in (1, 2, 3)]
    killed = 0
    for round_ in range(options.rounds):
        for suffix in ("-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.unlink(path + suffix)
        shutil.copy(olds[round_ % len(olds)], path)
        process = subprocess.Popen([options.incipit, "registry", "status"], env=server.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.01, (1.0, 0.8, 0.1)[round_ % len(olds)]))
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
        server.command("registry", "verify")
    print(f"PASS  {killed} of {options.rounds} migrations killed on their way; each was done by the next process")


def earlier_schema(path, number):
    """A copy of a catalogue as the programs of an earlier schema left it: without what later migrations made."""
    old = f"{path}.{number}"
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    shutil.copy(path, old)
    database = sqlite3.connect(old)
    for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        if trigger.startswith("totals_"):
            database.execute(f"DROP TRIGGER {trigger}")
    database.execute("DROP TABLE totals")
    if number <= 2:
        for index in ("manifests_by_repository", "labels_by_base", "labels_by_base_number"):
            database.execute(f"DROP INDEX {index}")
        database.execute("ALTER TABLE labels DROP COLUMN base")
    if number <= 1:
        for table in ("labels", "versions", "trash_refs", "trash", "protected_tags", "quotas"):
            database.execute(f"DROP TABLE {table}")
        for index in ("manifests_by_base", "manifests_by_type"):
            database.execute(f"DROP INDEX {index}")
    database.execute("DELETE FROM grdb_migrations WHERE CAST(identifier AS INTEGER) > ?", (number,))
    database.commit()
    if database.execute("SELECT count(*) FROM grdb_migrations").fetchone()[0] != number:
        fail(f"the catalogue does not go back to schema {number}")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return old


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


def clock_jumps():
    library, setting, exports = f"{work}/clock.so", f"{work}/clock.shift", f"{work}/clock.exports"
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Clock.swift")
    with open(exports, "w") as file:  # not the runtime's own functions, which the program has as well
        file.write("{ global: clock_gettime; gettimeofday; time; local: *; };")
    compiled = subprocess.run(
        ["swiftc", "-enable-experimental-feature", "Embedded", "-enable-experimental-feature", "Extern", "-wmo",
         "-parse-as-library", "-O", "-emit-library", "-Xlinker", f"--version-script={exports}", "-o", library, source],
        capture_output=True, text=True)
    if compiled.returncode != 0:
        fail(f"the library that moves the clock does not compile: {compiled.stderr[-2000:]}")
    server = Server(f"{work}/clock")
    os.makedirs(server.home)

    def jump(days):
        # In one write, so that nobody sees half of it.
        with open(setting, "r+b" if os.path.exists(setting) else "wb") as file:
            file.write(struct.pack("<q", days * 86_400))

    jump(4000)
    server.environment.update(LD_PRELOAD=library, CLOCK_SHIFT_FILE=setting)
    server.start()
    shifted = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    shifted.request("GET", "/v2/")
    date = email.utils.parsedate_to_datetime(shifted.getresponse().getheader("Date"))
    if date.timestamp() < time.time() + 3999 * 86_400:
        fail(f"the server's clock did not move: it says {date}")
    jump(0)
    shared = [b"shared blob %d " % index * 1000 for index in range(5)]
    acknowledged, problems, ending = [], [], threading.Event()
    expired = [0]

    def client(index):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        number = 0
        while not ending.is_set():
            number += 1
            contents = [os.urandom(random.choice([100, 300_000])), *random.sample(shared, 2)]
            try:
                manifest = push(connection, f"clock/c{index}", f"t{number}", contents)
            except LookupError:
                continue
            except OSError as error:
                # An upload from before a jump of more than a day is over: the spec's 404, and the client begins anew.
                if "404" not in str(error):
                    raise
                expired[0] += 1
                continue
            acknowledged.append((f"clock/c{index}", f"t{number}", manifest))
            check_artifact(connection, f"clock/c{index}", manifest)

    threads = start_clients(4, client, problems)
    jumps = 0
    for _ in range(options.rounds):
        if problems:
            break
        jump(random.choice([-4000, -400, -2, -1, 0, 1, 2, 8, 400, 4000]))
        jumps += 1
        time.sleep(0.05)
        server.command("registry", "gc")
    ending.set()
    for thread in threads:
        thread.join()
    if problems:
        fail(problems[0])
    jump(-4000)
    server.stop()
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for name, tag, manifest in acknowledged:
        check_artifact(connection, name, manifest)
        status, content, _ = request(connection, "GET", f"/v2/{name}/manifests/{tag}")
        if status != 200 or content != manifest:
            fail(f"{name}:{tag} answers {status} after the clock jumped")
    server.stop()
    server.command("registry", "verify", "--read-data")
    # What was used in what is now the future must not stay for ever: at the latest time that was, all of it may go.
    jump(4002)
    before = json.loads(server.command("registry", "status", "--json").stdout)
    server.command("registry", "gc", "--hours", "0", "--trash-hours", "0")
    after = json.loads(server.command("registry", "status", "--json").stdout)
    if after["manifests"] != before["manifests"] or after["openUploads"] != 0:
        fail(f"collection at the end: {before}, then {after}")
    if not acknowledged:
        fail("no push was acknowledged while the clock jumped")
    print(f"PASS  {jumps} jumps of the clock: {len(acknowledged)} pushes are whole, {expired[0]} uploads expired")


def flipped_bits():
    server = Server(f"{work}/bits")
    os.makedirs(server.home)
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    stored = {}
    for number, size in enumerate([10, 3000, 60_000, 200_000, 400_000]):
        # Noise is stored as it is, text compressed; small ones lie in the catalogue, large ones in files.
        for kind, content in (("noise", os.urandom(size)), ("text", b"%d words " % number * (size // 8 + 1))):
            name = f"bits/{kind}{number}"
            stored[name] = push(connection, name, "v1", [content, os.urandom(150_000)])
            request(connection, "PUT", f"/v2/{name}/manifests/moving", stored[name], {"Content-Type": MANIFEST})
    expected = served(connection, stored)
    server.stop()
    backup = f"{work}/bits-backup"
    server.command("registry", "backup", backup)
    catalogue = server.home + "/registry/catalogue.sqlite"
    database = sqlite3.connect(catalogue)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()

    # Another server that has everything, for repairs over the network.
    other = Server(f"{work}/bits-other")
    os.makedirs(other.home)
    shutil.copytree(backup, other.home + "/registry")
    other.start()

    files = [path for path in glob.glob(server.home + "/registry/blobs/**/*", recursive=True) if os.path.isfile(path)]
    if len(files) < 10:
        fail(f"only {len(files)} blobs lie in files")
    for index, path in enumerate(files):
        bit = flip(path, random.randrange(os.path.getsize(path) * 8))
        found = server.command("registry", "verify", "--read-data", check=False)
        if found.returncode != 65 or os.path.basename(path) not in found.stdout:
            fail(f"bit {bit} of {path}: verify ended with {found.returncode}: {found.stdout}{found.stderr}")
        source = backup if index % 2 else f"127.0.0.1:{other.port}"
        server.command("registry", "repair", "--from", source)
        server.command("registry", "verify", "--read-data")
    check_served(server, stored, expected, "after all repairs")

    # The catalogue: whatever the bit does, what is served is right or refused, or verify finds it.
    database = sqlite3.connect(catalogue)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    whole = open(catalogue, "rb").read()
    outcomes = {"harmless": 0, "repaired": 0, "restored": 0}
    for _ in range(max(options.rounds, 10)):
        for suffix in ("-wal", "-shm"):
            if os.path.exists(catalogue + suffix):
                os.unlink(catalogue + suffix)
        with open(catalogue, "wb") as file:
            file.write(whole)
        bit = flip(catalogue, random.randrange(len(whole) * 8))
        found = server.command("registry", "verify", "--read-data", check=False)
        if found.returncode < 0 or found.returncode > 78:
            fail(f"bit {bit} of the catalogue: verify ended with {found.returncode}: {found.stderr[-500:]}")
        if found.returncode == 0:
            check_served(server, stored, expected, f"verify sees nothing of bit {bit} of the catalogue, but")
            outcomes["harmless"] += 1
            continue
        mended = server.command("registry", "repair", "--from", f"127.0.0.1:{other.port}", check=False)
        if mended.returncode == 0:
            server.command("registry", "verify", "--read-data")
            outcomes["repaired"] += 1
        else:
            shutil.rmtree(server.home + "/registry")
            server.command("registry", "restore", backup)
            outcomes["restored"] += 1
        check_served(server, stored, expected, f"bit {bit} of the catalogue:")
    other.stop()
    print(f"PASS  {len(files)} blobs with a flipped bit were found and mended; bits of the catalogue: {outcomes}")


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))
    return bit


def served(connection, stored):
    """Everything that clients can ask for, by its path."""
    answers = {}
    for name, manifest in stored.items():
        paths = [f"/v2/{name}/tags/list", f"/v2/{name}/manifests/v1", f"/v2/{name}/manifests/moving",
                 f"/v2/{name}/manifests/{digest(manifest)}"]
        paths += [f"/v2/{name}/blobs/{layer['digest']}" for layer in json.loads(manifest)["layers"]]
        for path in paths:
            status, content, _ = request(connection, "GET", path)
            answers[path] = (status, digest(content))
    return answers


def check_served(server, stored, expected, what):
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    found = served(connection, stored)
    for path, answer in expected.items():
        if found[path] != answer:
            fail(f"{what} {path} answers {found[path]} instead of {answer}")
    server.stop()


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
    if options.only in (None, "clock"):
        clock_jumps()
    if options.only in (None, "bits"):
        flipped_bits()
finally:
    for process in Server.running:  # what a failure left
        process.kill()
    shutil.rmtree(work, ignore_errors=True)
