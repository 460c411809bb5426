#!/usr/bin/env python3
"""Pushes small prompts to an OCI registry, and says how fast they were acknowledged.

registry_load.py PORT CLIENTS PUSHES   each push: a small config, a layer of 50 KB of noise, a manifest with a tag
Prints one JSON line: pushes a second, median and 99th percentile in milliseconds, and a blob's path to pull.
"""
import hashlib
import http.client
import json
import os
import sys
import threading
import time

port, clients, pushes = (int(argument) for argument in sys.argv[1:4])
run = os.urandom(4).hex()
latencies, failures = [], []
last_blob = ""


def request(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response, response.read()


def push_blob(connection, name, content):
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    response, _ = request(connection, "POST", f"/v2/{name}/blobs/uploads/")
    place = response.getheader("Location")
    place = place[place.index("/v2/"):]
    place += ("&" if "?" in place else "?") + "digest=" + digest
    response, answer = request(connection, "PUT", place, content, {"Content-Type": "application/octet-stream"})
    assert response.status == 201, (response.status, answer)
    return {"mediaType": "application/vnd.example.blob", "digest": digest, "size": len(content)}


def push(connection, name, number):
    global last_blob
    start = time.perf_counter()
    config = push_blob(connection, name, json.dumps({"number": number, "name": name}).encode())
    layer = push_blob(connection, name, os.urandom(50_000))
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                "layers": [layer]}
    response, answer = request(connection, "PUT", f"/v2/{name}/manifests/v{number + 1}", json.dumps(manifest).encode(),
                               {"Content-Type": manifest["mediaType"]})
    assert response.status == 201, (response.status, answer)
    latencies.append(time.perf_counter() - start)
    last_blob = f"/v2/{name}/blobs/{layer['digest']}"


def work(index):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(pushes):
            push(connection, f"load/{run}-{index}", number)
    except Exception as error:
        failures.append(repr(error))


start = time.perf_counter()
threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
elapsed = time.perf_counter() - start
if failures:
    sys.exit("a client failed: " + failures[0])
latencies.sort()
print(json.dumps({
    "rate": len(latencies) / elapsed, "p50": latencies[len(latencies) // 2] * 1e3,
    "p99": latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))] * 1e3, "blob": last_blob,
}))
