import Fixtures
import Foundation
import Kernels
import LanguageModels
import Testing

@testable import PromptTuning

@Suite struct CompilationTests {
    private let loaded: LoadedModel
    private let graph: any DifferentiableModel
    private let text =
        "The cat is an animal. The oak is a plant. The bread is food. The house is a place. The man is a person."

    init() throws {
        loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 2))
        graph = try loaded.model.differentiable(weightsMemory: .float)
    }

    /// Losses of a sample behind a prefix.
    private func losses(_ prefix: [Float], _ count: Int, _ sample: [Int]) throws -> [Float] {
        try prefix.withUnsafeBufferPointer {
            try graph.loss(
                of: TrainingBatch([.init(tokens: sample, targetStart: 1)]),
                prompt: .keysAndValues($0.baseAddress!, count: count), gradient: nil
            ).losses
        }
    }

    private func prefill(_ ids: [Int]) throws -> [Float] {
        let cache = loaded.model.makeCache(element: .f32)
        _ = try loaded.model.forward(.tokens(ids), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
        return cache.prefix(tokens: ids.count)
    }

    private func ids(_ text: String) -> [Int] {
        loaded.tokenizer.encode(text, parseSpecial: false, addSpecial: false)
    }

    @Test func movedKeysComeBackExactlyEnough() throws {
        let tokens = ids(text)
        let prefix = try prefill(tokens)
        let there = try loaded.model.movingKeys(prefix, tokens: tokens.count, back: 7)
        let back = try loaded.model.movingKeys(there, tokens: tokens.count, back: -7)
        #expect(zip(prefix, back).allSatisfy { abs($0 - $1) < 1e-4 })
        #expect(there != prefix)
    }

    @Test func movedKeysKeepTheirDistances() throws {
        // Ids prefilled behind five others, then moved back by five, are what they are without those before, as far as the
        // first layer goes: its keys depend on token and position only.
        let tokens = ids(text)
        let shape = loaded.model.shape
        let lead = Array(tokens.prefix(5))
        let late = try prefill(lead + tokens)
        let total = lead.count + tokens.count
        let moved = try loaded.model.movingKeys(late, tokens: total, back: lead.count)
        let plain = try prefill(tokens)
        let d = shape.headDimension
        for head in 0..<shape.keyValueHeadCount {
            for token in tokens.indices {
                for index in 0..<d {
                    let a = moved[(head * total + lead.count + token) * d + index]
                    let b = plain[(head * tokens.count + token) * d + index]
                    #expect(abs(a - b) < 1e-3)
                }
            }
        }
    }

    @Test func aCompiledTextIsNearerToTheTextThanACutOne() throws {
        let tokens = ids(text)
        let count = tokens.count / 3
        let sample = ids("The dog is an animal. The rose is a plant.")
        let whole = try losses(try prefill(tokens), tokens.count, sample)
        let compiler = PromptCompiler(model: loaded.model, tokenizer: loaded.tokenizer, graph: graph)
        let compiled = try losses(
            try compiler.compile(
                text: tokens, to: count, samples: [ids("The wolf is an animal. The fern is a plant.")]),
            count, sample)
        let cut = try losses(try prefill(Array(tokens.prefix(count))), count, sample)
        func distance(_ other: [Float]) -> Float { zip(whole, other).reduce(0) { $0 + abs($1.0 - $1.1) } }
        #expect(distance(compiled) < distance(cut), "compiled \(distance(compiled)), cut \(distance(cut))")
    }

    @Test func asManyTokensAsTheTextHasLeaveItAsItIs() throws {
        let tokens = ids(text)
        let compiler = PromptCompiler(model: loaded.model, tokenizer: loaded.tokenizer, graph: graph)
        #expect(try compiler.compile(text: tokens, to: tokens.count, samples: []) == prefill(tokens))
        #expect(throws: TuningError.self) { try compiler.compile(text: tokens, to: tokens.count + 1, samples: []) }
        #expect(throws: TuningError.self) { try compiler.compile(text: tokens, to: 0, samples: []) }
    }

    @Test func threadsDoNotChangeACompiledBit() throws {
        let tokens = ids(text)
        func compile(_ threads: Int) throws -> [Float] {
            let loaded = try ModelLoader.load(
                path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: threads))
            return try PromptCompiler(
                model: loaded.model, tokenizer: loaded.tokenizer,
                graph: loaded.model.differentiable(weightsMemory: .float)
            ).compile(text: tokens, to: 6, samples: [])
        }
        #expect(try compile(1).map(\.bitPattern) == compile(2).map(\.bitPattern))
    }

    @Test func aSystemIsSolved() throws {
        let matrix: [Double] = [4, 2, 0, 2, 5, 1, 0, 1, 3]
        let x = try #require(LinearSystem.solve(matrix, [8, 17, 11], size: 3, columns: 1))
        for row in 0..<3 {
            let product = (0..<3).reduce(0) { $0 + matrix[row * 3 + $1] * x[$1] }
            #expect(abs(product - [8, 17, 11][row]) < 1e-12)
        }
        #expect(LinearSystem.solve([1, 2, 2, 1], [1, 1], size: 2, columns: 1) == nil)
    }
}
