import ByteIO
import Foundation
import GGUF
import Testing

@testable import Conversion

/// Fingerprints of split models, and of edits.
struct SplitFingerprintTests {
    @Test("a split model has the fingerprint of the whole, and its cache notices a change of any part")
    func splitModel() throws {
        let folder = NSTemporaryDirectory() + "/incipit-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let whole = try ModelFingerprintTests.model()
        let cache = folder + "/cache"
        func write(seed: Int) throws -> String {
            let file = try ModelFingerprintTests.model(.init(seed: seed))
            let plan = try GGUFWriter(copying: file)
                .writeParts(prefix: folder + "/m", limits: .init(tensorCount: 1), existing: .replace)
            #expect(plan.count == 4)
            return plan[0].path
        }
        let first = try write(seed: 1)
        let result = try ModelFingerprint.compute(of: GGUFFile(path: first), cacheFolder: cache)
        #expect(try result.base == ModelFingerprint.compute(of: whole).base)
        #expect(try ModelFingerprint.compute(of: GGUFFile(path: first), cacheFolder: cache).isFromCache)
        // Only the last part is touched: another modification time, the same content.
        let last = folder + "/m-00004-of-00004.gguf"
        try AtomicFile.write(MappedFile(path: last).copyBytes(), to: last)
        let again = try ModelFingerprint.compute(of: GGUFFile(path: first), cacheFolder: cache)
        #expect(!again.isFromCache)
        #expect(again.base == result.base)
        _ = try write(seed: 9)
        #expect(try ModelFingerprint.compute(of: GGUFFile(path: first), cacheFolder: cache).base != result.base)
    }

    @Test(
        "an edit is said to change the parts of the fingerprint that it does change",
        arguments: [
            ("general.name", .text("Other"), []), ("llama.context_length", .uint32(64), []),
            ("tokenizer.ggml.bos_token_id", .uint32(2), []),
            ("llama.rope.freq_base", .float32(20000), ["architecture"]),
            ("tokenizer.ggml.pre", .text("qwen2"), ["tokenizer"]), ("general.architecture", nil, ["architecture"]),
            ("tokenizer.ggml.tokens", .array(GGUFArray(["a", "b", "c"])), ["tokenizer"]),
        ] as [(String, GGUFValue?, [String])])
    func edits(key: String, value: GGUFValue?, parts: [String]) throws {
        let file = try ModelFingerprintTests.model()
        var metadata = file.metadata
        metadata[key] = value
        #expect(ModelFingerprint.partsChanged(in: file, by: metadata) == parts)
        let before = try ModelFingerprint.compute(of: file).base
        let after = try? ModelFingerprint.compute(of: file.replacing(metadata: metadata)).base
        #expect((before.fingerprint != after?.fingerprint) == !parts.isEmpty)
    }
}
