import Foundation
import GGUF
import Kernels
import LanguageModels
import TensorTypes
import TestSupport
import Testing

/// Loss and gradient of the differentiable llama against the plain one in `Double`.
@Suite struct LlamaGraphTests {
    /// Single precision against double, losses of about 5 nats.
    private let lossTolerance = 1e-4
    /// Of the gradient's norm: single precision through two layers, and the error of central differences.
    private let gradientTolerance = 3e-4

    private static let types: [TensorType] = [
        .f32, .f16, .bf16, .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q4_K, .q5_K, .q6_K,
    ]
    private let batch = TrainingBatch([
        .init(tokens: [3, 17, 42, 8, 61], targetStart: 3), .init(tokens: [79, 0, 5], targetStart: 2),
    ])
    private let promptTokens = 3

    private enum Placement: CaseIterable { case embeddings, keysAndValues, adaptionPrompt }

    private func withModel<R>(
        _ type: TensorType, threads: Int = 1, _ body: (any LanguageModel, NaiveLlama) throws -> R
    ) throws -> R {
        let path = try RandomLlama.write(type: type)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let file = try GGUFFile(path: path)
        return try body(
            LlamaArchitecture.load(file, pool: ThreadPool(threadCount: threads)), NaiveLlama(file))
    }

    private func parameters(_ placement: Placement, _ shape: DecoderShape) -> [Float] {
        var random = RandomNumbers(seed: 7)
        switch placement {
        case .embeddings: return random.floats(promptTokens * shape.hiddenSize, scale: 0.2)
        case .keysAndValues: return random.floats(promptTokens * shape.keyValueElementsPerToken, scale: 0.8)
        case .adaptionPrompt: return random.floats(promptTokens * shape.layerCount * (shape.hiddenSize + 1), scale: 0.8)
        }
    }

    private func evaluate(
        _ graph: any DifferentiableModel, _ batch: TrainingBatch, _ placement: Placement, _ values: [Float]
    ) throws -> (loss: Double, gradient: [Float]) {
        var gradient = [Float](repeating: .nan, count: values.count)
        let loss = try values.withUnsafeBufferPointer { values in
            let base = values.baseAddress!
            let prompt: PromptView =
                switch placement {
                case .embeddings: .embeddings(base, count: promptTokens)
                case .keysAndValues: .keysAndValues(base, count: promptTokens)
                case .adaptionPrompt: .adaptionPrompt(base, count: promptTokens)
                }
            return try graph.loss(of: batch, prompt: prompt, gradient: &gradient)
        }
        return (loss.loss, gradient)
    }

    private func prompt(_ placement: Placement, _ values: [Double]) -> NaiveLlama.Prompt {
        switch placement {
        case .embeddings: .embeddings(values, count: promptTokens)
        case .keysAndValues: .keysAndValues(values, count: promptTokens)
        case .adaptionPrompt: .adaptionPrompt(values, count: promptTokens)
        }
    }

    @Test(arguments: types) func gradientsAgreeWithFiniteDifferences(type: TensorType) throws {
        try withModel(type) { model, naive in
            let graph = try model.differentiable(weightsMemory: .float)
            for placement in Placement.allCases {
                let values = parameters(placement, model.shape)
                let (loss, gradient) = try evaluate(graph, batch, placement, values)
                let start = values.map(Double.init)
                #expect(abs(loss - naive.loss(batch, prompt: prompt(placement, start))) < lossTolerance)
                let norm = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
                try #require(norm > 1e-3)
                var random = RandomNumbers(seed: 11)
                var directions = [gradient.map { Double($0) / norm }]
                for _ in 0..<2 {
                    let direction = random.floats(values.count, scale: 1).map(Double.init)
                    let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
                    directions.append(direction.map { $0 / length })
                }
                var single = [Double](repeating: 0, count: values.count)
                single[Int(random.next() % UInt64(values.count))] = 1
                directions.append(single)
                for direction in directions {
                    let step = 1e-4
                    func moved(_ factor: Double) -> Double {
                        naive.loss(
                            batch, prompt: prompt(placement, zip(start, direction).map { $0 + factor * $1 }))
                    }
                    let expected = (moved(step) - moved(-step)) / (2 * step)
                    let found = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
                    #expect(abs(found - expected) < gradientTolerance * norm, "\(placement): \(found), \(expected)")
                }
            }
        }
    }

    @Test func lossWithoutAPromptAgrees() throws {
        try withModel(.f32) { model, naive in
            let found = try model.differentiable(weightsMemory: .float).loss(of: batch, prompt: .none, gradient: nil)
            #expect(found.targetCount == 3)
            #expect(abs(found.loss - naive.loss(batch)) < lossTolerance)
        }
    }

    @Test func virtualTokensAtTheInputPredictTheFirstToken() throws {
        try withModel(.f32) { model, naive in
            let batch = TrainingBatch([.init(tokens: [9, 4, 2], targetStart: 0), .init(tokens: [5], targetStart: 0)])
            let values = parameters(.embeddings, model.shape)
            let found = try evaluate(model.differentiable(weightsMemory: .float), batch, .embeddings, values)
            let expected = naive.loss(batch, prompt: prompt(.embeddings, values.map(Double.init)))
            #expect(abs(found.loss - expected) < lossTolerance)
        }
    }

    @Test func tilesFloatsAndThreadsGiveTheSameBits() throws {
        for placement in Placement.allCases {
            var results: [[UInt32]] = []
            for (threads, memory) in [(1, WeightsMemory.float), (2, .float), (1, .tiles), (2, .tiles)] {
                try withModel(.q4_K, threads: threads) { model, _ in
                    let graph = try model.differentiable(weightsMemory: memory)
                    let found = try evaluate(graph, batch, placement, parameters(placement, model.shape))
                    results.append(found.gradient.map(\.bitPattern) + [Float(found.loss).bitPattern])
                }
            }
            #expect(results.allSatisfy { $0 == results[0] })
        }
    }

    @Test func aPackedBatchIsTheMeanOfItsExamples() throws {
        try withModel(.q8_0) { model, _ in
            let graph = try model.differentiable(weightsMemory: .float)
            for placement in Placement.allCases {
                let values = parameters(placement, model.shape)
                let whole = try evaluate(graph, batch, placement, values)
                let weights = [2.0 / 3, 1.0 / 3]  // target tokens of each example
                let parts = try batch.examples.map { try evaluate(graph, TrainingBatch([$0]), placement, values) }
                #expect(abs(whole.loss - zip(weights, parts).reduce(0) { $0 + $1.0 * $1.1.loss }) < 1e-5)
                for index in values.indices {
                    let mean = zip(weights, parts).reduce(0) { $0 + $1.0 * Double($1.1.gradient[index]) }
                    #expect(abs(Double(whole.gradient[index]) - mean) < 1e-5)
                }
            }
        }
    }

    @Test func batchesThatCannotBeLearnedFromAreRefused() throws {
        try withModel(.f32) { model, _ in
            let graph = try model.differentiable(weightsMemory: .float)
            for tokens in [[3, 80], [-1, 3], [3]] {
                #expect {
                    try graph.loss(
                        of: TrainingBatch([.init(tokens: tokens, targetStart: 1)]), prompt: .none, gradient: nil)
                } throws: { ($0 as? ModelError)?.code == .invalidInput }
            }
        }
    }
}
