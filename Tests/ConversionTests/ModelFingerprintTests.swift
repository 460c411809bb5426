import ByteIO
import Foundation
import GGUF
import SoftPrompts
import TensorTypes
import Testing

@testable import Conversion

struct ModelFingerprintTests {
    /// Values that F16 and BF16 hold exactly.
    static func floats(_ count: Int, seed: Int) -> [Float] {
        (0..<count).map { Float(($0 * 7 + seed * 13) % 64 - 32) / 16 }
    }

    struct Options: Sendable {
        var alignment: Int?
        var reversed = false
        var type = TensorType.f32
        var tied = false
        var frequencies: [Float]?
        var change: @Sendable (inout GGUFMetadata) -> Void = { _ in }
        var seed = 1
    }

    static func model(_ options: Options = Options()) throws -> GGUFFile {
        try GGUFFile(bytes: bytes(options))
    }

    static func bytes(_ options: Options) throws -> [UInt8] {
        var metadata: GGUFMetadata = [
            "general.architecture": .text("llama"), "general.name": .text("Tiny"), "llama.context_length": .uint32(128),
            "llama.embedding_length": .uint32(64), "llama.block_count": .uint32(1),
            "llama.feed_forward_length": .uint32(128),
            "llama.attention.head_count": .uint32(4), "llama.attention.head_count_kv": .uint32(2),
            "llama.attention.layer_norm_rms_epsilon": .float32(1e-5), "llama.rope.freq_base": .float32(10000),
            "tokenizer.ggml.model": .text("gpt2"), "tokenizer.ggml.pre": .text("smollm"),
            "tokenizer.ggml.tokens": .array(GGUFArray(["a", "b", "ab"])),
            "tokenizer.ggml.merges": .array(GGUFArray(["a b"])),
            "tokenizer.ggml.token_type": .array(GGUFArray([1, 1, 1] as [Int32])),
            "tokenizer.ggml.bos_token_id": .uint32(1),
        ]
        options.change(&metadata)
        var tensors: [(String, TensorType, [Int], [Float])] = [
            ("token_embd.weight", options.type, [64, 3], floats(192, seed: options.seed)),
            ("blk.0.attn_q.weight", options.type, [64, 64], floats(4096, seed: 2)),
            ("blk.0.attn_norm.weight", .f32, [64], floats(64, seed: 3)),
            ("blk.0.ffn_down.weight", .q8_0, [128, 64], floats(8192, seed: 4)),
        ]
        if options.tied { tensors.append(("output.weight", options.type, [64, 3], floats(192, seed: options.seed))) }
        if let frequencies = options.frequencies {
            tensors.append(("rope_freqs.weight", .f32, [frequencies.count], frequencies))
        }
        if options.reversed { tensors.reverse() }
        var writer = try GGUFWriter(metadata: metadata, alignment: options.alignment)
        for (name, type, dimensions, values) in tensors {
            try writer.add(name: name, type: type, dimensions: dimensions, floats: values)
        }
        return try writer.serialized()
    }

    static func base(_ options: Options = Options()) throws -> BaseFingerprint {
        try ModelFingerprint.compute(of: model(options)).base
    }

    @Test("the fingerprint is five digests that are not each other")
    func form() throws {
        let base = try Self.base()
        try base.validate()
        #expect(Set([base.fingerprint, base.weights, base.embedding, base.tokenizer, base.architecture]).count == 5)
        #expect(base.short.count == 12)
    }

    @Test(
        "containers, order and display metadata do not change it",
        arguments: [
            Options(alignment: 64), Options(reversed: true), Options(type: .f16), Options(type: .bf16),
            Options(tied: true),
            Options(change: { $0["general.name"] = .text("Other") }),
            Options(change: { $0["llama.context_length"] = .uint32(4096) }),
            Options(change: { $0["general.file_type"] = .uint32(7) }),
            Options(change: { $0["tokenizer.chat_template"] = .text("{{x}}") }),
            Options(change: { $0["llama.rope.freq_base"] = nil }),
            Options(change: { $0["llama.rope.dimension_count"] = .uint32(16) }),
            Options(change: { $0["llama.attention.key_length"] = .uint64(16) }),
            Options(change: { $0["llama.block_count"] = .int16(1) }),
            Options(change: { $0["llama.vocab_size"] = .uint32(3) }),
            Options(change: { $0["tokenizer.ggml.bos_token_id"] = .uint32(2) }),
            Options(change: { $0["tokenizer.ggml.token_type"] = nil }),
            Options(change: { $0["llama.attention.head_count_kv"] = .array(GGUFArray([2] as [UInt32])) }),
            Options(change: { $0["llama.rope.scaling.type"] = .text("none") }),
            Options(change: { $0["tokenizer.ggml.scores"] = .array(GGUFArray([1, 2, 3] as [Float])) }),
        ])
    func same(options: Options) throws {
        #expect(try Self.base(options) == Self.base())
    }

    @Test("one changed weight changes weights and, in the embedding, the embedding")
    func weights() throws {
        let base = try Self.base()
        let other = try Self.base(Options(seed: 9))
        #expect(other.weights != base.weights)
        #expect(other.embedding != base.embedding)
        #expect(other.tokenizer == base.tokenizer)
        #expect(other.architecture == base.architecture)
        #expect(other.fingerprint != base.fingerprint)
        let quantized = try Self.base(Options(type: .q8_0))
        #expect(quantized.weights != base.weights)
    }

    @Test(
        "hyperparameters that change the computation change the architecture only",
        arguments: [
            Options(change: { $0["llama.attention.head_count_kv"] = .uint32(4) }),
            Options(change: { $0["llama.rope.freq_base"] = .float32(500000) }),
            Options(change: { $0["llama.attention.layer_norm_rms_epsilon"] = .float32(1e-6) }),
            Options(change: { $0["llama.rope.scaling.factor"] = .float32(4) }),
            Options(change: { $0["llama.rope.dimension_count"] = .uint32(8) }),
            Options(change: { $0["llama.attention.sliding_window"] = .uint32(64) }),
            Options(frequencies: [1, 1, 2, 8, 8, 8, 8, 8]),
        ])
    func architecture(options: Options) throws {
        let base = try Self.base()
        let other = try Self.base(options)
        #expect(base.differences(from: other) == ["architecture"])
    }

    @Test(
        "tokens, merges and pre-tokenizer change the tokenizer only",
        arguments: [
            Options(change: { $0["tokenizer.ggml.tokens"] = .array(GGUFArray(["a", "b", "ba"])) }),
            Options(change: { $0["tokenizer.ggml.merges"] = .array(GGUFArray([] as [String])) }),
            Options(change: { $0["tokenizer.ggml.pre"] = .text("llama-bpe") }),
            Options(change: {
                $0["tokenizer.ggml.tokens"] = .array(
                    GGUFArray([GGUFString("a"), GGUFString("b"), GGUFString(bytes: [0xFF])]))
            }),
        ])
    func tokenizer(options: Options) throws {
        let other = try Self.base(options)
        #expect(try Self.base().differences(from: other) == ["tokenizer"])
    }

    @Test("rope frequencies enter rounded to five digits")
    func frequencies() throws {
        let one = try Self.base(Options(frequencies: [1, 2.000001]))
        #expect(try one == Self.base(Options(frequencies: [1, 2.000002])))
        #expect(try one != Self.base(Options(frequencies: [1, 2.001])))
    }

    @Test("the digests are those of the definition")
    func definition() throws {
        let result = try ModelFingerprint.compute(of: Self.model())
        #expect(result.tensors.map(\.name) == result.tensors.map(\.name).sorted())
        #expect(result.tensors.count == 4)
        #expect(result.base.embedding == result.tensors.first { $0.name == "token_embd.weight" }?.digest)
        #expect(result.tensors.map(\.type) == ["F32", "F32", "Q8_0", "F32"])
        // Computed apart from this code, from the written definition.
        #expect(result.base.embedding == Self.knownEmbedding)
        #expect(result.base.fingerprint == Self.knownFingerprint)
    }

    static let knownEmbedding = "sha256:53fdd7dbba94cc0568a33b46eb5244baefb65770c956abdfc110e10838daad55"
    static let knownFingerprint = "sha256:aed8b3c0218fe49b9daaf24d5213e53881aacb20f31df02911ab7dfbc6223f2c"

    @Test("a result is taken from the cache until the file changes")
    func cache() throws {
        let folder = NSTemporaryDirectory() + "/incipit-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/model.gguf", cache = folder + "/cache/fingerprints"
        try AtomicFile.write(try Self.bytes(Options()), to: path)
        let first = try ModelFingerprint.compute(of: GGUFFile(path: path), cacheFolder: cache)
        #expect(!first.isFromCache)
        let second = try ModelFingerprint.compute(of: GGUFFile(path: path), cacheFolder: cache)
        #expect(second.isFromCache)
        #expect(second.base == first.base)
        #expect(second.tensors == first.tensors)
        try AtomicFile.write(try Self.bytes(Options(seed: 5)), to: path)
        let third = try ModelFingerprint.compute(of: GGUFFile(path: path), cacheFolder: cache)
        #expect(!third.isFromCache)
        #expect(third.base != first.base)
        for name in try FileManager.default.contentsOfDirectory(atPath: cache) {
            try AtomicFile.write(Array("{broken".utf8), to: cache + "/" + name)
        }
        #expect(try !ModelFingerprint.compute(of: GGUFFile(path: path), cacheFolder: cache).isFromCache)
        #expect(try ModelFingerprint.compute(of: GGUFFile(path: path), cacheFolder: "/dev/null/x").base == third.base)
    }

    @Test("a file without an embedding or an architecture has no fingerprint")
    func refusals() throws {
        let empty = try GGUFFile(bytes: GGUFWriter(metadata: ["general.architecture": .text("llama")]).serialized())
        #expect(throws: ConversionError.self) { try ModelFingerprint.compute(of: empty) }
        let nameless = try Self.model(Options(change: { $0["general.architecture"] = nil }))
        #expect(throws: GGUFError.self) { try ModelFingerprint.compute(of: nameless) }
    }
}
