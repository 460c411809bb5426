#!/usr/bin/env bash
# Fuzz what reads foreign bytes, one target after the other.
#
#   SECONDS_EACH=300 TARGET=gguf Tests/Fuzz/run.sh        (without TARGET: all of them)
#
# Inputs and findings are kept in the cache, outside the source tree, so that a further run goes on where this one ended.
# Ends with 1 if anything was found.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../Scripts/common.sh"
cd "$root"

each=${SECONDS_EACH:-60}
memory=${FUZZ_MEMORY_MB:-2048}
work=${INCIPIT_FUZZ:-$cache/fuzz}
targets=${TARGET:-gguf safetensors safetensors-index tokenizer-json sentencepiece tokenizer chat-template manifest upload}

# seeds TARGET: the files that the first inputs are made of.
seeds() {
    case $1 in
        gguf) find Fixtures ../shared/vectors/gguf -name '*.gguf' -size -64k 2> /dev/null ;;
        safetensors) find Fixtures ../shared/vectors/safetensors -name '*.safetensors' -size -64k 2> /dev/null ;;
        safetensors-index) find Fixtures ../shared/vectors/safetensors -name '*.index.json' 2> /dev/null ;;
        tokenizer-json) find Fixtures -name tokenizer.json -size -64k ;;
        sentencepiece) find Fixtures -name '*.model' -size -64k ;;
        tokenizer | chat-template | manifest | upload) ;;
    esac
    find "Fixtures/Malformed/$1" -type f 2> /dev/null || true
}

# Further seeds, of texts that lie inside other files.
texts() {
    case $1 in
        chat-template)
            python3 - "$2" << 'PYTHON'
import json, sys
for number, case in enumerate(json.load(open("Fixtures/Golden/chat-templates.json"))["cases"]):
    open(f"{sys.argv[1]}/golden-{number}", "w", newline="").write(case["template"])
PYTHON
            ;;
        tokenizer)
            local number=0
            for text in 'hello world 123' '  <|im_end|>@@ é日本🦦' $'a\n\n b\t\r\n' "I'll don't 1234567 x=(y);" 'abll ▁'; do
                for choice in 0 1 2 3 4 5 6 7 8 9 a; do
                    printf "\\x0$choice\\x07%s" "$text" > "$2/text-$number-$choice"
                done
                number=$((number + 1))
            done
            ;;
        manifest)
            local empty='{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2'
            printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":%s},"layers":[%s,"data":"e30="}],"subject":%s,"annotations":{"x":"y"}},"annotations":{"a":"é\\u0041"}}' \
                "$empty" "$empty" "$empty" > "$2/image"
            printf '{"schemaVersion":2,"manifests":[%s,"platform":{"architecture":"a","os":"b","variant":"c"},"urls":["u"]}]}' "$empty" > "$2/index"
            printf '%s' 'host.example:5000/a/b-c__d:tag@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a' > "$2/reference"
            ;;
        upload)
            printf 'b\nb\n1\nahello\nr5-9\naworld\nr0-3\nabad\n2\nxbroken\nf\ngbytes=1-3\n1\nf\ngbytes=-2\nf\nc\n' > "$2/uploads"
            printf 'b\nf\nb\n2\nw\nb\n3\nrbytes 0-1/*\naxx\nc\ngbytes=0-\n' > "$2/more"
            ;;
        safetensors-index)
            printf '%s' '{"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"x.safetensors"}}' \
                > "$2/index.json"
            ;;
    esac
}

dictionary() {
    case $1 in
        gguf) echo gguf ;;
        chat-template) echo jinja ;;
        safetensors | safetensors-index | tokenizer-json | manifest) echo json ;;
    esac
}

say 'building the fuzzer'
nice -n 19 swift build -c release --package-path Tests/Fuzz --product incipit-fuzz >&2
fuzzer=$(swift build -c release --package-path Tests/Fuzz --show-bin-path)/incipit-fuzz

# AddressSanitizer looks for its shadow memory where kernels with much address randomisation may have put the program.
unrandomised=()
if setarch -R true 2> /dev/null; then unrandomised=(setarch -R); fi

found=0
for target in $targets; do
    corpus=$work/$target/corpus findings=$work/$target/findings
    mkdir -p "$corpus" "$findings" "$work/$target/seeds"
    seeds "$target" | while read -r seed; do cp -f "$seed" "$work/$target/seeds/$(printf '%s' "$seed" | tr '/' '_')"; done
    texts "$target" "$work/$target/seeds"
    named=$(dictionary "$target")
    before=$(find "$findings" -type f | wc -l)
    say "fuzzing $target for $each seconds"
    # Leaks are found by the leak check that AddressSanitizer makes at the end; one input may take 10 s.
    INCIPIT_FUZZ_TARGET=$target nice -n 19 "${unrandomised[@]}" "$fuzzer" "$corpus" "$work/$target/seeds" \
        ${named:+-dict="$here/Dictionaries/$named.dict"} -artifact_prefix="$findings/" -max_total_time="$each" \
        -timeout=10 -rss_limit_mb="$memory" -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
        > "$work/$target/log" 2>&1 || true
    after=$(find "$findings" -type f | wc -l)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target/log")
    printf '%-18s %12s runs, %d new findings\n' "$target" "${runs:-?}" $((after - before))
    if [ "$after" -gt "$before" ] || [ -z "$runs" ]; then
        found=1
        tail -n 40 "$work/$target/log" >&2
        cat >&2 << TEXT
To look at a finding:    INCIPIT_FUZZ_TARGET=$target $fuzzer $findings/FILE
To make it smaller:      INCIPIT_FUZZ_TARGET=$target $fuzzer -minimize_crash=1 -runs=100000 $findings/FILE
To keep it from coming back: copy it to Fixtures/Malformed/$target/, named after what is wrong with it; the tests of
FuzzHarness read every file there. Then fix the reader.
TEXT
    fi
done
exit $found
