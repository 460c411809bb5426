import ByteIO
import Fixtures
import Foundation
import GGUF
import Testing

@testable import Conversion

struct TokenizerMalformedTests {
    static func read(_ files: [String: String], architecture: String = "llama", size: Int? = nil) throws
        -> ImportedTokenizer
    {
        try TokenizerSupport.withFolder(files) {
            try TokenizerImport.read(folder: $0, architecture: architecture, vocabularySize: size)
        }
    }

    static let model = #""model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}"#
    static let gpt2 = #""pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false}"#

    @Test(
        "One clear error says what is wrong",
        arguments: [
            ("{", "invalid JSON"), ("[]", "JSON object"), ("{}", "no \"model\""),
            (#"{"model":{"type":"RNN"}}"#, "RNN"), (#"{"model":{"type":"BPE","vocab":[],"merges":[]}}"#, "model.vocab"),
            (#"{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]},"# + gpt2 + "}", "the id -1"),
            (#"{"model":{"type":"BPE","vocab":{"a":9000000000},"merges":[]},"# + gpt2 + "}", "9000000000"),
            (#"{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]},"# + gpt2 + "}", "instead of an id"),
            (#"{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]},"# + gpt2 + "}", "claimed by two"),
            (#"{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]},"# + gpt2 + "}", "twice"),
            (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]},"# + gpt2 + "}", "entry 0 of model.merges"),
            (#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]},"# + gpt2 + "}", "entry 0 of model.merges"),
            (#"{"model":{"type":"BPE","vocab":{},"merges":[]},"# + gpt2 + "}", "no tokens"),
            ("{" + model + #","added_tokens":[{"content":"x"}],"# + gpt2 + "}", "entry 0 of added_tokens"),
            ("{" + model + #","added_tokens":[{"id":1,"content":"x"}],"# + gpt2 + "}", "claimed by two"),
            ("{" + model + #","pre_tokenizer":{"pattern":1}}"#, "has no type"),
            ("{" + model + #","pre_tokenizer":{"type":"Split"}}"#, "no pattern"),
            ("{" + model + #","pre_tokenizer":{"type":"BertPreTokenizer"}}"#, "BertPreTokenizer"),
            ("{" + model + "}", "GGUF readers"),
            (#"{"model":{"type":"Unigram","vocab":[["a"]]}}"#, "entry 0 of model.vocab"),
            (#"{"model":{"type":"Unigram","vocab":[["a",1e39]]}}"#, "entry 0 of model.vocab"),
            (
                #"{"model":{"type":"Unigram","vocab":[["a",0]]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"?"}}"#,
                "Base64"
            ),
            (
                #"{"model":{"type":"Unigram","vocab":[["a",0]]},"normalizer":{"type":"Precompiled","precompiled_charsmap":"/////w=="}}"#,
                "charsmap"
            ),
        ])
    func errors(file: String, text: String) throws {
        let error = #expect(throws: ConversionError.self) { try Self.read(["tokenizer.json": file]) }
        #expect(try #require(error).description.contains(text), "\(error?.description ?? "")")
    }

    @Test("Missing files are named")
    func missing() throws {
        for (files, text) in [
            ([:], "tokenizer.json"), (["vocab.json": "{\"a\":0}"], "merges.txt"), (["tekken.json": "{}"], "tekken"),
            (["tokenizer.model": "IQ== 0\n"], "tiktoken"), (["tokenizer.model": ""], "empty"),
            (["vocab.txt": "a\n\nb"], "line 2"), (["vocab.json": "{\"a\":0}", "merges.txt": "a b c"], "line 1"),
        ] {
            let error = #expect(throws: ConversionError.self) { try Self.read(files) }
            #expect(try #require(error).description.contains(text), "\(error?.description ?? "")")
        }
    }

    @Test("Holes and missing ids at the end become unused padding; added tokens beyond the end are dropped")
    func padding() throws {
        let file =
            #"{"model":{"type":"BPE","vocab":{"a":0,"b":3},"merges":[]},"added_tokens":[{"id":6,"content":"<|x|>"}],"#
            + Self.gpt2 + "}"
        for (size, expected) in [
            (nil, ["a", "[PAD1]", "[PAD2]", "b", "[PAD4]", "[PAD5]", "<|x|>"]),
            (8, ["a", "[PAD1]", "[PAD2]", "b", "[PAD4]", "[PAD5]", "<|x|>", "[PAD7]"]),
            (5, ["a", "[PAD1]", "[PAD2]", "b", "[PAD4]"]),
        ] as [(Int?, [String])] {
            let imported = try Self.read(["tokenizer.json": file], size: size)
            let metadata = TokenizerSupport.metadata(imported, architecture: "llama")
            #expect(try metadata.strings("tokenizer.ggml.tokens") == expected)
            #expect(try metadata.ints("tokenizer.ggml.token_type")[1] == 5)
            #expect(imported.warnings.contains { $0.contains("dropped") } == (size == 5))
        }
        let error = #expect(throws: ConversionError.self) { try Self.read(["tokenizer.json": file], size: 3) }
        #expect(try #require(error).description.contains("another model's tokenizer"))
    }

    @Test("Merges with unknown parts are told, and left out on writing")
    func unknownMerges() throws {
        let file =
            #"{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b",["a","c"],["b","a"]]},"# + Self.gpt2
            + "}"
        let imported = try Self.read(["tokenizer.json": file])
        #expect(imported.warnings.contains { $0.hasPrefix("2 of 3 merges") })
        let exported = try TokenizerExport.files(of: TokenizerSupport.metadata(imported, architecture: "llama"))
        #expect(exported.warnings.contains { $0.hasPrefix("left out 2 merges") })
    }

    @Test("Blanks within the parts of a merge are written as the byte alphabet writes them")
    func innerBlanks() throws {
        let file =
            #"{"model":{"type":"BPE","vocab":{"a ":0,"b":1,"a b":2},"merges":[["a ","b"]]},"# + Self.gpt2 + "}"
        let metadata = TokenizerSupport.metadata(try Self.read(["tokenizer.json": file]), architecture: "llama")
        #expect(try metadata.strings("tokenizer.ggml.merges") == ["a\u{120} b"])
    }

    @Test("What stands around a text is read from the post-processor and the configuration")
    func specialTokens() throws {
        let added: [JSONValue] = [
            ["id": 3, "content": "<s>", "special": true], ["id": 4, "content": "</s>", "special": true],
            ["id": 5, "content": "<|eom_id|>", "special": true], ["id": 6, "content": "<|eot_id|>", "special": true],
        ]
        let processor: JSONValue = [
            "type": "TemplateProcessing",
            "single": [["SpecialToken": ["id": "<s>", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]]],
            "pair": [], "special_tokens": [:],
        ]
        let file = TokenizerSupport.byteLevelFile(
            preTokenizer: ["type": "ByteLevel", "add_prefix_space": false], added: added, postProcessor: processor)
        let imported = try Self.read([
            "tokenizer.json": file, "tokenizer_config.json": #"{"bos_token":"<s>","eos_token":{"content":"</s>"}}"#,
            "special_tokens_map.json": #"{"pad_token":"</s>"}"#, "config.json": #"{"pad_token_id":-1}"#,
            "generation_config.json": #"{"eos_token_id":[4,5,6],"suppress_tokens":[1,99]}"#,
        ])
        let metadata = TokenizerSupport.metadata(imported, architecture: "llama")
        let expected = ["bos": 3, "eos": 4, "eom": 5, "eot": 6, "padding": 4]
        for (role, id) in expected { #expect(try metadata.int("tokenizer.ggml.\(role)_token_id") == id) }
        #expect(try metadata.bool("tokenizer.ggml.add_bos_token"))
        #expect(metadata["tokenizer.ggml.suppress_tokens"] == .array(GGUFArray([1] as [Int32])))
        let exported = try TokenizerExport.files(of: metadata)
        #expect(exported.generationConfiguration["eos_token_id"] == [4, 6, 5])
    }

    @Test("Chat templates: the file before the configuration; named ones get keys of their own")
    func chatTemplates() throws {
        let file = TokenizerSupport.byteLevelFile(preTokenizer: ["type": "ByteLevel", "add_prefix_space": false])
        let list = #"{"chat_template":[{"name":"default","template":"D"},{"name":"tool use","template":"T"},{"x":1}]}"#
        let named = try Self.read(["tokenizer.json": file, "tokenizer_config.json": list])
        let metadata = TokenizerSupport.metadata(named, architecture: "llama")
        #expect(try metadata.string("tokenizer.chat_template") == "D")
        #expect(try metadata.string("tokenizer.chat_template.tool_use") == "T")
        #expect(try metadata.strings("tokenizer.chat_templates") == ["tool_use"])
        #expect(named.warnings.count == 1)
        let again = try TokenizerSupport.roundTrip(metadata)
        #expect(again["tokenizer.chat_template.tool_use"] == .text("T"))
        let both = try Self.read([
            "tokenizer.json": file, "tokenizer_config.json": list, "chat_template.jinja": "J",
            "chat_template.json": #"{"chat_template":"S"}"#,
        ])
        #expect(try TokenizerSupport.metadata(both, architecture: "llama").string("tokenizer.chat_template") == "J")
    }

    @Test(
        "A damaged SentencePiece model is refused or read, never more", arguments: ["tokenizer.model", "spiece.model"])
    func damagedModel(file: String) throws {
        let folder = file == "tokenizer.model" ? "sentencepiece-bpe" : "sentencepiece-unigram"
        let bytes = Array(try Data(contentsOf: Fixtures.url("Tokenizers/\(folder)/\(file)")))
        func parses(_ bytes: [UInt8]) throws -> Bool {
            do {
                _ = try bytes.withUnsafeBytes { try SentencePieceModel($0, path: "m") }
                return true
            } catch is ConversionError {
                return false
            }
        }
        for length in stride(from: 0, to: bytes.count, by: 7) { _ = try parses(Array(bytes[..<length])) }
        #expect(try !parses(Array(bytes.dropLast())))
        var generator = SystemLikeGenerator(state: 42)
        for _ in 0..<400 {
            var copy = bytes
            for _ in 0..<3 {
                copy[Int.random(in: 0..<copy.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = try parses(copy)
        }
    }

    @Test("Length fields beyond the end, unknown wire types and malformed bytes have their messages")
    func protobuf() throws {
        for (bytes, text) in [
            ([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], "claims"),
            ([0x0A, 0x80], "ends within a number"), ([0x0A, 0x02, 0x0B, 0x00], "wire type 3"),
            ([0x0A, 0x03, 0x0A, 0x01, 0xFF], "UTF-8"), ([0x0A, 0x02, 0x18, 0x09], "type 9"),
            ([0x0A, 0x07, 0x0A, 0x03, 0x3C, 0x30, 0x78, 0x18, 0x06], "<0xHH>"), ([0x0A, 0x00], "no text"),
            ([0x0A, 0x05, 0x15, 0x00, 0x00, 0xC0, 0x7F], "not finite"),
        ] as [([UInt8], String)] {
            let error = #expect(throws: ConversionError.self) {
                try bytes.withUnsafeBytes { try SentencePieceModel($0, path: "m") }
            }
            #expect(try #require(error).description.contains(text), "\(error?.description ?? "")")
        }
    }

    @Test(
        "GGUF tokenizers that contradict themselves are refused",
        arguments: [
            ("tokenizer.ggml.tokens", GGUFValue.array(GGUFArray([String]())), "empty"),
            ("tokenizer.ggml.tokens", .array(GGUFArray([1] as [Int32])), "array of string"),
            ("tokenizer.ggml.token_type", .array(GGUFArray([1] as [Int32])), "token types"),
            ("tokenizer.ggml.token_type", .array(GGUFArray([1, 1, 77] as [Int32])), "77"),
            ("tokenizer.ggml.merges", .array(GGUFArray(["ab"])), "merge 0"),
            ("tokenizer.ggml.scores", .array(GGUFArray([Float.nan, 0, 0])), "finite"),
            ("tokenizer.ggml.model", .text("rwkv"), "rwkv"), ("tokenizer.ggml.pre", .text("kimi-k2"), "kimi-k2"),
            ("tokenizer.ggml.bos_token_id", .text("x"), "bos_token_id"),
            ("tokenizer.ggml.add_bos_token", .text("x"), "add_bos_token"),
        ])
    func contradictions(key: String, value: GGUFValue, text: String) throws {
        var metadata: GGUFMetadata = [
            "general.architecture": .text("llama"), "tokenizer.ggml.model": .text("gpt2"),
            "tokenizer.ggml.pre": .text("gpt-2"), "tokenizer.ggml.tokens": .array(GGUFArray(["a", "b", "ab"])),
            "tokenizer.ggml.merges": .array(GGUFArray(["a b"])),
            "tokenizer.ggml.token_type": .array(GGUFArray([1, 1, 1] as [Int32])),
        ]
        #expect(try TokenizerExport.files(of: metadata).warnings == [])
        metadata[key] = value
        let error = #expect(throws: ConversionError.self) { try TokenizerExport.files(of: metadata) }
        #expect(try #require(error).description.contains(text), "\(error?.description ?? "")")
    }

    @Test("Tokens that JSON cannot hold are left out with a warning")
    func unwritableTokens() throws {
        let tokens = [GGUFString("a"), GGUFString(bytes: [0xFF]), GGUFString("a"), GGUFString("b")]
        let metadata: GGUFMetadata = [
            "general.architecture": .text("llama"), "tokenizer.ggml.model": .text("gpt2"),
            "tokenizer.ggml.pre": .text("gpt-2"), "tokenizer.ggml.tokens": .array(GGUFArray(tokens)),
            "tokenizer.ggml.bos_token_id": .uint32(77),
        ]
        let exported = try TokenizerExport.files(of: metadata)
        #expect(exported.warnings.count == 3)
        let file = try JSONValue.parse(exported.files[0].bytes)
        #expect(file["model"]?["vocab"] == ["a": 0, "b": 3])
    }
}

/// A fixed sequence of numbers, so that a failure repeats.
struct SystemLikeGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
