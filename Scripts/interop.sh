#!/usr/bin/env bash
# Incipit's registry against the tools everybody has: skopeo and Debian's docker-registry.
#
# Trains a few steps on the tiny model, then: skopeo copies it from our server to an OCI layout and back, byte for byte;
# we push to docker-registry and pull from it, and the referrers fallback tag is there.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
for tool in skopeo docker-registry curl; do
    command -v "$tool" > /dev/null || fail "$tool is needed: apt-get install skopeo docker-registry curl"
done
bin=$(swift build -c release --show-bin-path)
[ -x "$bin/incipit" ] || fail "no release build: run swift build -c release --product incipit"
export PATH=$bin:$PATH INCIPIT_DATA=$root/Fixtures/Data
tiny=Fixtures/Models/tiny/tiny-llama-q4_1.gguf
name=interop/tiny

work=$(mktemp -d)
processes=()
clean_up() {
    for process in "${processes[@]}"; do
        kill "$process" 2> /dev/null || true
        wait "$process" 2> /dev/null || true
    done
    rm -rf "$work"
}
trap clean_up EXIT
passed() { printf 'ok    %s\n' "$*"; }
export INCIPIT_HOME=$work/home

wait_for_port() { # FILE PROCESS
    for _ in $(seq 100); do
        [ -s "$1" ] && return
        kill -0 "$2" 2> /dev/null || fail "the server ended: $(cat "$work"/*.log)"
        sleep 0.1
    done
    fail 'the server did not say its port within ten seconds'
}

incipit tune "$tiny" --method prefix-tuning --tokens 4 --steps 3 --data tiny-kinds --name "$name" > "$work/tune.log" 2>&1
incipit serve --registry --port 0 --port-file "$work/port" > "$work/ours.log" 2>&1 &
processes+=($!)
wait_for_port "$work/port" "${processes[-1]}"
ours=127.0.0.1:$(tr -d '[:space:]' < "$work/port")

accept='Accept: application/vnd.oci.image.manifest.v1+json'
digest_at() { curl -fsS -H "$accept" "http://$1/v2/$name/manifests/$2" | sha256sum | cut -d' ' -f1; }
before=$(digest_at "$ours" v1)

skopeo copy -q --src-tls-verify=false "docker://$ours/$name:v1" "oci:$work/layout:v1"
[ -f "$work/layout/blobs/sha256/$before" ] || fail "skopeo's OCI layout does not hold manifest sha256:$before unchanged"
passed 'skopeo copies from our server to an OCI layout, manifest unchanged'
skopeo copy -q --dest-tls-verify=false "oci:$work/layout:v1" "docker://$ours/interop/returned:v1"
after=$(curl -fsS -H "$accept" "http://$ours/v2/interop/returned/manifests/v1" | sha256sum | cut -d' ' -f1)
[ "$before" = "$after" ] || fail "the manifest changed on the way back: $before, then $after"
for blob in "$work"/layout/blobs/sha256/*; do
    want=$(basename "$blob")
    [ "$want" = "$before" ] && continue
    got=$(curl -fsSL "http://$ours/v2/interop/returned/blobs/sha256:$want" | sha256sum | cut -d' ' -f1)
    [ "$got" = "$want" ] || fail "blob sha256:$want came back as sha256:$got"
done
passed 'and back, every blob byte for byte'
skopeo list-tags --tls-verify=false "docker://$ours/$name" | grep -q '"v1"' || fail 'skopeo does not see the tag v1'
passed 'skopeo lists our tags'

theirs=
for _ in $(seq 20); do # docker-registry cannot pick a free port itself
    port=$((20000 + RANDOM % 20000))
    mkdir -p "$work/storage"
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
        "$work/storage" "$port" > "$work/registry.yml"
    docker-registry serve "$work/registry.yml" > "$work/theirs.log" 2>&1 &
    process=$!
    for _ in $(seq 50); do
        if curl -fs "http://127.0.0.1:$port/v2/" > /dev/null && kill -0 "$process" 2> /dev/null; then
            theirs=127.0.0.1:$port
            break
        fi
        kill -0 "$process" 2> /dev/null || break
        sleep 0.1
    done
    [ -n "$theirs" ] && processes+=("$process") && break
    kill "$process" 2> /dev/null || true
done
[ -n "$theirs" ] || fail "docker-registry did not start: $(cat "$work/theirs.log")"

incipit push "$name:v1" "$theirs/$name:v1" > /dev/null
[ "$(digest_at "$theirs" v1)" = "$before" ] || fail 'docker-registry holds another manifest than ours'
passed 'push to docker-registry, manifest unchanged'
INCIPIT_HOME=$work/second incipit pull "$theirs/$name:v1" > /dev/null
incipit export "$name:v1" "$work/here.safetensors" > /dev/null
INCIPIT_HOME=$work/second incipit export "$name:v1" "$work/there.safetensors" > /dev/null
cmp "$work/here.safetensors" "$work/there.safetensors" || fail 'the pulled prompt differs'
passed 'pull from docker-registry into an empty home, same bytes'

# docker-registry 2.8 has no referrers endpoint: the specification's fallback is a tag named after the digest.
tags=$(curl -fsS "http://$theirs/v2/$name/tags/list")
fallback=$(printf '%s' "$tags" | grep -o 'sha256-[0-9a-f]\{64\}' | head -n 1 || true)
[ -n "$fallback" ] || fail "no referrers fallback tag on docker-registry; its tags are: $tags"
curl -fsS -H 'Accept: application/vnd.oci.image.index.v1+json' "http://$theirs/v2/$name/manifests/$fallback" |
    grep -q '"manifests"' || fail "the fallback tag $fallback is not an image index"
passed "referrers fallback tag $fallback"
