import Conversion
import Fixtures
import Foundation
import GGUF
import Kernels
import LanguageModels
import Testing

/// LoRA adapters against PEFT's logits (`Fixtures/Scripts/make_lora.py`), applied while running and merged.
@Suite struct LowRankAdapterTests {
    private struct Golden: Decodable {
        let ids: [Int]
        let base, first, both: [Double]
    }

    private static let folder = Fixtures.url("Golden/lora")
    /// F16 weights multiplied in F32, logits up to 20.
    private static let tolerance = 5e-3

    private let pool = ThreadPool(threadCount: 2)

    private func golden() throws -> Golden {
        try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: Self.folder.appending(path: "logits.json")))
    }

    private func base() throws -> any ModelSource {
        try HuggingFaceSource(folder: Fixtures.Models.tinyLlamaFolder.path)
    }

    private func adapter(_ name: String, _ scale: Float, _ base: any ModelSource) throws -> ScaledAdapter {
        ScaledAdapter(
            try LowRankAdapter(path: Self.folder.appending(path: name).path, base: base), scale: scale)
    }

    private func logits(_ source: any ModelSource, _ adapters: [ScaledAdapter], _ ids: [Int]) throws -> [Float] {
        let model = try ModelCatalog.architecture(for: source.metadata, path: source.path)
            .load(source, adapters: adapters, pool: pool)
        let workspace = InferenceWorkspace()
        return try withExtendedLifetime(workspace) {
            Array(
                try model.forward(
                    .tokens(ids), cache: model.makeCache(element: .f32), workspace: workspace, logitCount: 1))
        }
    }

    private func agrees(_ found: [Float], _ expected: [Double]) -> Bool {
        found.count == expected.count
            && zip(found, expected).allSatisfy { abs(Double($0) - $1) < Self.tolerance * max(1, abs($1)) }
    }

    @Test(arguments: [false, true]) func adaptersGiveTheLogitsOfPEFT(isMerged: Bool) throws {
        let golden = try golden(), base = try base()
        func check(_ adapters: [ScaledAdapter], _ expected: [Double]) throws {
            let found =
                isMerged
                ? try logits(MergedSource(base, adapters: adapters), [], golden.ids)
                : try logits(base, adapters, golden.ids)
            #expect(agrees(found, expected))
        }
        try check([], golden.base)
        try check([adapter("first", 1, base)], golden.first)
        try check([adapter("first", 0.5, base), adapter("second", -2, base)], golden.both)
        #expect(!agrees(try logits(base, [], golden.ids), golden.first))
    }

    @Test func theGGUFAdapterIsTheFolders() throws {
        let base = try base(), golden = try golden()
        let folder = try adapter("first", 1, base), file = try adapter("first.gguf", 1, base)
        #expect(Set(folder.adapter.pairs.keys) == Set(file.adapter.pairs.keys))
        #expect(folder.adapter.pairs.count == 14)
        #expect(
            try logits(base, [folder], golden.ids).map(\.bitPattern)
                == logits(base, [file], golden.ids).map(\.bitPattern))
    }

    @Test func adaptersOfQuantizedModelsAreTheSameInEveryCompany() throws {
        let source = GGUFSource(try GGUFFile(path: Fixtures.Models.tinyLlamaQ4_1.path))
        let model = try LlamaArchitecture.load(source, adapters: [adapter("first", 1, source)], pool: pool)
        let workspace = InferenceWorkspace()
        let texts = [[5, 9, 200, 31], (0..<30).map { $0 * 7 + 3 }, [8]]
        func run(_ together: Bool) throws -> [UInt32] {
            let steps = texts.map { SequenceStep(.tokens($0), cache: model.makeCache(), logitCount: 1) }
            if together { return try model.forward(steps, workspace: workspace).map(\.bitPattern) }
            return try steps.flatMap { try model.forward([$0], workspace: workspace).map(\.bitPattern) }
        }
        #expect(try run(true) == run(false))
        #expect(throws: ModelError.self) { try model.differentiable(weightsMemory: .tiles) }
    }

    @Test func whatDoesNotBelongIsRefused() throws {
        let base = try base()
        func refused(_ path: String, _ base: any ModelSource, _ words: String) {
            #expect { try LowRankAdapter(path: path, base: base) } throws: { "\($0)".contains(words) }
        }
        let first = Self.folder.appending(path: "first").path
        let wide = GGUFSource(
            try GGUFFile(path: Fixtures.url("Models/architectures/llama.gguf").path))
        refused(first, wide, "made for another model")
        refused(Self.folder.appending(path: "first.gguf").path, wide, "made for another model")
        let other = GGUFSource(try GGUFFile(path: Fixtures.url("Models/architectures/qwen2.gguf").path))
        refused(Self.folder.appending(path: "first.gguf").path, other, "is for the architecture \"llama\"")
        refused(Fixtures.Models.tinyLlama.path, base, "a LoRA adapter is asked for")
        refused(Self.folder.appending(path: "missing").path, base, "no such file")
        refused(Self.folder.path, base, "adapter_config.json")
    }

    @Test(arguments: [
        ("lora_b is missing", ["blk.0.attn_q.weight.lora_a": [64, 2]]),
        ("lora_a is missing", ["blk.0.attn_q.weight.lora_b": [2, 64]]),
        (
            "ranks of its two parts differ",
            ["blk.0.attn_q.weight.lora_a": [64, 2], "blk.0.attn_q.weight.lora_b": [3, 64]]
        ),
        ("the base has 64 × 64", ["blk.0.attn_q.weight.lora_a": [64, 2], "blk.0.attn_q.weight.lora_b": [2, 32]]),
        ("no such tensor", ["blk.9.attn_q.weight.lora_a": [64, 2], "blk.9.attn_q.weight.lora_b": [2, 64]]),
        ("not supported", ["token_embd.weight.lora_a": [64, 2], "token_embd.weight.lora_b": [2, 459]]),
        ("is no part", ["blk.0.attn_q.weight": [64, 64]]),
        ("changes no tensor", ["blk.0.attn_norm.weight": [64]]),
        ("NaN", ["blk.0.attn_q.weight.lora_a": [64, 2], "blk.0.attn_q.weight.lora_b": [2, 64], "nan": []]),
    ]) func damagedAdaptersAreRefused(words: String, tensors: [String: [Int]]) throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString).gguf").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        var metadata = GGUFMetadata()
        metadata["general.architecture"] = .text("llama")
        metadata["general.type"] = .text("adapter")
        metadata["adapter.type"] = .text("lora")
        metadata["adapter.lora.alpha"] = .float32(4)
        var writer = try GGUFWriter(metadata: metadata)
        for (name, dimensions) in tensors.sorted(by: { $0.key < $1.key }) where !dimensions.isEmpty {
            var values = [Float](repeating: 0.5, count: dimensions.reduce(1, *))
            if tensors["nan"] != nil { values[1] = .nan }
            try writer.add(name: name, type: .f32, dimensions: dimensions, floats: values)
        }
        try writer.write(to: path)
        let base = try base()
        #expect { try LowRankAdapter(path: path, base: base) } throws: { "\($0)".contains(words) }
    }
}
