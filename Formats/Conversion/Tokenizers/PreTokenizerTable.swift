/// A way to cut text into pieces before merging, known to GGUF readers by one or more names.
///
/// One row of ``PreTokenizerTable``. Reading matches a `tokenizer.json` against ``steps``; writing turns them back.
struct PreTokenizerRow: Sendable {
    /// One name of the row, as `tokenizer.ggml.pre` has it.
    struct Name: Sendable {
        let name: String
        /// The GGUF architectures whose models use this name; empty for any.
        var architectures: [String] = []
        /// A token that models with this name have and others of the row do not.
        var marker: String?
        /// Whether a piece that is a token is taken whole, whatever the merges say.
        var ignoresMerges = false
        /// Whether readers put BOS first when `add_bos_token` is missing.
        var addsBOS = false
        /// Whether readers take blanks away before punctuation when decoding.
        var cleansSpaces = true
        /// What models with this name do to text first; GGUF has no key for it.
        var normalization: String?
    }

    let names: [Name]
    /// The expressions, each applied to every piece the one before it left.
    let steps: [String]
    /// Other lists of steps that cut the same pieces.
    var alternatives: [[String]] = []
    /// Whether text becomes GPT-2's byte alphabet; otherwise it stays UTF-8 with `▁` for blanks.
    var usesByteAlphabet = true
    /// Whether a tokenizer may be recognised as this row.
    var isRecognised = true
}

/// The pre-tokenizers that GGUF readers know.
///
/// Facts: llama.cpp, `src/llama-vocab.cpp` and `convert_hf_to_gguf_update.py` (October 2026). The first name of a row is
/// the one taken when neither the architecture nor a marker token decides.
enum PreTokenizerTable {
    // Contractions, and the expressions of GPT-2, Llama 3 (cl100k), Qwen 2 and GPT-4o (o200k) built from them.
    static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    static let punctuation = #"[\p{P}\$\+<=>\^~\|`]+"#
    private static let tail = #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let slashTail = #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let word = #"|[^\r\n\p{L}\p{N}]?\p{L}+|"#
    static let llama3 = contractions + word + #"\p{N}{1,3}"# + tail
    static let qwen2 = contractions + word + #"\p{N}"# + tail
    private static let caseChange1 =
        #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#
    private static let caseChange2 =
        #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#
    static let o200k =
        caseChange1 + contractions + "?|" + caseChange2 + contractions + #"?|\p{N}{1,3}"# + slashTail
    static let tekken = caseChange1 + "|" + caseChange2 + #"|\p{N}"# + slashTail
    private static let han = #"[一-龥\x{3040}-ゟ゠-ヿ]+"#
    private static let asciiWord = ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##
    static let deepSeek3 =
        asciiWord + #"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    /// The cased letters of DeepSeek's first models, as their files list them.
    static let casedLetters =
        #"\s?["#
        + "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌ"
        + "ῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
        + "]+"
    private static let bloom = #" ?[^(\s|.,!?…。，、।۔،)]+"#

    static let rows: [PreTokenizerRow] = [
        PreTokenizerRow(
            names: [
                .init(name: "llama-bpe", ignoresMerges: true, addsBOS: true),
                .init(name: "llama3", architectures: ["-"], ignoresMerges: true, addsBOS: true),
                .init(name: "llama-v3", architectures: ["-"], ignoresMerges: true, addsBOS: true),
                .init(
                    name: "falcon3", architectures: ["llama"], marker: ">>TITLE<<", ignoresMerges: true, addsBOS: true),
                .init(name: "falcon-h1", architectures: ["falcon-h1"], ignoresMerges: true, addsBOS: true),
                .init(name: "pixtral", architectures: ["-"], ignoresMerges: true, addsBOS: true),
                .init(name: "midm-2.0", architectures: ["-"], ignoresMerges: true, addsBOS: true),
                .init(name: "lfm2", architectures: ["lfm2", "lfm2moe"], ignoresMerges: true, addsBOS: true),
                .init(name: "jina-v5-nano", architectures: ["eurobert"], ignoresMerges: true, addsBOS: true),
                .init(name: "glm4", architectures: ["glm4", "glm4moe", "chatglm"], ignoresMerges: true),
                .init(name: "glm5", architectures: ["glm-dsa"], ignoresMerges: true),
                .init(name: "dbrx", architectures: ["dbrx", "olmo2", "granite", "granitemoe", "phi3"]),
                .init(name: "smaug-bpe", architectures: ["llama"]),
                .init(name: "chatglm-bpe", architectures: ["chatglm"]),
            ], steps: [llama3]),
        PreTokenizerRow(
            names: [
                .init(name: "qwen2", cleansSpaces: false, normalization: "NFC"),
                .init(
                    name: "deepseek-r1-qwen", architectures: ["qwen2"], marker: "<｜begin▁of▁sentence｜>",
                    cleansSpaces: false),
                .init(name: "kormo", architectures: ["-"], cleansSpaces: false),
                .init(name: "f2llmv2", architectures: ["-"], cleansSpaces: false),
                .init(name: "hunyuan", architectures: ["hunyuan-moe"], cleansSpaces: false),
                .init(name: "solar-open", architectures: ["glm4moe"], cleansSpaces: false),
                .init(name: "megrez", architectures: ["-"]),
                .init(name: "stablelm2", architectures: ["stablelm"]),
                .init(name: "grok-2", architectures: ["grok"], cleansSpaces: false),
            ], steps: [qwen2]),
        PreTokenizerRow(
            names: [.init(name: "qwen35", cleansSpaces: false)],
            steps: [
                contractions
                    + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
            ]),
        PreTokenizerRow(
            names: [
                .init(name: "gpt-2"),
                .init(name: "phi-2", architectures: ["phi2"]),
                .init(name: "mpt", architectures: ["mpt", "gptneox"], normalization: "NFC"),
                .init(name: "olmo", architectures: ["olmo", "olmoe"], normalization: "NFC"),
                .init(name: "jais", architectures: ["jais"]),
                .init(name: "exaone4", architectures: ["exaone4"], normalization: "NFC"),
                .init(name: "trillion", architectures: ["-"], cleansSpaces: false),
                .init(name: "granite-docling", architectures: ["-"], cleansSpaces: false),
                .init(name: "gigachat", architectures: ["-"]),
                .init(name: "a.x-4.0", architectures: ["-"]),
                .init(name: "mellum", architectures: ["-"]),
                .init(name: "modern-bert", architectures: ["modern-bert"], normalization: "NFC"),
                .init(name: "jina-es", architectures: ["-"]),
                .init(name: "jina-de", architectures: ["-"]),
                .init(name: "jina-v2-es", architectures: ["jina-bert-v2"]),
                .init(name: "jina-v2-de", architectures: ["-"]),
                .init(name: "roberta-bpe", architectures: ["bert"]),
                .init(name: "jina-v1-en", architectures: ["-"]),
                .init(name: "jina-v2-code", architectures: ["-"]),
            ], steps: [gpt2]),
        PreTokenizerRow(
            names: [
                .init(name: "starcoder", architectures: ["starcoder", "starcoder2"]),
                .init(name: "smollm", architectures: ["llama"], cleansSpaces: false),
                .init(name: "refact", architectures: ["refact", "granite", "granitemoe"]),
                .init(
                    name: "command-r", architectures: ["command-r", "cohere2"], cleansSpaces: false,
                    normalization: "NFC"),
                .init(name: "codeshell", architectures: ["codeshell"]),
                .init(name: "exaone", architectures: ["exaone"]),
                .init(name: "minerva-7b", architectures: ["-"]),
                .init(name: "mellum2", architectures: ["-"]),
            ], steps: [#"\p{N}"#, gpt2]),
        PreTokenizerRow(
            names: [.init(name: "falcon")], steps: [punctuation, gpt2, "[0-9][0-9][0-9]"],
            alternatives: [[punctuation, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]"]]),
        PreTokenizerRow(
            names: [.init(name: "default")], steps: [punctuation, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]"],
            isRecognised: false),
        PreTokenizerRow(
            names: [.init(name: "deepseek-llm", cleansSpaces: false)],
            steps: [
                #"[\r\n]"#, casedLetters, #"\s?[!-/:-~！-／：-～‘-‟\x{3000}-。]+"#, #"\s+$"#,
                #"[一-龥ࠀ-一가-\x{d7ff}]+"#, #"\p{N}+"#,
            ],
            alternatives: [
                [
                    #"[\r\n]"#, casedLetters, #"\s?[!-/:-~！-／：-～‘-‟\x{3000}-。]+"#, #"\s+$"#,
                    #"[一-龥ࠀ-一가-\x{d7ff}]+"#, #"\p{N}"#,
                ]
            ]),
        PreTokenizerRow(
            names: [.init(name: "deepseek-coder", cleansSpaces: false)],
            steps: [#"[\r\n]"#, #"\s?\p{L}+"#, #"\s?\p{P}+"#, #"[一-龥ࠀ-一가-\x{d7ff}]+"#, #"\p{N}"#]),
        PreTokenizerRow(
            names: [
                .init(name: "deepseek-v3", cleansSpaces: false),
                .init(name: "hunyuan-dense", architectures: ["hunyuan-dense"], cleansSpaces: false),
                .init(name: "joyai-llm", architectures: ["-"], cleansSpaces: false),
                .init(name: "hy_v4", architectures: ["hy-v4", "hy_v4"], cleansSpaces: false),
            ], steps: [#"\p{N}{1,3}"#, han, deepSeek3]),
        PreTokenizerRow(
            names: [.init(name: "spark2_5", cleansSpaces: false)],
            steps: [
                #"\p{N}{1,3}"#, han,
                asciiWord + #"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"#, #"\p{N}"#,
            ]),
        PreTokenizerRow(
            names: [.init(name: "tekken", ignoresMerges: true, addsBOS: true, cleansSpaces: false)], steps: [tekken]),
        PreTokenizerRow(
            names: [
                .init(name: "gpt-4o", cleansSpaces: false),
                .init(name: "llama4", architectures: ["llama4"], cleansSpaces: false),
                .init(name: "kanana2", architectures: ["-"], cleansSpaces: false),
                .init(name: "talkie", architectures: ["-"], cleansSpaces: false),
                .init(name: "minimax-m2", architectures: ["minimax-m2"], cleansSpaces: false),
                .init(
                    name: "granite-embed-multi-97m", architectures: ["modern-bert"], ignoresMerges: true,
                    cleansSpaces: false),
            ], steps: [o200k]),
        PreTokenizerRow(
            names: [
                .init(name: "tiny_aya", cleansSpaces: false),
                .init(name: "cohere2moe", architectures: ["cohere2moe"], cleansSpaces: false),
            ], steps: [#"\d{1,3}(?=(?:\d{3})*\b)"#, o200k]),
        PreTokenizerRow(
            names: [
                .init(name: "bailingmoe", architectures: ["bailingmoe"], cleansSpaces: false),
                .init(name: "bailingmoe2", architectures: ["bailingmoe2"], cleansSpaces: false),
                .init(name: "llada-moe", architectures: ["llada-moe"], cleansSpaces: false),
            ],
            steps: [
                contractions + word + #"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#
            ]),
        PreTokenizerRow(
            names: [.init(name: "seed-coder", cleansSpaces: false)],
            steps: [contractions + word + #"\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"#]),
        PreTokenizerRow(
            names: [.init(name: "ufakzeka", cleansSpaces: false)],
            steps: [#"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"# + tail]),
        PreTokenizerRow(
            names: [
                .init(name: "bloom", architectures: ["bloom"]),
                .init(name: "poro-chat", architectures: ["-"], cleansSpaces: false),
                .init(name: "gpt3-finnish", architectures: ["-"]),
            ], steps: [bloom]),
        PreTokenizerRow(names: [.init(name: "viking", cleansSpaces: false)], steps: [bloom, #"\p{N}"#]),
        PreTokenizerRow(
            names: [.init(name: "minicpm5", ignoresMerges: true)],
            steps: [#"\p{N}{1,3}"#, contractions + word + #"\p{N}+"# + tail]),
        PreTokenizerRow(
            names: [.init(name: "superbpe", cleansSpaces: false)], steps: [#"\p{N}+"#, #"(?=(\d{3})+(?!\d))"#]),
        PreTokenizerRow(
            names: [.init(name: "jais-2")],
            steps: [
                contractions + word + #"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"#
                    + [512, 256, 128, 64, 32, 16, 8, 4].map { #"|\s{\#($0)}(?!\S)"# }.joined()
                    + #"|\s{1,2}(?!\S)|\s{1}"#
            ]),
        PreTokenizerRow(
            names: [.init(name: "exaone-moe")],
            steps: [
                contractions
                    + #"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"#
                    + #"|\s*[\r\n]|\s+(?!\S)|\s+"#
            ]),
        PreTokenizerRow(names: [.init(name: "laguna", cleansSpaces: false)], steps: [#"[^\n]+|[\n]+"#, qwen2]),
        PreTokenizerRow(
            names: [
                .init(name: "gemma4", cleansSpaces: false),
                .init(name: "granite-embed-multi-311m", cleansSpaces: false),
                .init(name: "sarvam-moe", cleansSpaces: false),
            ], steps: [#"[^\n]+|[\n]+"#], usesByteAlphabet: false, isRecognised: false),
        // Patterns that need set operators or code of their own. They can be named, not recognised or written.
        PreTokenizerRow(
            names: ["kimi-k2", "youtu", "afmoe", "chameleon", "whitespace"].map {
                .init(name: $0, cleansSpaces: false)
            },
            steps: [], isRecognised: false),
    ]

    /// The row and name of a `tokenizer.ggml.pre`.
    static func find(_ name: String) -> (row: PreTokenizerRow, name: PreTokenizerRow.Name)? {
        for row in rows {
            if let found = row.names.first(where: { $0.name == name }) { return (row, found) }
        }
        return nil
    }

    /// Every name, sorted, for messages.
    static var allNames: [String] { rows.flatMap { $0.names.map(\.name) }.sorted() }
}
