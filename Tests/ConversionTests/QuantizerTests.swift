import ByteIO
import Fixtures
import Foundation
import GGUF
import TensorTypes
import Testing

@testable import Conversion

@Suite("Quantizing")
struct QuantizerTests {
    private func plan(
        _ source: any ModelSource, _ mix: String, importance: ImportanceMatrix? = nil, allowsRequantizing: Bool = false,
        change: (inout QuantizationRecipe) throws -> Void = { _ in }
    ) throws -> QuantizationPlan {
        var recipe = QuantizationRecipe(mix: try #require(QuantizationMix(name: mix)))
        try change(&recipe)
        return try QuantizationPlan(
            source: source, recipe: recipe, importance: importance, allowsRequantizing: allowsRequantizing,
            provenance: Provenance(fingerprint: nil, options: ""))
    }

    @Test("every tensor becomes what its type's encoder makes of it, with any number of threads")
    func bytes() throws {
        let source = try Models.source(type: .f16)
        try Models.withFolder { folder in
            let plan = try plan(source, "Q4_K_M")
            var files: [[UInt8]] = []
            for threads in [1, 3] {
                let path = "\(folder)/\(threads).gguf"
                try Quantizer.run(plan, source: source, importance: nil, to: path, threads: threads)
                files.append(try MappedFile(path: path).copyBytes())
            }
            #expect(files[0] == files[1])
            let file = try GGUFFile(path: "\(folder)/1.gguf")
            #expect(file.warnings.isEmpty)
            #expect(file.tensors.map(\.name) == plan.entries.map(\.source.name))
            for tensor in file.tensors {
                let origin = try #require(source.file.tensor(named: tensor.name))
                let floats = try source.file.floats(of: origin)
                #expect(try Array(file.bytes(of: tensor)) == tensor.type.encoded(floats), "\(tensor.name)")
            }
            #expect(file.tensor(named: "blk.0.attn_v.weight")?.type == .q6_K)
            #expect(file.tensor(named: "blk.0.attn_norm.weight")?.type == .f32)
            #expect(try file.metadata.int("general.quantization_version") == 2)
            #expect(try file.metadata.int("general.file_type") == 15)
            #expect(try file.metadata.string("incipit.recipe") == #"{"operation":"quantize","type":"Q4_K_M"}"#)
            #expect(Array(file.metadata.keys.suffix(3)).first == "general.quantization_version")
        }
    }

    @Test("tensors larger than a window, of several matrices and few rows, come out whole and in order")
    func windows() throws {
        // 3 matrices of 2100 rows of 512: some windows, and pieces that end with a matrix.
        let values = Models.values(3 * 2100 * 512)
        var writer = try GGUFWriter(metadata: ["general.architecture": .text("llama")])
        try writer.add(name: "blk.0.ffn_up_exps.weight", dimensions: [512, 2100, 3], floats: values)
        try writer.add(name: "blk.0.attn_q.weight", dimensions: [512, 1], floats: Array(values[..<512]))
        let source = GGUFSource(try GGUFFile(bytes: writer.serialized()))
        var matrix = ImportanceMatrix()
        let weights = Models.values(3 * 512, seed: 5).map(\.magnitude)
        matrix.entries["blk.0.ffn_up_exps.weight"] = .init(sums: weights, counts: [1, 2, 0])
        try Models.withFolder { folder in
            for mix in ["Q8_0", "F16", "Q4_0"] {
                let plan = try plan(source, mix, importance: matrix)
                try Quantizer.run(plan, source: source, importance: matrix, to: "\(folder)/\(mix)", threads: 2)
                let file = try GGUFFile(path: "\(folder)/\(mix)")
                let tensor = try #require(file.tensor(named: "blk.0.ffn_up_exps.weight"))
                var expected: [UInt8] = []
                for expert in 0..<3 {
                    let rows = Array(values[expert * 2100 * 512..<(expert + 1) * 2100 * 512])
                    let count = matrix.entries["blk.0.ffn_up_exps.weight"]!.counts[expert]
                    let importance = weights[expert * 512..<(expert + 1) * 512].map { count > 0 ? $0 / count : 1 }
                    expected += try tensor.type.encoded(
                        rows: rows, rowLength: 512, importance: tensor.type.usesImportance ? importance : nil)
                }
                #expect(Array(file.bytes(of: tensor)) == expected, "\(mix)")
            }
        }
    }

    @Test("a NaN is found and named, whatever the thread that meets it, and nothing is left")
    func notFinite() throws {
        for mix in ["Q4_K_M", "F16", "F32"] {
            let source = try Models.source {
                $0[256 * 70 + 3] = .nan; $0[256 * 100] = .infinity
            }
            try Models.withFolder { folder in
                let plan = try plan(source, mix)
                let error = #expect(throws: ConversionError.self) {
                    try Quantizer.run(plan, source: source, importance: nil, to: "\(folder)/out", threads: 2)
                }
                #expect(error?.code == .damaged)
                #expect(error?.tensor == "blk.0.attn_k.weight")
                #expect(error?.message.contains("row 70, column 3") == true, "\(error?.message ?? "")")
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
            }
        }
        let large = try Models.source { $0[5] = 70000 }
        try Models.withFolder { folder in
            let error = #expect(throws: ConversionError.self) {
                try Quantizer.run(plan(large, "F16"), source: large, importance: nil, to: "\(folder)/o", threads: 1)
            }
            #expect(error?.message.contains("BF16") == true)
        }
    }

    @Test("quantized weights are quantized again only on demand, and become floats without")
    func requantizing() throws {
        let source = try Models.source(type: .q8_0)
        #expect(try plan(source, "Q4_K_M").problems.first?.message.contains("--allow-requantize") == true)
        #expect(try plan(source, "Q4_K_M", allowsRequantizing: true).problems.isEmpty)
        #expect(try plan(source, "F16").problems.isEmpty)
        let same = try plan(source, "Q8_0")
        #expect(same.problems.isEmpty)
        let isCopied = same.entries.allSatisfy(\.isCopied)
        #expect(isCopied)
    }

    @Test("types of few bits demand an importance matrix, and one of another model is refused")
    func importance() throws {
        let source = try Models.source()
        let problems = try plan(source, "IQ2_XS").problems
        #expect(problems.contains { $0.message.contains("incipit imatrix") })
        #expect(try plan(source, "Q2_K_S").problems.isEmpty == false)
        var matrix = ImportanceMatrix()
        for tensor in source.tensors where tensor.name.hasPrefix("blk") && tensor.dimensions.count == 2 {
            matrix.entries[tensor.name] = .init(sums: Models.values(256).map(\.magnitude), counts: [1])
        }
        #expect(try plan(source, "Q2_K_S", importance: matrix).problems.isEmpty)
        matrix.entries["blk.0.attn_q.weight"] = .init(sums: [1, 2, 3], counts: [1])
        #expect(try plan(source, "Q2_K", importance: matrix).problems.first?.message.contains("another model") == true)
        matrix.entries["blk.0.attn_q.weight"] = nil
        let warned = try plan(source, "Q4_K_M", importance: matrix)
        #expect(warned.warnings.contains { $0.contains("attn_q") })
    }

    @Test("rules that match nothing are reported")
    func rules() throws {
        let plan = try plan(try Models.source(), "Q4_0") {
            $0.rules = [try TensorTypeRule("ffn_down=Q8_0"), try TensorTypeRule("ffn_dwon=Q8_0")]
        }
        #expect(plan.warnings.count == 1)
        #expect(plan.warnings[0].contains("ffn_dwon"))
    }

    @Test("a file that exists is kept, the source is never overwritten, and stopping leaves nothing")
    func destination() throws {
        try Models.withFolder { folder in
            let path = "\(folder)/source.gguf"
            try Models.writer().write(to: path)
            let source = GGUFSource(try GGUFFile(path: path))
            let before = try MappedFile(path: path).copyBytes()
            let plan = try plan(source, "Q8_0")
            for existing in [AtomicFile.Existing.refuse, .replace] {
                let error = #expect(throws: ConversionError.self) {
                    try Quantizer.run(
                        plan, source: source, importance: nil, to: path, existing: existing, threads: 1)
                }
                #expect(error?.code == .destination)
            }
            #expect(throws: ConversionError.self) {
                try Quantizer.run(plan, source: source, importance: nil, to: "\(folder)/no/x.gguf", threads: 1)
            }
            struct Stop: Error {}
            #expect(throws: Stop.self) {
                try Quantizer.run(plan, source: source, importance: nil, to: "\(folder)/x.gguf", threads: 2) { _ in
                    throw Stop()
                }
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["source.gguf"])
            #expect(try MappedFile(path: path).copyBytes() == before)
            let parts = try Quantizer.run(
                plan, source: source, importance: nil, to: "\(folder)/x.gguf", maximumPartSize: 150_000, threads: 2)
            #expect(parts.count > 1)
            #expect(try GGUFFile(path: parts[0]).tensors.count == source.tensors.count)
        }
    }

    @Test("the tiny model keeps its fingerprint as F32, and Q8_0 stays within a hundredth of it")
    func tiny() throws {
        let source = GGUFSource(try GGUFFile(path: Fixtures.Models.tinyLlama.path))
        try Models.withFolder { folder in
            for mix in ["F32", "Q8_0"] {
                try Quantizer.run(
                    plan(source, mix), source: source, importance: nil, to: "\(folder)/\(mix)", threads: 2)
            }
            let same = try GGUFFile(path: "\(folder)/F32")
            #expect(
                try ModelFingerprint.compute(of: same).base == ModelFingerprint.compute(of: source.file).base)
            let rounded = GGUFSource(try GGUFFile(path: "\(folder)/Q8_0"))
            let difference = try ModelDifference(of: source, and: rounded)
            #expect(difference.overall.relative > 1e-4)
            #expect(difference.overall.relative < 1e-2)
            #expect(difference.overall.cosine > 0.9999)
        }
    }

    @Test("side-cars and vocabularies are refused by name")
    func kinds() throws {
        var writer = try GGUFWriter(metadata: ["general.type": .text("imatrix")])
        try writer.add(name: "x.in_sum2", dimensions: [4], floats: [1, 2, 3, 4])
        let matrix = GGUFSource(try GGUFFile(bytes: writer.serialized()))
        #expect(throws: ConversionError.self) { try plan(matrix, "Q8_0") }
        let empty = GGUFSource(try GGUFFile(bytes: GGUFWriter(metadata: Models.metadata).serialized()))
        #expect(throws: ConversionError.self) { try plan(empty, "Q8_0") }
    }
}
