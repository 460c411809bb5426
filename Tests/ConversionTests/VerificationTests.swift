import ByteIO
import Fixtures
import Foundation
import GGUF
import TensorTypes
import Testing

@testable import Conversion

@Suite("Verifying and comparing")
struct VerificationTests {
    private func source(
        _ type: TensorType = .f32, _ edit: (inout GGUFMetadata) -> Void = { _ in },
        change: ((inout [Float]) -> Void)? = nil
    ) throws -> GGUFSource {
        var metadata = Models.metadata
        metadata["general.quantization_version"] = .uint32(2)
        edit(&metadata)
        return GGUFSource(
            try GGUFFile(bytes: Models.writer(type: type, metadata: metadata, change: change).serialized()))
    }

    private func errors(_ source: any ModelSource, record: DigestRecord? = nil) throws -> [Finding] {
        try ModelVerification(of: source, record: record).findings.filter { $0.severity == .error }
    }

    @Test("sound models have nothing wrong, in any type")
    func sound() throws {
        for type in [TensorType.f32, .f16, .q8_0, .q4_K] {
            #expect(try ModelVerification(of: source(type)).findings == [], "\(type)")
        }
        for url in [Fixtures.Models.tinyLlama, Fixtures.Models.tinyLlamaQ4_1] {
            #expect(try errors(GGUFSource(GGUFFile(path: url.path))) == [])
        }
    }

    @Test("NaN and infinity are counted and placed, in values and in the scales of blocks")
    func notFinite() throws {
        let found = try errors(
            source { _ in
            } change: {
                $0[300] = .nan; $0[301] = -.infinity
            })
        #expect(found.count == 1)
        #expect(found[0].subject == "blk.0.attn_k.weight")
        #expect(found[0].message.contains("2 values"))
        #expect(found[0].message.contains("row 1, column 44"))
        // An infinite scale in the second block of a Q8_0 tensor.
        let good = try source(.q8_0)
        let place = try #require(good.file.tensor(named: "blk.0.attn_k.weight"))
        var bytes = good.file.file.copyBytes()
        bytes[place.fileOffset + 34] = 0
        bytes[place.fileOffset + 35] = 0x7C
        let scales = try errors(GGUFSource(GGUFFile(bytes: bytes)))
        #expect(scales.count == 1)
        #expect(scales[0].message.contains("scale of block 1"))
    }

    @Test(
        "impossible hyperparameters and tokenizers are named",
        arguments: [
            ("llama.attention.head_count", GGUFValue.uint32(0)), ("llama.attention.head_count_kv", .uint32(3)),
            ("llama.block_count", .uint32(2)), ("llama.block_count", .uint32(0)),
            ("llama.block_count", .uint32(100_000)), ("llama.embedding_length", .uint32(128)),
            ("llama.embedding_length", .text("wide")), ("llama.feed_forward_length", .uint32(300)),
            ("llama.attention.layer_norm_rms_epsilon", .float32(0)),
            ("llama.attention.layer_norm_rms_epsilon", .float32(.nan)), ("llama.rope.freq_base", .float32(-1)),
            ("llama.rope.dimension_count", .uint32(7)), ("llama.context_length", .uint32(0)),
            ("llama.attention.key_length", .uint32(32)),
            ("tokenizer.ggml.bos_token_id", .uint32(8)),
            ("tokenizer.ggml.scores", .array(GGUFArray([Float(0)]))),
            ("tokenizer.ggml.tokens", .array(GGUFArray([String]()))),
            ("tokenizer.ggml.tokens", .array(GGUFArray((0..<9).map { "t\($0)" }))),
            ("tokenizer.ggml.tokens", .uint32(8)), ("tokenizer.ggml.model", .text("gpt2")),
            ("general.architecture", .uint32(3)), ("llama.block_count", .uint32(5000)),
            ("llama.attention.head_count", .array(GGUFArray([Int32(4), 4]))),
            ("llama.attention.head_count_kv", .uint32(0)),
            ("llama.attention.layer_norm_rms_epsilon", .float32(-1e-5)), ("llama.rope.freq_base", .float32(.infinity)),
            ("llama.rope.dimension_count", .int32(-2)), ("llama.context_length", .text("long")),
            ("tokenizer.ggml.token_type", .array(GGUFArray([Int32(1)]))),
            ("tokenizer.ggml.scores", .array(GGUFArray([Float](repeating: .nan, count: 8)))),
            ("tokenizer.ggml.eos_token_id", .int32(-2)), ("tokenizer.ggml.unknown_token_id", .text("none")),
        ])
    func impossible(key: String, value: GGUFValue) throws {
        #expect(try errors(source(.f32) { $0[key] = value }).isEmpty == false)
    }

    @Test("more experts used than there are, merges that are none, and a norm in blocks are errors")
    func impossibleTogether() throws {
        let experts = try errors(
            source {
                $0["llama.expert_count"] = .uint32(4)
                $0["llama.expert_used_count"] = .uint32(5)
            })
        #expect(experts.contains { $0.message.contains("5 of only 4") })
        let merges = try errors(
            source {
                $0["tokenizer.ggml.model"] = .text("gpt2")
                $0["tokenizer.ggml.merges"] = .array(GGUFArray(["t0 t1", "t0t1", " ", "t0 "]))
            })
        #expect(merges.contains { $0.message.contains("3 merges") && $0.message.contains("first is 1") })
        var writer = try GGUFWriter(metadata: Models.metadata)
        try writer.add(name: "token_embd.weight", dimensions: [256, 8], floats: Models.values(2048))
        try writer.add(name: "output_norm.weight", type: .q8_0, dimensions: [256], floats: Models.values(256))
        let norm = try errors(GGUFSource(GGUFFile(bytes: writer.serialized())))
        #expect(norm.contains { $0.subject == "output_norm.weight" && $0.message.contains("Q8_0") })
    }

    @Test("what is odd but usable is a warning: doubled, empty and broken tokens, unknown types, ids for none")
    func odd() throws {
        func warnings(_ edit: (inout GGUFMetadata) -> Void) throws -> String {
            let result = try ModelVerification(of: source(.f32, edit))
            #expect(result.errorCount == 0)
            return result.findings.map(\.message).joined(separator: "\n")
        }
        let strings = ["a", "a", "", "d", "e", "f", "g"].map { GGUFString(bytes: Array($0.utf8)) }
        let tokens = try warnings {
            $0["tokenizer.ggml.tokens"] = .array(GGUFArray(strings + [GGUFString(bytes: [0xFF])]))
        }
        #expect(tokens.contains("appear twice") && tokens.contains("empty") && tokens.contains("not UTF-8"))
        #expect(
            try warnings {
                $0["tokenizer.ggml.token_type"] = .array(GGUFArray([Int32](repeating: 9, count: 8)))
            }.contains("type 9"))
        #expect(try warnings { $0["tokenizer.ggml.padding_token_id"] = .uint32(.max) }.contains("stands for none"))
        #expect(
            try warnings { $0["tokenizer.ggml.scores"] = .array(GGUFArray([Float](repeating: 0, count: 9))) }.contains(
                "9 for 8"))
    }

    @Test("keys that are missing are named, and a file without tokenizer is only odd")
    func missing() throws {
        for key in ["general.architecture", "llama.block_count", "llama.embedding_length"] {
            #expect(try errors(source(.f32) { $0[key] = nil }).contains { $0.subject == key })
        }
        let odd = try ModelVerification(of: source(.f32) { $0["tokenizer.ggml.model"] = nil })
        #expect(odd.errorCount == 0)
        #expect(odd.findings.count == 1)
    }

    @Test("a record tells what changed, what is missing and what is new, and fits F16 of the same numbers")
    func records() throws {
        let original = try source(.f16)
        let record = DigestRecord(try ModelVerification(of: original).tensors)
        try Models.withFolder { folder in
            try record.write(to: "\(folder)/r")
            let back = try DigestRecord(path: "\(folder)/r")
            #expect(back.tensors == record.tensors)
            #expect(throws: ByteIOError.self) { try record.write(to: "\(folder)/r") }
            #expect(try errors(original, record: back) == [])
            // Widened, the numbers are the same.
            let plan = try QuantizationPlan(
                source: original, recipe: QuantizationRecipe(mix: try #require(QuantizationMix(name: "F32"))),
                importance: nil, allowsRequantizing: false, provenance: nil)
            try Quantizer.run(plan, source: original, importance: nil, to: "\(folder)/f32", threads: 1)
            #expect(try errors(GGUFSource(GGUFFile(path: "\(folder)/f32")), record: back) == [])
            let changed = try errors(
                source(.f16) { _ in
                } change: {
                    $0[9] += 1
                }, record: back)
            #expect(changed.map(\.subject) == ["blk.0.attn_k.weight"])
            try AtomicFile.write(Array("{\"format\":\"other\"}".utf8), to: "\(folder)/bad")
            #expect(throws: ConversionError.self) { try DigestRecord(path: "\(folder)/bad") }
        }
        var fewer = try GGUFWriter(metadata: Models.metadata)
        try fewer.add(name: "new.weight", dimensions: [2], floats: [1, 2])
        let other = try errors(GGUFSource(GGUFFile(bytes: fewer.serialized())), record: record)
        #expect(other.count { $0.message.contains("recorded but not there") } == record.tensors.count)
        #expect(other.contains { $0.subject == "new.weight" && $0.message.contains("not recorded") })
    }

    @Test("the error between two models is that of plain arithmetic")
    func difference() throws {
        let left = try source()
        let right = try source(.f32) {
            $0["general.name"] = .text("other")
        } change: {
            $0[7] += 0.5; $0[9] -= 0.25
        }
        let difference = try ModelDifference(of: left, and: right)
        #expect(!difference.isEqual)
        #expect(difference.metadata.map(\.key) == ["general.name"])
        let tensor = try #require(difference.tensors.first { $0.left.name == "blk.0.attn_k.weight" })
        let error = try #require(tensor.error)
        // The sums are rounded to single precision, so the differences are not quite 0.5 and 0.25.
        let values = Models.values(128 * 256, seed: 3)
        let first = Double(values[7] + 0.5) - Double(values[7])
        let second = Double(values[9] - 0.25) - Double(values[9])
        let apart = first * first + second * second
        let squares = values.reduce(0.0) { $0 + Double($1) * Double($1) }
        #expect(abs(error.rootMeanSquare - (apart / Double(values.count)).squareRoot()) < 1e-12)
        #expect(abs(error.relative - (apart / squares).squareRoot()) < 1e-12)
        #expect(abs(error.greatest - 0.5) < 1e-6)
        #expect(error.position == 7)
        #expect(error.cosine < 1 && error.cosine > 0.99)
        #expect(difference.tensors.filter { $0.error?.isExact == false }.count == 1)
        #expect(try ModelDifference(of: left, and: left).isEqual)
    }

    @Test("tensors of other shapes, on one side only, and with NaN are told apart")
    func shapes() throws {
        func model(_ tensors: [(String, [Int], [Float])]) throws -> GGUFSource {
            var writer = try GGUFWriter()
            for (name, dimensions, floats) in tensors {
                try writer.add(name: name, dimensions: dimensions, floats: floats)
            }
            return GGUFSource(try GGUFFile(bytes: writer.serialized()))
        }
        let left = try model([
            ("a", [4], [1, 2, 3, 4]), ("b", [2], [.nan, 1]), ("l", [1], [1]), ("t", [2, 1], [1, 2]),
        ])
        let right = try model([
            ("a", [2, 2], [1, 2, 3, 4]), ("b", [2], [.nan, .infinity]), ("r", [1], [1]), ("t", [2], [1, 2]),
        ])
        let difference = try ModelDifference(of: left, and: right)
        #expect(difference.onlyLeft.map(\.name) == ["l"])
        #expect(difference.onlyRight.map(\.name) == ["r"])
        #expect(difference.tensors[0].error == nil)
        #expect(difference.tensors[1].error?.notFinite == 1)
        #expect(difference.tensors[2].error?.isExact == true)
    }
}
