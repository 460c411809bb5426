import Fixtures
import Foundation
import Kernels
import LanguageModels
import SoftPrompts
import Testing

@testable import PromptTuning

/// Gated rows beside the attention of every layer.
@Suite struct AdaptionPromptTests {
    private let loaded: LoadedModel
    private let rows: [Example]
    private let tokens = 4

    init() throws {
        loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 2))
        rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train]
    }

    private func initial(_ start: PromptInitialization) throws -> [Float] {
        try AdaptionPrompt.initialParameters(start, tokens: tokens, model: loaded.model, tokenizer: loaded.tokenizer)
    }

    private func batch() throws -> TrainingBatch {
        let encoder = ExampleEncoder(tokenizer: loaded.tokenizer, template: .standard, learnsEnd: false)
        return TrainingBatch(try rows.prefix(8).map { try encoder.encode($0) })
    }

    private func loss(_ graph: any DifferentiableModel, _ batch: TrainingBatch, _ values: [Float]) throws -> BatchLoss {
        try values.withUnsafeBufferPointer { buffer in
            let base = try #require(buffer.baseAddress)
            return try graph.loss(of: batch, prompt: AdaptionPrompt.view(base, tokens: tokens), gradient: nil)
        }
    }

    @Test func itBeginsAsTheBareModel() throws {
        let graph = try loaded.model.differentiable(weightsMemory: .float)
        let bare = try graph.loss(of: batch(), prompt: .none, gradient: nil).loss
        let found = try loss(graph, batch(), initial(.text("What kind of thing is it")))
        #expect(found.loss == bare)
    }

    @Test func zerosAreNoStart() throws {
        #expect(throws: TuningError.self) { try initial(.zero) }
    }

    @Test func itLearnsAndServesWhatItLearned() throws {
        let configuration = TuningConfiguration(
            method: AdaptionPrompt.name, tokens: tokens, steps: 60, batchSize: 8,
            learningRate: AdaptionPrompt.defaultLearningRate, averaging: 0, tokenDropout: 0, evaluateEvery: 1000,
            learnsEnd: false, freezesFirstToken: false)
        let values = try initial(.text("What kind of thing is it"))
        let trainer = try Trainer(
            model: loaded.model, tokenizer: loaded.tokenizer, examples: rows, configuration: configuration,
            initial: values, precision: .int8)
        let outcome = try trainer.run()
        let (first, last) = (outcome.losses.prefix(5).reduce(0, +), outcome.losses.suffix(5).reduce(0, +))
        #expect(last < 0.6 * first)
        // Gates live in the first token alone.
        let layout = AdaptionLayout(loaded.model.shape.promptShape)
        for layer in 0..<layout.layerCount {
            let gates = (0..<tokens).map { outcome.parameters[$0 * layout.columns + layout.gate(ofLayer: layer)] }
            #expect(gates[0] != 0)
            #expect(gates.dropFirst().allSatisfy { $0 == 0 })
        }
        // Attached, the model predicts as in training.
        let graph = try loaded.model.differentiable(weightsMemory: .float)
        graph.precision = .int8Forward
        let example = try batch().examples[0]
        let loss = try loss(graph, TrainingBatch([example]), outcome.parameters)
        let gated = try loaded.model.gatedPrompt(outcome.parameters, count: tokens)
        let cache = loaded.model.makeCache(element: .f32, gated: gated)
        let workspace = InferenceWorkspace()  // the logits lie in it
        let logits = try withExtendedLifetime(workspace) {
            Array(
                try loaded.model.forward(
                    .tokens(Array(example.tokens[..<example.targetStart])), cache: cache, workspace: workspace,
                    logitCount: 1))
        }
        let largest = logits.max() ?? 0
        let total = logits.reduce(0) { $0 + exp(Double($1 - largest)) }
        let own = log(total) - Double(logits[example.tokens[example.targetStart]] - largest)
        #expect(abs(own - Double(loss.losses[0])) < 0.02)
    }

    @Test func appendingToItIsRefused() throws {
        #expect(throws: TuningError.self) {
            try AppendedTokens.initial(
                initial(.vocabulary(seed: 1)), count: tokens, adding: 2, placement: .adaptionPrompt, seed: 0,
                model: loaded.model, tokenizer: loaded.tokenizer)
        }
    }
}
