#!/usr/bin/env bash
# Incipit's registry against the tools everybody has: skopeo and Debian's docker-registry.
#
# Trains a few steps on the tiny model, then: skopeo copies the result from our server to an OCI layout and back, byte
# for byte; we push to docker-registry, whose referrers fallback tag then exists, and pull from it. Installs the two
# tools when they are missing. INCIPIT_BINARY names another executable than the release build.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

missing=()
for tool in skopeo docker-registry curl openssl; do command -v "$tool" > /dev/null || missing+=("$tool"); done
command -v htpasswd > /dev/null || missing+=(apache2-utils)
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"

binary=${INCIPIT_BINARY:-$(swift build -c release --show-bin-path)/incipit}
[ -x "$binary" ] || fail "no release build: run swift build -c release --product incipit"

work=$(mktemp -d)
processes=()
clean_up() {
    local process
    for process in "${processes[@]}"; do
        kill "$process" 2> /dev/null || true
        wait "$process" 2> /dev/null || true
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export INCIPIT_HOME=$work/home INCIPIT_CACHE=$work/cache HOME=$work XDG_RUNTIME_DIR=$work
unset REGISTRY_AUTH_FILE DOCKER_CONFIG

exec 3>&1 # what is printed about a command, when its own output goes elsewhere
passes=0
passed() {
    printf 'PASS  %s\n' "$*"
    passes=$((passes + 1))
}
# Each command is printed before it runs, with the folders of this run left out.
run() {
    local shown="$*"
    shown=${shown//$binary/incipit}
    printf '$ %s\n' "${shown//$work\//}" >&3
    "$@"
}
accept='Accept: application/vnd.oci.image.manifest.v1+json'
manifest_digest() { curl -fsS -H "$accept" "http://$1/manifests/$2" | sha256sum | cut -d' ' -f1; } # HOST/v2/NAME TAG
wait_for_file() { # FILE PROCESS LOG
    for _ in $(seq 200); do
        [ -s "$1" ] && return
        kill -0 "$2" 2> /dev/null || fail "the server ended: $(cat "$3")"
        sleep 0.1
    done
    fail 'the server did not say its port within twenty seconds'
}

name=interop/tiny
printf '\n# A prompt, and our registry to serve it\n'
run "$binary" tune Fixtures/Models/tiny/tiny-llama.gguf --data Fixtures/Data/tiny-kinds.jsonl --name "$name" \
    --tokens 4 --steps 3 --allow-bad-start 2> "$work/tune.log" || fail "$(cat "$work/tune.log")"
"$binary" serve --registry --port 0 --port-file "$work/port" > "$work/ours.log" 2>&1 &
processes+=($!)
wait_for_file "$work/port" "${processes[-1]}" "$work/ours.log"
ours=127.0.0.1:$(cat "$work/port")
before=$(manifest_digest "$ours/v2/$name" v1)

printf '\n# Every request of the distribution spec to our registry\n'
run python3 Tests/Oracles/distribution_spec.py "$ours" || fail 'our registry answers differently than the spec says'
passed 'blobs in every way, eighteen kinds of manifests, referrers, deletions, refusals'

printf '\n# skopeo: from our registry (%s) to an OCI layout and back\n' "$ours"
run skopeo copy -q --src-tls-verify=false "docker://$ours/$name:v1" "oci:$work/layout:v1"
[ -f "$work/layout/blobs/sha256/$before" ] || fail "the OCI layout does not hold the manifest sha256:$before unchanged"
passed "the layout holds manifest sha256:$before unchanged"
count=0
for blob in "$work"/layout/blobs/sha256/*; do
    hex=$(basename "$blob")
    [ "$(sha256sum "$blob" | cut -d' ' -f1)" = "$hex" ] || fail "blob $hex of the layout has other bytes"
    [ "$hex" = "$before" ] && continue
    curl -fsSL "http://$ours/v2/$name/blobs/sha256:$hex" | cmp - "$blob" || fail "blob sha256:$hex differs"
    count=$((count + 1))
done
[ "$count" -ge 3 ] || fail "only $count blobs in the layout"
passed "its $count blobs are ours, byte for byte"

run skopeo copy -q --dest-tls-verify=false "oci:$work/layout:v1" "docker://$ours/interop/returned:v1"
after=$(manifest_digest "$ours/v2/interop/returned" v1)
[ "$before" = "$after" ] || fail "the manifest changed on the way back: $before, then $after"
for blob in "$work"/layout/blobs/sha256/*; do
    hex=$(basename "$blob")
    [ "$hex" = "$before" ] && continue
    curl -fsSL "http://$ours/v2/interop/returned/blobs/sha256:$hex" | cmp - "$blob" || fail "blob sha256:$hex differs"
done
run skopeo copy -q --src-tls-verify=false "docker://$ours/interop/returned:v1" "oci:$work/again:v1"
diff -r "$work/layout" "$work/again" || fail 'the layout of what came back differs'
passed 'back under another name: same manifest, same blobs, same layout'
INCIPIT_HOME=$work/reader run "$binary" pull "$ours/interop/returned:v1"
run "$binary" prompt export "$name:v1" "$work/files"
INCIPIT_HOME=$work/reader run "$binary" prompt export interop/returned:v1 "$work/files-returned"
diff -r "$work/files" "$work/files-returned" || fail 'the prompt that skopeo brought back exports other files'
passed 'what skopeo pushed is a prompt to us: same files'
run skopeo list-tags --tls-verify=false "docker://$ours/$name" | tr -d ' \n' | grep -q '"v1"' ||
    fail 'skopeo does not see the tag v1'
run skopeo inspect --raw --tls-verify=false "docker://$ours/$name@sha256:$before" | sha256sum | grep -q "^$before" ||
    fail 'skopeo inspect shows another manifest'
passed 'skopeo lists our tags and reads a manifest by its digest'

printf '\n# docker-registry: push to it and pull from it\n'
theirs=
for _ in $(seq 20); do # it cannot pick a free port itself
    port=$((20000 + RANDOM % 12000))
    mkdir -p "$work/storage"
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
        "$work/storage" "$port" > "$work/registry.yml"
    docker-registry serve "$work/registry.yml" > "$work/theirs.log" 2>&1 &
    process=$!
    processes+=("$process")
    for _ in $(seq 100); do
        kill -0 "$process" 2> /dev/null || break
        if curl -fs "http://127.0.0.1:$port/v2/" > /dev/null && kill -0 "$process" 2> /dev/null; then
            theirs=127.0.0.1:$port
            break
        fi
        sleep 0.1
    done
    [ -n "$theirs" ] && break
done
[ -n "$theirs" ] || fail "docker-registry did not start: $(cat "$work/theirs.log")"

run "$binary" push "$name:v1" "$theirs/$name:v1"
[ "$(manifest_digest "$theirs/v2/$name" v1)" = "$before" ] || fail 'docker-registry holds another manifest than ours'
passed "docker-registry ($theirs) holds manifest sha256:$before"
run "$binary" push "$name:v1" "$theirs/$name:v1"

# docker-registry 2.8 has no referrers endpoint. The specification's fallback: an index tagged sha256-<hex of subject>.
subject=$(grep -o '"subject":{[^}]*}' "$work/layout/blobs/sha256/$before" | grep -o '[0-9a-f]\{64\}' || true)
[ -n "$subject" ] || fail 'the manifest names no subject'
curl -fsS -H 'Accept: application/vnd.oci.image.index.v1+json' "http://$theirs/v2/$name/manifests/sha256-$subject" \
    > "$work/index.json" || fail "there is no tag sha256-$subject; tags: $(curl -fsS "http://$theirs/v2/$name/tags/list")"
grep -q '"application/vnd.oci.image.index.v1+json"' "$work/index.json" || fail "sha256-$subject is no image index"
[ "$(grep -o "sha256:$before" "$work/index.json" | wc -l)" = 1 ] ||
    fail "the index sha256-$subject does not list sha256:$before exactly once: $(cat "$work/index.json")"
passed "fallback tag sha256-$subject lists it, once, also after a second push"
for registry in "$ours" "$theirs"; do
    listed=$(INCIPIT_HOME=$work/empty run "$binary" prompt list "$registry/$name" \
        --base Fixtures/Models/tiny/tiny-llama.gguf --json)
    printf '%s' "$listed" | grep -q "sha256:$before" || fail "$registry does not list the prompt of this base: $listed"
done
other=$(printf '%064d' 7)
[ "$(INCIPIT_HOME=$work/empty run "$binary" prompt list "$theirs/$name" --base-fingerprint "sha256:$other" --json | tr -d ' \n')" = '[]' ] ||
    fail 'docker-registry lists prompts for a base nobody has'
INCIPIT_HOME=$work/empty run "$binary" prompt list "$theirs/" --base Fixtures/Models/tiny/tiny-llama.gguf |
    grep -q "$name" || fail 'the prompt is not found without the name of its repository'
passed 'prompts are listed by their base: by our referrers, by the fallback tag, in one repository and in all'
INCIPIT_HOME=$work/second run "$binary" pull "$theirs/$name:v1"
INCIPIT_HOME=$work/second run "$binary" prompt export "$name:v1" "$work/files-second"
diff -r "$work/files" "$work/files-second" || fail 'the pulled prompt exports other files'
passed 'pull into an empty home: same files'
run skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$theirs/$name:v1" \
    "docker://$ours/interop/through:v1"
[ "$(manifest_digest "$ours/v2/interop/through" v1)" = "$before" ] || fail 'the manifest changed between the registries'
passed 'skopeo from docker-registry to ours: same manifest'

printf '\n# OCI layouts: skopeo reads what we export, and we import what it writes\n'
run "$binary" prompt export "$name:v1" "$work/exported" --layout
run skopeo copy -q "oci:$work/exported:v1" "oci:$work/copied:v1"
[ -f "$work/copied/blobs/sha256/$before" ] || fail 'skopeo copied another manifest out of our layout'
INCIPIT_HOME=$work/third run "$binary" prompt import "$work/copied" --as "$name"
INCIPIT_HOME=$work/third run "$binary" prompt export "$name:v1" "$work/files-third"
diff -r "$work/files" "$work/files-third" || fail 'the imported prompt exports other files'
passed 'folder: skopeo copies our layout, we import its copy: same manifest, same files'
run "$binary" prompt export "$name:v1" "$work/task.tar"
INCIPIT_HOME=$work/fourth run "$binary" prompt import "$work/task.tar"
mkdir "$work/unpacked" && tar -xf "$work/task.tar" -C "$work/unpacked"
run skopeo copy -q --dest-tls-verify=false "oci:$work/unpacked:v1" "docker://$ours/interop/unpacked:v1"
[ "$(manifest_digest "$ours/v2/interop/unpacked" v1)" = "$before" ] || fail 'the manifest changed on its way through a tar'
passed 'tar: we import it, tar unpacks it, skopeo pushes it: same manifest'

printf '\n# Accounts: skopeo logs in by token, and is kept to its rules\n'
run "$binary" access grant ci --repo 'interop/*' --allow pull,push
secret=$("$binary" access token ci)
run "$binary" access grant --everyone --repo 'public/**' --allow pull
for challenge in bearer basic; do
    rm -f "$work/port"
    "$binary" serve --registry --port 0 --port-file "$work/port" --auth --challenge "$challenge" > "$work/auth.log" 2>&1 &
    processes+=($!)
    wait_for_file "$work/port" "${processes[-1]}" "$work/auth.log"
    guarded=127.0.0.1:$(cat "$work/port")
    auth=$work/auth-$challenge.json
    skopeo login --tls-verify=false --authfile "$auth" -u ci -p wrong "$guarded" > /dev/null 2>&1 &&
        fail 'skopeo logged in with a wrong token'
    skopeo login --tls-verify=false --authfile "$auth" -u ci -p "$secret" "$guarded" > /dev/null ||
        fail "skopeo could not log in: $(cat "$work/auth.log")"
    run skopeo copy -q --dest-tls-verify=false --authfile "$auth" "oci:$work/layout:v1" "docker://$guarded/interop/$challenge:v1"
    run skopeo copy -q --src-tls-verify=false --authfile "$auth" "docker://$guarded/interop/$challenge:v1" "oci:$work/back-$challenge:v1"
    diff -r "$work/layout" "$work/back-$challenge" || fail 'the layout that came back differs'
    skopeo copy -q --dest-tls-verify=false --authfile "$auth" "oci:$work/layout:v1" "docker://$guarded/other/x:v1" \
        > /dev/null 2>&1 && fail 'skopeo pushed where ci may not'
    skopeo copy -q --src-tls-verify=false "docker://$guarded/interop/$challenge:v1" "oci:$work/none:v1" > /dev/null 2>&1 &&
        fail 'skopeo pulled without credentials'
    printf '%s' "$secret" | run "$binary" login "$guarded" --user ci --password-stdin --authfile "$work/ours-$challenge.json"
    INCIPIT_HOME=$work/auth-$challenge run "$binary" pull "$guarded/interop/$challenge:v1" --authfile "$work/ours-$challenge.json"
    INCIPIT_HOME=$work/auth-$challenge-2 run "$binary" pull "$guarded/interop/$challenge:v1" --authfile "$auth"
    INCIPIT_HOME=$work/auth-$challenge-3 "$binary" pull "$guarded/interop/$challenge:v1" --authfile /dev/null > /dev/null 2>&1 &&
        fail 'we pulled without credentials'
    passed "$challenge: login, push and pull by skopeo and by us, each with the other's file; refusals where they belong"
done

if "${INCIPIT_PYTHON:-python3}" -c 'import oras' 2> /dev/null; then
    rm -f "$work/port"
    "$binary" serve --registry --port 0 --port-file "$work/port" > "$work/oras.log" 2>&1 &
    processes+=($!)
    wait_for_file "$work/port" "${processes[-1]}" "$work/oras.log"
    run "${INCIPIT_PYTHON:-python3}" Tests/Oracles/oras_round_trip.py "127.0.0.1:$(cat "$work/port")" "$work/files" || fail 'oras-py'
    passed 'oras-py pushes whole and in chunks, with a subject, pulls, lists and deletes'
else
    printf 'SKIP  oras-py is not installed (pip install oras, INCIPIT_PYTHON=…)\n'
fi

printf '\n# docker-registry with passwords\n'
htpasswd -Bbn alice s3cret > "$work/htpasswd" 2> /dev/null
closed=
for _ in $(seq 20); do
    port=$((20000 + RANDOM % 12000))
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\nauth: {htpasswd: {realm: interop, path: %s}}\n' \
        "$work/closed" "$port" "$work/htpasswd" > "$work/closed.yml"
    docker-registry serve "$work/closed.yml" > "$work/closed.log" 2>&1 &
    process=$!
    sleep 1
    if kill -0 "$process" 2> /dev/null; then
        processes+=("$process")
        closed=127.0.0.1:$port
        break
    fi
done
[ -n "$closed" ] || fail "docker-registry with passwords did not start: $(cat "$work/closed.log")"
printf 's3cret' | run "$binary" login "$closed" --user alice --password-stdin --authfile "$work/alice.json"
run "$binary" push "$name:v1" "$closed/$name:v1" --authfile "$work/alice.json"
INCIPIT_HOME=$work/fifth run "$binary" pull "$closed/$name:v1" --authfile "$work/alice.json"
run "$binary" logout "$closed" --authfile "$work/alice.json"
INCIPIT_HOME=$work/sixth "$binary" pull "$closed/$name:v1" --authfile "$work/alice.json" > /dev/null 2>&1 &&
    fail 'a pull went through after logout'
passed 'login, push, pull, logout'

printf '\n# Signatures\n'
run "$binary" keygen "$work/team"
run "$binary" sign "$work/files" --key "$work/team.key"
run "$binary" prompt verify "$work/files" --key "$work/team.pub"
run "$binary" sign "$name:v1" --key "$work/team.key"
run "$binary" prompt verify "$name:v1" --key "$work/team.pub"
run "$binary" push "$name:v1" "$ours/interop/signed:v1" --referrers
INCIPIT_HOME=$work/strict run "$binary" prompt trust 'interop/**' --key "$work/team.pub"
INCIPIT_HOME=$work/strict run "$binary" pull "$ours/interop/signed:v1"
INCIPIT_HOME=$work/strict run "$binary" prompt verify interop/signed:v1
INCIPIT_HOME=$work/strict "$binary" pull "$ours/interop/returned:v1" > /dev/null 2>&1 &&
    fail 'an unsigned prompt was pulled against the trust policy'
passed 'signed prompts are pulled under a trust policy, unsigned ones are not'
# What cosign verify does with a key and no log, by hand: the bundle that refers to the manifest, its statement, its signature.
python3 - "http://$ours/v2/interop/signed" "$before" "$work" << 'PYTHON'
import base64, json, sys, urllib.parse, urllib.request
place, digest, folder = sys.argv[1:]
get = lambda path: json.load(urllib.request.urlopen(f"{place}/{path}"))
kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
query = urllib.parse.urlencode({"artifactType": kind})
signs = [entry for entry in get(f"referrers/sha256:{digest}?{query}")["manifests"]
         if entry["annotations"]["dev.sigstore.bundle.predicateType"] == "https://sigstore.dev/cosign/sign/v1"]
manifest = get(f"manifests/{signs[0]['digest']}")
assert manifest["artifactType"] == kind and manifest["subject"]["digest"] == f"sha256:{digest}", manifest
bundle = get(f"blobs/{manifest['layers'][0]['digest']}")
envelope = bundle["dsseEnvelope"]
payload = base64.b64decode(envelope["payload"])
assert json.loads(payload)["subject"][0]["digest"] == {"sha256": digest}, payload
name = envelope["payloadType"].encode()
open(folder + "/cosign.pae", "wb").write(b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload))
open(folder + "/cosign.der", "wb").write(base64.b64decode(envelope["signatures"][0]["sig"]))
PYTHON
run openssl dgst -sha256 -verify "$work/team.pub" -signature "$work/cosign.der" "$work/cosign.pae" | grep -q 'Verified OK' ||
    fail 'openssl does not accept the signature of the manifest'
passed 'the manifest has the signature that cosign looks for, and openssl verifies it'
python3 - "$work/files/model.sig" "$work" << 'PYTHON'
import base64, json, sys
bundle = json.load(open(sys.argv[1]))["dsseEnvelope"]
payload = base64.b64decode(bundle["payload"])
kind = bundle["payloadType"].encode()
open(sys.argv[2] + "/pae", "wb").write(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
open(sys.argv[2] + "/sig.der", "wb").write(base64.b64decode(bundle["signatures"][0]["sig"]))
PYTHON
run openssl dgst -sha256 -verify "$work/team.pub" -signature "$work/sig.der" "$work/pae" | grep -q 'Verified OK' ||
    fail 'openssl does not accept the signature'
passed 'openssl verifies the envelope'
python=${INCIPIT_PYTHON:-python3}
if "$python" -c 'import model_signing' 2> /dev/null; then
    check() { "$python" -m model_signing verify key "$work/files" --signature "$work/files/model.sig" --public_key "$work/team.pub" > "$work/oms.log" 2>&1; }
    check || fail "model_signing refuses our signature: $(tail -3 "$work/oms.log")"
    for name_ in adapter_model.safetensors incipit.json; do
        cp "$work/files/$name_" "$work/kept"
        printf 'x' >> "$work/files/$name_"
        check && fail "model_signing accepts a changed $name_"
        "$binary" prompt verify "$work/files" --key "$work/team.pub" > /dev/null 2>&1 && fail "we accept a changed $name_"
        cp "$work/kept" "$work/files/$name_"
    done
    touch "$work/files/extra"
    check && fail 'model_signing accepts an additional file'
    "$binary" prompt verify "$work/files" --key "$work/team.pub" > /dev/null 2>&1 && fail 'we accept an additional file'
    rm "$work/files/extra"
    passed 'model_signing verifies the folder, and refuses what was changed or added, as we do'
    "$python" -m model_signing sign key "$work/files-third" --signature "$work/theirs.sig" --private_key "$work/team.key" > /dev/null 2>&1 ||
        fail 'model_signing could not sign with our key'
    run "$binary" prompt verify "$work/files-third" --key "$work/team.pub" --signature "$work/theirs.sig"
    passed 'we verify what model_signing signed'
else
    printf 'SKIP  model_signing is not installed (pip install model-signing pyOpenSSL, INCIPIT_PYTHON=…)\n'
fi

printf '\n%s checks passed.\n' "$passes"
