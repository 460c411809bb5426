import ByteIO
import Fixtures
import Foundation
import GGUF
import Testing

@testable import Conversion

struct TokenizerFixtureTests {
    static let names = [
        "llama3", "qwen2", "gpt2", "smollm", "sentencepiece-bpe", "sentencepiece-unigram", "wordpiece",
    ]

    static func expected(_ name: String) throws -> JSONValue {
        let data = try Data(contentsOf: Fixtures.url("Golden/tokenizers.json"))
        return try #require(try JSONValue.parse(Array(data))[name])
    }

    static func read(_ name: String) throws -> (GGUFMetadata, ImportedTokenizer) {
        let expected = try expected(name)
        let architecture = try #require(expected["architecture"]?.stringValue)
        let imported = try TokenizerImport.read(
            folder: Fixtures.url("Tokenizers/\(name)").path, architecture: architecture,
            vocabularySize: expected["vocabularySize"]?.intValue)
        return (TokenizerSupport.metadata(imported, architecture: architecture), imported)
    }

    @Test("A tokenizer becomes what the reference converter stores", arguments: names)
    func importing(name: String) throws {
        let expected = try Self.expected(name)
        let (metadata, imported) = try Self.read(name)
        #expect(imported.warnings == [])
        #expect(imported.tokenCount == expected["count"]?.intValue)
        #expect(try metadata.string("tokenizer.ggml.model") == expected["model"]?.stringValue)
        let tokens = try metadata.strings("tokenizer.ggml.tokens")
        for member in expected["some"]?.objectValue?.members ?? [] {
            #expect(tokens[try #require(Int(member.key))] == member.value.stringValue)
        }
        #expect(TokenizerSupport.hash(tokens) == expected["tokens"]?.stringValue)
        let types = try metadata.ints("tokenizer.ggml.token_type")
        #expect(TokenizerSupport.hash(types.map { String($0) }) == expected["types"]?.stringValue)
        for member in expected["keys"]?.objectValue?.members ?? [] {
            let key = "tokenizer.ggml.\(member.key)"
            switch member.key {
            case "merges":
                #expect(TokenizerSupport.hash(try metadata.strings(key)) == member.value.stringValue)
            case "scores":
                let scores = try metadata.floats(key).map { String(Int((Double($0) * 1000).rounded())) }
                #expect(TokenizerSupport.hash(scores) == member.value.stringValue)
            default:
                switch member.value {
                case .bool(let flag): #expect(try metadata.bool(key) == flag, "\(key)")
                case .string(let text): #expect(try metadata.string(key) == text, "\(key)")
                default: #expect(metadata[key]?.intValue == member.value.intValue, "\(key)")
                }
            }
        }
    }

    @Test("Written as Hugging Face files and read again, every pair is the same", arguments: names)
    func roundTrip(name: String) throws {
        let (metadata, _) = try Self.read(name)
        let again = try TokenizerSupport.roundTrip(metadata)
        for entry in metadata.entries { #expect(again[entry.key] == entry.value, "\(entry.key)") }
        // What was left unsaid may come back said, as readers assume it.
        let assumed = [
            "tokenizer.ggml.add_sep_token": false,
            "tokenizer.ggml.add_eos_token": metadata["tokenizer.ggml.model"] == .text("t5"),
        ]
        for entry in again.entries where metadata[entry.key] == nil {
            #expect(entry.value == assumed[entry.key].map { .bool($0) }, "\(entry.key)")
        }
    }

    @Test("A written tokenizer.json has the vocabulary and merges it came from", arguments: names.prefix(4))
    func sameModel(name: String) throws {
        let (metadata, _) = try Self.read(name)
        let exported = try TokenizerExport.files(of: metadata)
        let written = try JSONValue.parse(try #require(exported.files.first { $0.name == "tokenizer.json" }).bytes)
        let source = try JSONValue.parse(
            Array(try Data(contentsOf: Fixtures.url("Tokenizers/\(name)/tokenizer.json"))))
        #expect(written["model"]?["vocab"] == source["model"]?["vocab"])
        #expect(written["model"]?["merges"] == source["model"]?["merges"])
        #expect(written["model"]?["ignore_merges"] == source["model"]?["ignore_merges"])
        #expect(written["normalizer"]?["type"]?.stringValue == source["normalizer"]?["type"]?.stringValue)
        #expect(exported.files.contains { $0.name == "chat_template.jinja" })
    }

    @Test("SentencePiece BPE read from the tokenizer.json alone gets SentencePiece's scores")
    func scoresFromMerges() throws {
        let (metadata, _) = try Self.read("sentencepiece-bpe")
        let again = try TokenizerSupport.roundTrip(metadata, leavingOut: "tokenizer.model")
        let (before, after) = (
            try metadata.floats("tokenizer.ggml.scores"), try again.floats("tokenizer.ggml.scores")
        )
        let types = try metadata.ints("tokenizer.ggml.token_type")
        // <unk> is an added token there, and special ones are control tokens.
        #expect(try again.ints("tokenizer.ggml.token_type") == types.map { $0 == 2 ? 3 : $0 })
        let different = types.indices.filter { types[$0] == 1 && before[$0] != after[$0] }
        #expect(different.isEmpty, "\(different.prefix(5).map { ($0, before[$0], after[$0]) })")
    }

    @Test("A written SentencePiece model is read with the same pieces and settings")
    func sentencePieceModel() throws {
        for (folder, file) in [("sentencepiece-bpe", "tokenizer.model"), ("sentencepiece-unigram", "spiece.model")] {
            let url = Fixtures.url("Tokenizers/\(folder)/\(file)")
            let bytes = Array(try Data(contentsOf: url))
            let model = try bytes.withUnsafeBytes { try SentencePieceModel($0, path: file) }
            let again = try model.serialized().withUnsafeBytes { try SentencePieceModel($0, path: "again") }
            #expect(again.pieces.map(\.text) == model.pieces.map(\.text))
            #expect(again.pieces.map(\.score) == model.pieces.map(\.score))
            #expect(again.pieces.map(\.kind) == model.pieces.map(\.kind))
            #expect(again.charsmap == model.charsmap)
            #expect(again.algorithm == model.algorithm)
            #expect(again.addsDummyPrefix == model.addsDummyPrefix)
            #expect(again.paddingID == model.paddingID)
        }
        let unigram = Array(try Data(contentsOf: Fixtures.url("Tokenizers/sentencepiece-unigram/spiece.model")))
        let charsmap = try unigram.withUnsafeBytes { try SentencePieceModel($0, path: "") }.charsmap
        #expect(!charsmap.isEmpty)
        #expect(Base64.decode(Base64.encode(charsmap)) == charsmap)
    }
}
