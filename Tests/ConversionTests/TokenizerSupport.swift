import ByteIO
import Fixtures
import Foundation
import GGUF
import Testing

@testable import Conversion

/// Folders of tokenizer files for tests, and what is compared of two tokenizers.
enum TokenizerSupport {
    /// Calls `body` with a new folder that holds these files, and removes it.
    static func withFolder<R>(_ files: [String: String], _ body: (String) throws -> R) throws -> R {
        try withFolder(bytes: files.mapValues { Array($0.utf8) }, body)
    }

    static func withFolder<R>(bytes files: [String: [UInt8]], _ body: (String) throws -> R) throws -> R {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tokenizer-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, bytes) in files { try Data(bytes).write(to: folder.appending(path: name)) }
        return try body(folder.path)
    }

    static func metadata(_ imported: ImportedTokenizer, architecture: String) -> GGUFMetadata {
        var metadata: GGUFMetadata = ["general.architecture": .text(architecture)]
        for (key, value) in imported.pairs { metadata.append(key, value) }
        return metadata
    }

    /// Exports, and imports the files again.
    static func roundTrip(_ metadata: GGUFMetadata, leavingOut name: String? = nil) throws -> GGUFMetadata {
        let exported = try TokenizerExport.files(of: metadata)
        let files = exported.files.filter { $0.name != name }.map { ($0.name, $0.bytes) }
        let architecture = try metadata.architecture()
        let count = try metadata.strings("tokenizer.ggml.tokens").count
        return try withFolder(bytes: Dictionary(files) { first, _ in first }) { folder in
            let again = try TokenizerImport.read(
                folder: folder, architecture: architecture, vocabularySize: count,
                preTokenizer: metadata["tokenizer.ggml.model"] == .text("gpt2")
                    ? try metadata.stringIfPresent("tokenizer.ggml.pre") : nil)
            return Self.metadata(again, architecture: architecture)
        }
    }

    /// FNV-1a over the texts, each with a newline behind it, as `Fixtures/Scripts/make_tokenizers.py` has it.
    static func hash(_ texts: some Sequence<String>) -> String {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        for text in texts {
            for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
            value = (value ^ 10) &* 0x100_0000_01B3
        }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The byte alphabet of GPT-2 as the vocabulary of a `tokenizer.json`, with a merge and what a test adds.
    static func byteLevelFile(
        preTokenizer: JSONValue, normalizer: JSONValue = nil, ignoresMerges: Bool = false, added: [JSONValue] = [],
        postProcessor: JSONValue = nil
    ) -> String {
        let document: JSONValue = [
            "version": "1.0", "added_tokens": .array(added), "normalizer": normalizer, "pre_tokenizer": preTokenizer,
            "post_processor": postProcessor, "decoder": ["type": "ByteLevel"],
            "model": [
                "type": "BPE", "ignore_merges": .bool(ignoresMerges), "vocab": ["a": 0, "b": 1, "ab": 2],
                "merges": ["a b"],
            ],
        ]
        return document.compactText
    }
}
