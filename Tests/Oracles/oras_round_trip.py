#!/usr/bin/env python3
"""oras-py against our registry: pushes whole and in chunks, with a subject, pulls, lists tags, deletes.

oras_round_trip.py HOST:PORT FOLDER [USER PASSWORD]   FOLDER: files to push, any
"""
import filecmp
import hashlib
import os
import sys
import tempfile

import oras.client
import oras.oci

host, folder = sys.argv[1:3]
client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="token" if len(sys.argv) > 3 else "basic")
if len(sys.argv) > 3:
    client.login(username=sys.argv[3], password=sys.argv[4], hostname=host)
files = sorted(os.listdir(folder))
os.chdir(folder)
entries = [f"{name}:application/vnd.example.file" for name in files]
subject = None
for tag, chunked in (("whole", False), ("chunked", True)):
    target = f"{host}/interop/oras:{tag}"
    response = client.push(target=target, files=entries, do_chunked=chunked, chunk_size=1000, subject=subject,
                           disable_path_validation=True, manifest_annotations={"org.example.note": tag})
    assert response.status_code == 201, response.status_code
    manifest = client.get_manifest(target)
    if subject is not None:
        assert manifest["subject"]["digest"] == subject.digest, manifest
        # The registry itself lists it: no fallback tag is needed.
        answer = client.do_request(f"http://{host}/v2/interop/oras/referrers/{subject.digest}")
        assert any(entry["annotations"]["org.example.note"] == tag for entry in answer.json()["manifests"])
    assert len(manifest["layers"]) == len(files)
    with tempfile.TemporaryDirectory() as place:
        client.pull(target=target, outdir=place)
        for name in files:
            assert filecmp.cmp(f"{folder}/{name}", f"{place}/{name}", shallow=False), name
    raw = client.do_request(f"http://{host}/v2/interop/oras/manifests/{tag}",
                            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}).content
    subject = oras.oci.Subject("application/vnd.oci.image.manifest.v1+json",
                               "sha256:" + hashlib.sha256(raw).hexdigest(), len(raw))
assert set(client.get_tags(f"{host}/interop/oras")) >= {"whole", "chunked"}
client.delete_tags(f"{host}/interop/oras", "chunked")
assert "chunked" not in client.get_tags(f"{host}/interop/oras")
print("oras-py: pushed whole and in chunks, with a subject, pulled, listed and deleted")
