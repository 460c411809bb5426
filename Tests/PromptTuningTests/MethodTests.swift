import Fixtures
import Foundation
import Kernels
import LanguageModels
import SoftPrompts
import Testing

@testable import PromptTuning

/// What every tuning method must do, whichever it is.
@Suite struct MethodTests {
    private let loaded: LoadedModel
    private let rows: [Example]
    private let tokens = 3

    init() throws {
        loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train]
    }

    private static let names = MethodCatalog.methods.map { $0.name }

    private func initial(_ method: any TuningMethod.Type) throws -> [Float] {
        try method.initialParameters(
            .text("What kind of thing is it"), tokens: tokens, model: loaded.model, tokenizer: loaded.tokenizer)
    }

    @Test(arguments: names) func itBeginsAsTheTextItIsGiven(name: String) throws {
        let method = try MethodCatalog.method(named: name)
        let parameters = try initial(method)
        #expect(parameters.count == method.parameterCount(tokens: tokens, shape: loaded.model.shape))
        let plain: any TuningMethod.Type =
            switch method.placement {
            case .keysAndValues: PrefixTuning.self
            case .inputEmbeddings: PromptTuningMethod.self
            case .adaptionPrompt: AdaptionPrompt.self
            }
        let start = method.fold(parameters, tokens: tokens, shape: loaded.model.shape)
        #expect(
            try start
                == plain.initialParameters(
                    .text("What kind of thing is it"), tokens: tokens, model: loaded.model, tokenizer: loaded.tokenizer)
        )
    }

    @Test(arguments: names) func storedAndBackIsTheSame(name: String) throws {
        let method = try MethodCatalog.method(named: name)
        let shape = loaded.model.shape
        let values = method.fold(try initial(method), tokens: tokens, shape: shape)
        let stored = method.storedValues(values, tokens: tokens, shape: shape)
        #expect(method.parameters(fromStored: stored, tokens: tokens, shape: shape) == values)
    }

    @Test(arguments: names) func theGradientOfFoldingIsItsSlope(name: String) throws {
        let method = try MethodCatalog.method(named: name)
        let shape = loaded.model.shape
        var random = SplitMix64(seed: 11)
        // Away from the start, where encoders add nothing and pass nothing back to their inner layers.
        var parameters = try initial(method)
        for index in parameters.indices { parameters[index] += Float(random.nextUniform() - 0.5) * 0.2 }
        let direction = (0..<method.fold(parameters, tokens: tokens, shape: shape).count).map { _ in
            Float(random.nextUniform() - 0.5)
        }
        func value(_ parameters: [Float]) -> Double {
            zip(method.fold(parameters, tokens: tokens, shape: shape), direction).reduce(0) {
                $0 + Double($1.0) * Double($1.1)
            }
        }
        let gradient = method.unfold(direction, parameters: parameters, tokens: tokens, shape: shape)
        let norm = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        let h = 2e-2
        func moved(_ by: Double) -> [Float] { zip(parameters, gradient).map { $0 + Float(by * Double($1) / norm) } }
        let slope = (value(moved(h)) - value(moved(-h))) / (2 * h)
        #expect(abs(slope - norm) < 0.01 * norm, "slope \(slope), norm \(norm)")
    }

    @Test(arguments: names) func itLearns(name: String) throws {
        let method = try MethodCatalog.method(named: name)
        var configuration = TuningConfiguration(
            method: name, tokens: tokens, steps: 40, batchSize: 8, learningRate: method.defaultLearningRate * 3,
            averaging: 0, tokenDropout: 0, evaluateEvery: 40)
        configuration.normBall = method.defaultNormBall
        let start = try initial(method)
        let learned = try Trainer(
            model: loaded.model, tokenizer: loaded.tokenizer, examples: rows, configuration: configuration,
            initial: start, weightsMemory: .float
        ).run().parameters
        let graph = try loaded.model.differentiable(weightsMemory: .float)
        let encoder = ExampleEncoder(
            tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: configuration.template), learnsEnd: true)
        let batch = TrainingBatch(try rows.map { try encoder.encode($0) })
        func loss(_ values: [Float]) throws -> Double {
            try values.withUnsafeBufferPointer {
                try graph.loss(of: batch, prompt: method.view($0.baseAddress!, tokens: tokens), gradient: nil).loss
            }
        }
        // Over all rows, so that no draw of a batch decides. Half of the layers, or a small ball, do not get far here.
        let before = try loss(method.fold(start, tokens: tokens, shape: loaded.model.shape))
        let after = try loss(learned)
        #expect(after < 0.99 * before, "from \(before) to \(after)")
    }

    @Test func cachedActivationsChangeNothingButTheTime() throws {
        let graph = try loaded.model.differentiable(weightsMemory: .float)
        let layer = LatePrefix.firstTrainedLayer(shape: loaded.model.shape)
        try #require(layer > 0)
        let encoder = ExampleEncoder(
            tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: "{input}\nAnswer:"), learnsEnd: true)
        let plain = try SupervisedObjective(rows: Array(rows.prefix(6)), encoder: encoder)
        let prefix = try initial(LatePrefix.self)
        let cached = try CachedActivations.over(plain, graph: graph, prefix: prefix, tokens: tokens, layer: layer)
        #expect(cached.batch([0], step: 0).firstLayer == layer)
        func result(_ objective: any Objective) throws -> (Double, [Float]) {
            var gradient = [Float](repeating: .nan, count: prefix.count)
            let loss = try prefix.withUnsafeBufferPointer {
                try graph.loss(
                    of: objective.batch([4, 1, 5], step: 0), prompt: .keysAndValues($0.baseAddress!, count: tokens),
                    gradient: &gradient
                ).loss
            }
            LatePrefix.freeze(firstTokens: 0, in: &gradient, tokens: tokens, shape: loaded.model.shape)
            return (loss, gradient)
        }
        let (a, da) = try result(plain), (b, db) = try result(cached)
        #expect(abs(a - b) < 1e-5)
        let size = da.map { abs($0) }.max() ?? 0
        #expect(size > 0 && zip(da, db).allSatisfy { abs($0 - $1) < 1e-4 * size })
    }
}
