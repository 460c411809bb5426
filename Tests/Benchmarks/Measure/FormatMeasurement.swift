import Conversion
import Foundation
import GGUF

/// How long a tokenizer's files take to become GGUF keys: reading, checking, naming the pre-tokenizer.
enum VocabularyMeasurement {
    static let usage = "FOLDER [--architecture NAME] [--runs N] [--json]"

    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["FOLDER"], options: ["--architecture", "--runs"], flags: ["--json"])
        let folder = arguments.positional[0]
        let architecture = arguments.string("--architecture") ?? "llama"
        var times: [Double] = []
        var tokens = 0
        for _ in 0..<(try arguments.int("--runs", default: 3)) {
            times.append(
                try seconds {
                    tokens =
                        try TokenizerImport.read(folder: folder, architecture: architecture, vocabularySize: nil)
                        .tokenCount
                })
        }
        try Report.print(
            [("tokens", tokens), ("seconds", Report.rounded(times.median, 3))], json: arguments.has("--json"))
    }
}

/// How fast a model is fingerprinted, without the cache: bytes that go through SHA-256 (floats in their widened form)
/// in a second.
enum FingerprintMeasurement {
    static let usage = "MODEL [--runs N] [--json]"

    static func run(_ words: [String]) throws {
        let arguments = try Arguments(words, positional: ["MODEL"], options: ["--runs"], flags: ["--json"])
        let path = arguments.positional[0]
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        let source: any ModelSource =
            isFolder.boolValue ? try HuggingFaceSource(folder: path) : GGUFSource(try GGUFFile(path: path))
        let bytes = source.tensors.reduce(0) { sum, tensor in
            sum + (tensor.type.isFloatWithinF32 ? tensor.elementCount * 4 : tensor.byteCount)
        }
        var times: [Double] = []
        var digest = ""
        for _ in 0..<(try arguments.int("--runs", default: 1)) {
            times.append(try seconds { digest = try ModelFingerprint.compute(of: source).base.fingerprint })
        }
        try Report.print(
            [
                ("fingerprint", digest), ("hashed_bytes", bytes), ("seconds", Report.rounded(times.median, 4)),
                ("mbPerSecond", Report.rounded(Double(bytes) / 1e6 / times.median, 1)),
            ], json: arguments.has("--json"))
    }
}
