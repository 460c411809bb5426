import Testing

/// A command line and what must come of it. `$` names in arguments are files the test makes; see `fill`.
struct WrongInput: Sendable, CustomTestStringConvertible {
    let arguments: [String]
    let status: Int32
    let needle: String

    init(_ arguments: String, _ status: Int32, _ needle: String) {
        self.arguments = arguments.split(separator: " ").map(String.init)
        self.status = status
        self.needle = needle
    }

    var testDescription: String { arguments.joined(separator: " ") }

    private static let zeros = "sha256:" + String(repeating: "0", count: 64)

    /// Each way of handing over a file that is no model, for each command that reads one.
    private static func folder(_ command: String) -> (String, Int32, String) {
        switch command.split(separator: " ")[0] {
        case "inspect": ("$FOLDER", 66, "neither")
        case "fingerprint", "run", "eval", "tune", "prompt", "chat", "perplexity", "embed", "bench":
            ("$FOLDER", 66, "config.json")
        default: ("$FOLDER", 65, "regular file")
        }
    }

    static let models: [WrongInput] = [
        "inspect $", "fingerprint $", "run $ text", "eval $ --data $DATA", "tune $ --data $DATA --name a/b --steps 1",
        "prompt list --base $", "split $ parts --max-tensors 1", "merge $ merged.gguf", "metadata list $",
        "metadata set $ general.name x", "chat $", "perplexity $ --file $DATA", "embed $ text", "bench $ -p 1 -n 0",
    ].flatMap { command in
        [
            ("$MISSING", 66, "missing.gguf"),
            // A folder may be a model's; this one is empty.
            folder(command),
            ("$EMPTY", 65, "empty.gguf"),
            ("$TRUNCATED", 65, "damaged or was not downloaded completely"), ("$HEADER", 65, "header.gguf"),
            ("$TEXT", 65, "not a GGUF file"), ("$DAMAGED", 65, "damaged.gguf"),
        ].map { file, status, needle in
            WrongInput(
                command.replacing("$ ", with: file + " ").replacing(/\$$/, with: file), Int32(status), needle)
        }
    }

    static let options: [WrongInput] = [
        WrongInput("frobnicate", 64, "frobnicate"), WrongInput("run", 64, "model"),
        WrongInput("run $MODEL text --frobnicate", 64, "--frobnicate"),
        WrongInput("run $MODEL text --max-tokens many", 64, "many"),
        WrongInput("run $MODEL text --max-tokens 0", 64, "at least 1"),
        WrongInput("run $MODEL text --temperature nan", 64, "temperature"),
        WrongInput("run $MODEL text --top-p 2", 64, "2"),
        WrongInput("run $MODEL text --cache-type f8", 64, "f8"),
        WrongInput("run $MODEL text --threads 0", 64, "1…1024"),
        WrongInput("run $MODEL text --samplers top_k;top_q", 64, "top_q"),
        WrongInput("run $MODEL text --logit-bias five", 64, "five"),
        WrongInput("run $MODEL text --mirostat 3", 64, "mirostat"),
        WrongInput("run $MODEL text --xtc-probability 2", 64, "xtcProbability"),
        WrongInput("run $MODEL text --dry-last-n -7", 64, "--dry-last-n"),
        WrongInput("run $MODEL text --logprobs 3", 64, "--json"),
        WrongInput("run $MODEL text --system terse", 64, "--chat"),
        WrongInput("run $MODEL text --chat --special", 64, "--special"),
        WrongInput("run $MODEL text --grammar $MISSING", 66, "missing.gguf"),
        WrongInput("run $MODEL text --grammar $EMPTY", 65, "root"),
        WrongInput("run $MODEL text --json-schema {\"type\":\"strin\"}", 65, "strin"),
        WrongInput("run $MODEL text --json-schema {", 65, "JSON"),
        WrongInput("run $MODEL text --grammar a --json-schema b", 64, "exclude"),
        WrongInput("run $MODEL --file $MISSING", 66, "missing.gguf"),
        WrongInput("grammar", 64, "--grammar"), WrongInput("grammar --json-schema {\"not\":{}}", 65, "not"),
        WrongInput("perplexity $MODEL --file $MISSING", 66, "missing.gguf"),
        WrongInput("perplexity $MODEL --file $EMPTY", 65, "fewer than one window"),
        WrongInput("perplexity $MODEL --file $DATA --window 3", 64, "--window"),
        WrongInput("perplexity $MODEL --file $DATA --window 64 --stride 64", 64, "--stride"),
        WrongInput("perplexity $MODEL --file $DATA --window 4096", 64, "4096"),
        WrongInput("embed $MODEL a --pooling best", 64, "best"),
        WrongInput("embed $MODEL --lines $EMPTY", 65, "no lines"),
        WrongInput("bench $MODEL -p many", 64, "many"), WrongInput("bench $MODEL -p 0 -n 0", 64, "nothing to measure"),
        WrongInput("bench $MODEL -p 100000", 64, "context"),
        WrongInput("tune $MODEL --data $DATA", 64, "--name"), WrongInput("tune $MODEL --name a/b", 64, "--data"),
        WrongInput("tune $MODEL --data $DATA --name a/b --method magic", 64, "prefix-tuning"),
        WrongInput("tune $MODEL --data $DATA --name a/b --tokens 0", 64, "virtual tokens"),
        WrongInput("tune $MODEL --data $DATA --name a/b --tokens 99999999999", 64, "virtual tokens"),
        WrongInput("tune $MODEL --data $DATA --name a/b --steps 0", 64, "steps"),
        WrongInput("tune $MODEL --data $DATA --name a/b --learning-rate inf", 64, "learning rate"),
        WrongInput("tune $MODEL --data $DATA --name a/b --init magic", 64, "vocabulary"),
        WrongInput("tune $MODEL --data $DATA --name a/b --init zero --init-text words", 64, "--init-text"),
        WrongInput("tune $MODEL --data $DATA --name a/b --optimizer magic", 64, "adamw"),
        WrongInput("tune $MODEL --data $DATA --name a/b --weights-memory magic", 64, "tiles"),
        WrongInput("tune $MODEL --data $DATA --name a/b --template words", 64, "{input}"),
        WrongInput("tune $MODEL --data $DATA --name a/b --resume --restart", 64, "exclude each other"),
        WrongInput("eval $MODEL --data $DATA --prompt magic", 64, "few-shot"),
        WrongInput("eval $MODEL --data $DATA --split holdout", 64, "holdout"),
        WrongInput("eval $MODEL --data $DATA --shots 0", 64, "--shots"),
        WrongInput("eval $MODEL --data $DATA --prompt none --attach a/b", 64, "exclude each other"),
        WrongInput("split $MODEL parts", 64, "--max-size"),
        WrongInput("split $MODEL parts --max-size much", 64, "much"),
        WrongInput("split $MODEL parts --max-size 1G", 64, "nothing to split"),
        WrongInput("merge $MODEL merged.gguf", 64, "nothing to merge"),
        WrongInput("merge $MODEL", 64, "output"),
        WrongInput("metadata get $MODEL no.such.key", 66, "no.such.key"),
        WrongInput("metadata set $MODEL my.key 1", 64, "--type"),
        WrongInput("metadata set $MODEL my.key one --type u32", 64, "one"),
        WrongInput("metadata set $MODEL my.key 1 --type u7", 64, "u7"),
        WrongInput("metadata set $MODEL llama.block_count 2 --type string", 64, "--force"),
        WrongInput("metadata set $MODEL general.alignment 64 --type u32", 64, "32"),
        WrongInput("metadata delete $MODEL general.architecture", 64, "--force"),
        WrongInput("metadata rename $MODEL general.name general.architecture", 64, "already"),
        WrongInput("serve", 64, "--registry"), WrongInput("serve --registry --port 70000", 64, "65535"),
    ]

    static let references: [WrongInput] = [
        WrongInput("tune $MODEL --data $DATA --name Upper/Case", 64, "Upper/Case"),
        WrongInput("tune $MODEL --data $DATA --name a/b:v1", 64, "a/b:v1"),
        WrongInput("tune $MODEL --data $DATA --name ../../escape", 64, "escape"),
        WrongInput("run $MODEL text --attach a//b", 64, "a//b"),
        WrongInput("run $MODEL text --attach host:99/a/b:v1", 64, "pull"),
        WrongInput("run $MODEL text --attach a/b", 66, "a/b"),
        WrongInput("eval $MODEL --data $DATA --attach a/b", 66, "a/b"),
        WrongInput("prompt show a/b", 66, "a/b"), WrongInput("prompt show a/b@sha256:00", 64, "64"),
        WrongInput("prompt show a/b@\(zeros)", 66, "a/b"), WrongInput("prompt show a:b:c", 64, "a:b:c"),
        WrongInput("prompt list a/b", 66, "a/b"), WrongInput("prompt list A", 64, "A"),
        WrongInput("prompt tag a/b:v1 production", 66, "a/b"), WrongInput("prompt tag a/b:v1 -- -bad-", 64, "-bad-"),
        WrongInput("prompt export a/b $MISSING", 66, "a/b"),
        WrongInput("push a/b 127.0.0.1:1/a/b:v1", 66, "a/b"), WrongInput("push a/b:v1 a/b:v1", 64, "registry"),
        WrongInput("push a/b:v1 127.0.0.1:99999/a/b:v1", 64, "99999"), WrongInput("pull a/b", 64, "registry"),
        WrongInput("pull 127.0.0.1:1/A/B:v1", 64, "A/B"), WrongInput("pull 127.0.0.1:1/a/b:v1 --as Upper", 64, "Upper"),
        WrongInput("pull 127.0.0.1:1/a/b:v1", 69, "127.0.0.1:1"),
    ]

    static let dataSets: [WrongInput] =
        ["tune $MODEL --name a/b --steps 1 --data", "eval $MODEL --data"].flatMap { command in
            [
                WrongInput("\(command) $NODATA", 66, "no-data.jsonl"), WrongInput("\(command) nowhere", 66, "nowhere"),
                WrongInput("\(command) $FOLDER", 65, "folder"), WrongInput("\(command) $NOROWS", 65, "no-rows.jsonl"),
                WrongInput("\(command) $BADLINE", 65, "bad-line.jsonl:3"),
                WrongInput("\(command) $NOTARGET", 65, "no-target.jsonl:2"),
                WrongInput("\(command) $BADSPLIT", 65, "bad-split.jsonl:2"),
                WrongInput("\(command) $NOTTEXT", 65, "not-text.jsonl:1"),
                WrongInput("\(command) $DEVONLY", 65, "dev-only.jsonl"),
            ]
        } + [WrongInput("tune $MODEL --data $DATA --name a/b --resume", 66, "no unfinished run named a/b")]
}
