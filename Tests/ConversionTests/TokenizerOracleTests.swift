import ByteIO
import Fixtures
import Foundation
import GGUF
import Testing

@testable import Conversion

/// Larger tokenizers, when there are some: published vocabularies beside the package, and the cases of
/// `Tests/Oracles/tokenizers.sh`, which compares the ids of random texts before and after.
struct TokenizerOracleTests {
    static let cases: [String] = {
        guard let folder = ProcessInfo.processInfo.environment["INCIPIT_TOKENIZER_ORACLE"] else { return [] }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.map { folder + "/" + $0 }.filter { FileManager.default.fileExists(atPath: $0 + "/case.json") }
            .sorted()
    }()

    static let vocabularies: [String] = {
        guard let folder = Fixtures.externalVectors("tokenizers") else { return [] }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.filter { $0.hasSuffix(".gguf") }.sorted().map { folder.appending(path: $0).path }
    }()

    @Test("Folders of an oracle are converted and written back", arguments: cases)
    func oracle(folder: String) throws {
        let settings = try JSONValue.parse(Array(try Data(contentsOf: URL(filePath: folder + "/case.json"))))
        let metadata: GGUFMetadata
        if FileManager.default.fileExists(atPath: folder + "/source.gguf") {
            metadata = try GGUFFile(path: folder + "/source.gguf").metadata
            try Self.checkRoundTrip(metadata)
        } else {
            let architecture = settings["architecture"]?.stringValue ?? ""
            let clock = ContinuousClock()
            let start = clock.now
            let imported = try TokenizerImport.read(
                folder: folder + "/source", architecture: architecture,
                vocabularySize: settings["vocabularySize"]?.intValue)
            print("\(folder): read in \(clock.now - start)", imported.warnings)
            metadata = TokenizerSupport.metadata(imported, architecture: architecture)
            if let name = settings["pre"]?.stringValue { #expect(metadata["tokenizer.ggml.pre"] == .text(name)) }
            try Data(try GGUFWriter(metadata: metadata).serialized()).write(
                to: URL(filePath: folder + "/imported.gguf"))
        }
        let exported = try TokenizerExport.files(of: metadata)
        print("\(folder):", exported.warnings)
        try FileManager.default.createDirectory(atPath: folder + "/exported", withIntermediateDirectories: true)
        for (name, bytes) in exported.files { try Data(bytes).write(to: URL(filePath: folder + "/exported/" + name)) }
    }

    @Test("Published vocabularies survive the way to Hugging Face's files and back", arguments: vocabularies)
    func vectors(path: String) throws {
        try Self.checkRoundTrip(try GGUFFile(path: path).metadata)
    }

    static func checkRoundTrip(_ metadata: GGUFMetadata) throws {
        let clock = ContinuousClock()
        let start = clock.now
        let again = try TokenizerSupport.roundTrip(metadata)
        print("\(metadata.path ?? ""): written and read in \(clock.now - start)")
        // What readers of today no longer look at is not written: a CLS id, and the scores of BPE.
        // How many kinds of segments there are is in config.json, not among the tokenizer's files.
        let optional = ["cls_token_id", "scores", "token_type_count"].map { "tokenizer.ggml." + $0 }
        let isBytePair = metadata["tokenizer.ggml.model"] == .text("gpt2")
        let parts = Set(metadata.entries.filter { $0.key.hasSuffix("_token_id") }.compactMap(\.value.intValue))
        for entry in metadata.entries where entry.key.hasPrefix("tokenizer.") {
            if optional.contains(entry.key), isBytePair || entry.key != optional[1] { continue }
            switch entry.key {
            case "tokenizer.ggml.tokens":
                let (before, after) = (try metadata.strings(entry.key), try again.strings(entry.key))
                let different = before.indices.filter { !ExactString.equal(before[$0], after[$0]) }
                #expect(different.count == 0, "tokens \(different.prefix(5).map { (before[$0], after[$0]) })")
            case "tokenizer.ggml.token_type":
                let (before, after) = (try metadata.ints(entry.key), try again.ints(entry.key))
                let tokens = try metadata.strings("tokenizer.ggml.tokens")
                // Files from before a rule of the reference converter are read by today's: what looks special or plays
                // a part is a control token.
                let different = before.indices.filter { id in
                    before[id] != after[id]
                        && !(after[id] == 3
                            && (before[id] == 2 || TokenText.looksSpecial(tokens[id]) || parts.contains(id)))
                }
                let shown = different.prefix(5).map { ($0, tokens[$0], before[$0], after[$0]) }
                #expect(different.count == 0, "types: \(shown)")
            case "tokenizer.ggml.scores":
                let (before, after) = (try metadata.floats(entry.key), try again.floats(entry.key))
                let different = before.indices.filter { before[$0] != after[$0] }
                #expect(different.count == 0, "scores: \(different.prefix(5).map { ($0, before[$0], after[$0]) })")
            case "tokenizer.ggml.merges":
                let (before, after) = (try metadata.strings(entry.key), try again.strings(entry.key))
                #expect(Set(after).isSubset(of: Set(before)))
                let lost = before.count - after.count
                let exported = try TokenizerExport.files(of: metadata)
                #expect(lost == 0 || exported.warnings.contains { $0.hasPrefix("left out \(lost) merges") }, "\(lost)")
            case "tokenizer.ggml.pre" where !isBytePair: break
            default: #expect(again[entry.key] == entry.value, "\(entry.key)")
            }
        }
    }
}
