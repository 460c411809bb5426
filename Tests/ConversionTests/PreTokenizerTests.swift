import ByteIO
import Foundation
import GGUF
import Testing

@testable import Conversion

struct PreTokenizerTests {
    static func name(
        _ preTokenizer: JSONValue, architecture: String = "llama", ignoresMerges: Bool = false, override: String? = nil
    ) throws -> String {
        let file = TokenizerSupport.byteLevelFile(preTokenizer: preTokenizer, ignoresMerges: ignoresMerges)
        return try TokenizerSupport.withFolder(["tokenizer.json": file]) { folder in
            let imported = try TokenizerImport.read(
                folder: folder, architecture: architecture, vocabularySize: nil, preTokenizer: override)
            return try TokenizerSupport.metadata(imported, architecture: architecture).string("tokenizer.ggml.pre")
        }
    }

    static func split(_ regex: String, behavior: String = "Isolated", invert: Bool = false) -> JSONValue {
        ["type": "Split", "pattern": ["Regex": .string(regex)], "behavior": .string(behavior), "invert": .bool(invert)]
    }

    static func bytes(usesRegex: Bool) -> JSONValue {
        ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": .bool(usesRegex)]
    }

    static func sequence(_ steps: JSONValue...) -> JSONValue {
        ["type": "Sequence", "pretokenizers": .array(steps)]
    }

    @Test("Every row that may be recognised is, from its own expressions", arguments: RecognisedRow.all.indices)
    func rows(index: Int) throws {
        let row = RecognisedRow.all[index].row
        for steps in [row.steps] + row.alternatives {
            let list = steps.map { Self.split($0) } + [Self.bytes(usesRegex: false)]
            for name in row.names where !name.architectures.contains("-") && name.marker == nil {
                let found = try Self.name(
                    ["type": "Sequence", "pretokenizers": .array(list)],
                    architecture: name.architectures.first ?? "some", ignoresMerges: name.ignoresMerges)
                let architectures = row.names.filter {
                    $0.marker == nil && $0.ignoresMerges == name.ignoresMerges
                        && $0.architectures.contains(name.architectures.first ?? "some")
                }
                #expect(found == architectures.first?.name ?? name.name)
            }
        }
    }

    @Test("No two rows have the same canonical form")
    func distinct() {
        var seen: [String: String] = [:]
        for row in RecognisedRow.all {
            for form in row.forms {
                let key = form.map(\.canonical).joined(separator: "\n")
                let name = row.row.names[0].name
                #expect(seen[key] == nil || seen[key] == name, "\(name) and \(seen[key] ?? "")")
                seen[key] = name
            }
        }
    }

    /// Spellings found in published `tokenizer.json` files.
    static let spellings: [(String, String, Bool, JSONValue)] = [
        (
            "llama-bpe", "llama", true,
            sequence(
                split(
                    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
                ), bytes(usesRegex: false))
        ),
        (
            "dbrx", "phi3", false,  // cl100k with possessive quantifiers, as Phi-4 and Granite write it
            sequence(
                split(
                    #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
                    behavior: "Removed", invert: true), bytes(usesRegex: false))
        ),
        (
            "qwen2", "qwen3", false,
            sequence(
                split(
                    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
                ), bytes(usesRegex: false))
        ),
        (
            "stablelm2", "stablelm", false,  // contractions written with both cases
            sequence(
                split(
                    #"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
                    behavior: "Removed", invert: true), bytes(usesRegex: false))
        ),
        ("gpt-2", "gpt2", false, bytes(usesRegex: true)),
        ("mpt", "gptneox", false, bytes(usesRegex: true)),
        ("olmo", "olmo", false, bytes(usesRegex: true)),
        ("smollm", "llama", false, sequence(["type": "Digits", "individual_digits": true], bytes(usesRegex: true))),
        (
            "starcoder", "starcoder2", false,
            sequence(["type": "Digits", "individual_digits": true], bytes(usesRegex: true))
        ),
        ("refact", "granite", false, sequence(["type": "Digits", "individual_digits": true], bytes(usesRegex: true))),
        (
            "falcon", "falcon", false,
            sequence(
                ["type": "Punctuation", "behavior": "Contiguous"], bytes(usesRegex: true),
                ["type": "Digits", "individual_digits": false], split("[0-9][0-9][0-9]"))
        ),
        (
            "deepseek-v3", "deepseek2", false,
            sequence(
                split(#"\p{N}{1,3}"#), split("[一-龥\u{3040}-ゟ゠-ヿ]+"),
                split(
                    ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"## + "\r\n"
                        + #"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["# + "\r\n" + #"]*|\s*["# + "\r\n"
                        + #"]+|\s+(?!\S)|\s+"#), bytes(usesRegex: false))
        ),
        (
            "tekken", "llama", true,
            sequence(
                split(
                    #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
                ), bytes(usesRegex: false))
        ),
        (
            "gpt-4o", "phi3", false,
            sequence(
                split(
                    #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
                    behavior: "Removed", invert: true), bytes(usesRegex: false))
        ),
    ]

    @Test("Published spellings get the names that readers use for their families", arguments: spellings.indices)
    func published(index: Int) throws {
        let (expected, architecture, ignoresMerges, preTokenizer) = Self.spellings[index]
        #expect(try Self.name(preTokenizer, architecture: architecture, ignoresMerges: ignoresMerges) == expected)
    }

    @Test(
        "Different ways to write one pattern are equal",
        arguments: [
            (#"(?i:'s|'t)"#, #"'[sS]|'[tT]"#), (#"'(?i:[ts])"#, #"(?:'[Tt])|(?:'[Ss])"#), (#"[\n\r]+"#, "[\r\n]+"),
            (#"\d\d\d"#, #"\d{3}"#), (#"\p{N}{1}"#, #"\pN"#), (#"[\p{L}]+"#, #"\p{Letter}+"#), (#"[^\S]"#, #"\s"#),
            (#"a++"#, "a+"), (#"\x{4e00}"#, "一"), (#"\u4e00"#, "一"), (#"\/"#, "/"), ("(a|b)c", "(?:b|a)c"),
            (#"x|\s+(?!\S)|\s+"#, #"x|\s+(?!\S)"#), ("[a-cb-e]", "[a-e]"), (#"[\]\-]"#, #"[]\-]"#),
        ])
    func equal(left: String, right: String) {
        #expect(RegexPattern(left).canonical == RegexPattern(right).canonical)
    }

    @Test(
        "Patterns that differ stay different",
        arguments: [
            ("a+", "a*"), ("a+", "a+?"), ("(?i:a)", "a"), (#"\p{L}"#, #"\P{L}"#), ("ab|a", "a|ab"), ("[^ab]", "[ab]"),
            (#"\p{N}{1,3}"#, #"\p{N}{1,2}"#), (#"(?=a)"#, #"(?!a)"#), (#"\s*[\r\n]"#, #"\s*[\r\n]+"#),
        ])
    func different(left: String, right: String) {
        #expect(RegexPattern(left).canonical != RegexPattern(right).canonical)
    }

    @Test(
        "Broken and hostile patterns are kept as they are",
        arguments: ["(", "[", "a{", "*", "(?<n>x)", #"\"#, "[z-a]", #"\p{"#, String(repeating: "(", count: 5000)])
    func broken(source: String) {
        let pattern = RegexPattern(source)
        #expect(pattern.canonical == source || source == "a{")
    }

    @Test("An unknown structure names the nearest known one, what differs, and --pre")
    func unknown() throws {
        let pattern = PreTokenizerTable.llama3.replacing("{1,3}", with: "{1,2}")
        let error = #expect(throws: ConversionError.self) {
            try Self.name(Self.sequence(Self.split(pattern), Self.bytes(usesRegex: false)))
        }
        let message = try #require(error).description
        #expect(message.contains("\"llama-bpe\""))
        #expect(message.contains(#"has \p{N}{1,3} where this one has \p{N}{1,2}"#), "\(message)")
        #expect(message.contains("--pre"))
    }

    @Test("A named pre-tokenizer overrides; an unknown name lists the known ones")
    func override() throws {
        let strange = Self.sequence(Self.split("xyz"), Self.bytes(usesRegex: false))
        #expect(try Self.name(strange, override: "qwen2") == "qwen2")
        let error = #expect(throws: ConversionError.self) { try Self.name(strange, override: "qwen99") }
        let message = try #require(error).description
        #expect(message.contains("qwen99") && message.contains("llama-bpe") && message.contains("kimi-k2"))
    }
}
