import Fixtures
import Foundation
import GGUF
import Kernels
import LanguageModels
import TensorTypes
import TestSupport
import Testing

/// The integer engine's logits against Hugging Face's, and against itself by other routes.
@Suite struct LlamaLogitsTests {
    private struct Golden: Decodable {
        struct Case: Decodable {
            var ids: [Int]
            var last: [Float]
        }
        var models: [String: [Case]]
    }
    /// The reference is rounded to six decimals and computed in F32, as is this file.
    private let floatTolerance: Float = 1e-3
    /// Activations are rounded to 8 bits in products with quantized weights; nats.
    private let quantizedDivergence = 0.01

    /// Keys and values rounded to 11 bits; a rounded activation may then fall to its neighbour of 8 bits.
    private let halfCacheTolerance: Float = 0.2

    private func golden(_ name: String) throws -> [Golden.Case] {
        let data = try Data(contentsOf: Fixtures.Golden.tinyLogits)
        return try #require(try JSONDecoder().decode(Golden.self, from: data).models[name])
    }

    private func load(_ url: URL) throws -> any LanguageModel {
        try ModelLoader.load(path: url.path, pool: ThreadPool(threadCount: 1)).model
    }

    private func logits(
        _ model: any LanguageModel, _ parts: [[Int]], element: KVElement = .f32
    ) throws -> [Float] {
        let cache = model.makeCache(element: element)
        let workspace = InferenceWorkspace()
        var result: [Float] = []
        for part in parts {
            // The logits lie in the workspace.
            result = try withExtendedLifetime(workspace) {
                Array(try model.forward(.tokens(part), cache: cache, workspace: workspace, logitCount: 1))
            }
        }
        return result
    }

    private func largestDifference(_ a: [Float], _ b: [Float]) -> Float {
        zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
    }

    private func probabilities(_ logits: [Float]) -> [Double] {
        let largest = Double(logits.max() ?? 0)
        let weights = logits.map { exp(Double($0) - largest) }
        let total = weights.reduce(0, +)
        return weights.map { $0 / total }
    }

    @Test func floatLogitsAreTheReference() throws {
        let model = try load(Fixtures.Models.tinyLlama)
        for known in try golden("tiny-llama.gguf") {
            let found = try logits(model, [known.ids])
            try #require(found.count == known.last.count)
            #expect(largestDifference(found, known.last) < floatTolerance)
        }
    }

    @Test func quantizedLogitsStayCloseToTheReference() throws {
        let model = try load(Fixtures.Models.tinyLlamaQ4_1)
        let cases = try golden("tiny-llama-q4_1.gguf")
        var total = 0.0
        for known in cases {
            let p = probabilities(known.last)
            let q = probabilities(try logits(model, [known.ids]))
            total += zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
        }
        #expect(total / Double(cases.count) < quantizedDivergence)
    }

    @Test(arguments: [Fixtures.Models.tinyLlama, Fixtures.Models.tinyLlamaQ4_1])
    func tokenByTokenEqualsOnePrefill(url: URL) throws {
        let model = try load(url)
        let ids = [67, 279, 341, 82, 454, 84, 388, 275, 84, 81, 79, 267]
        let whole = try logits(model, [ids])
        #expect(largestDifference(whole, try logits(model, ids.map { [$0] })) < floatTolerance)
        #expect(largestDifference(whole, try logits(model, [ids], element: .f16)) < halfCacheTolerance)
    }

    @Test func inputsLongerThanAChunkEqualTheirParts() throws {
        let model = try load(Fixtures.Models.tinyLlama)
        let ids = (0..<1100).map { 3 + $0 * 7 % 450 }
        let whole = try logits(model, [ids])
        let parts = try logits(model, [Array(ids[..<300]), Array(ids[300..<1099]), [ids[1099]]])
        #expect(largestDifference(whole, parts) < floatTolerance)
    }

    @Test func idsOutsideTheVocabularyAreRefused() throws {
        let model = try load(Fixtures.Models.tinyLlama)
        for id in [-1, 459, Int.max] {
            #expect { try logits(model, [[id]]) } throws: { ($0 as? ModelError)?.code == .invalidInput }
        }
    }

    @Test(
        arguments: [
            ("llama.block_count", nil), ("llama.attention.head_count", .uint32(0)),
            ("llama.attention.head_count_kv", .uint32(3)), ("llama.context_length", nil),
            ("llama.rope.freq_base", .float32(.nan)), ("llama.vocab_size", .uint32(81)),
        ] as [(String, GGUFValue?)])
    func contradictingHyperparametersAreNamed(key: String, value: GGUFValue?) throws {
        try expectRefusal(
            RandomLlama.write(type: .f32, metadata: [(key, value)]), .invalidHyperparameter,
            naming: key == "llama.attention.head_count_kv" ? "3 key-value heads" : String(key.dropFirst(6)))
    }

    @Test func missingAndMisshapenTensorsAreNamed() throws {
        let name = "blk.1.attn_k.weight"
        try expectRefusal(
            RandomLlama.write(type: .f32) { $0 == name ? nil : $1 }, .invalidTensor, naming: "\(name) is missing")
        try expectRefusal(
            RandomLlama.write(type: .f32) { $0 == name ? [256, 64] : $1 }, .invalidTensor,
            naming: "256×64; the hyperparameters ask for 256×128")
    }

    private func expectRefusal(_ path: String, _ code: ModelError.Code, naming text: String) throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let file = try GGUFFile(path: path)
        #expect {
            try LlamaArchitecture.load(file, pool: ThreadPool(threadCount: 1))
        } throws: { error in
            guard let error = error as? ModelError else { return false }
            return error.code == code && error.description.contains(text) && error.description.contains(path)
        }
    }
}
