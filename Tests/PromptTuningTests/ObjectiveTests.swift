import Fixtures
import Foundation
import Kernels
import LanguageModels
import Testing
import Tokenization

@testable import PromptTuning

@Suite struct ObjectiveTests {
    private let loaded: LoadedModel
    private let graph: any DifferentiableModel
    private let rows: [Example]

    init() throws {
        loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        graph = try loaded.model.differentiable(weightsMemory: .float)
        rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train]
    }

    private func encoder() throws -> ExampleEncoder {
        ExampleEncoder(
            tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: "{input}\nAnswer:"), learnsEnd: false)
    }

    private func prefix(_ count: Int = 3) throws -> [Float] {
        try PrefixTuning.initialParameters(
            .text("What kind of thing is it"), tokens: count, model: loaded.model, tokenizer: loaded.tokenizer)
    }

    /// The loss's change along a random direction against the gradient's projection on it.
    private func check(_ batch: TrainingBatch, tolerance: Double = 0.02) throws {
        let start = try prefix()
        func loss(_ values: [Float], _ gradient: UnsafeMutablePointer<Float>? = nil) throws -> Double {
            try values.withUnsafeBufferPointer {
                try graph.loss(of: batch, prompt: .keysAndValues($0.baseAddress!, count: 3), gradient: gradient).loss
            }
        }
        var gradient = [Float](repeating: .nan, count: start.count)
        _ = try gradient.withUnsafeMutableBufferPointer { try loss(start, $0.baseAddress!) }
        let norm = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(norm > 0)
        // Along the gradient itself the slope is its norm.
        let h = 1e-2
        func moved(_ by: Double) -> [Float] { zip(start, gradient).map { $0 + Float(by * Double($1) / norm) } }
        let slope = (try loss(moved(h)) - loss(moved(-h))) / (2 * h)
        #expect(abs(slope - norm) < tolerance * norm, "slope \(slope), norm \(norm)")
    }

    @Test func theGradientOfARestrictedChoiceIsItsSlope() throws {
        let example = try encoder().encode(rows[0])
        try check(
            TrainingBatch([
                .init(
                    tokens: example.tokens,
                    targets: [
                        .init(position: example.targetStart, target: .choice(1, among: [5, 9, 70]))
                    ])
            ]))
    }

    @Test func theGradientOfADivergenceIsItsSlope() throws {
        let example = try encoder().encode(rows[0])
        try check(
            TrainingBatch([
                .init(
                    tokens: example.tokens,
                    targets: [
                        .init(
                            position: 1, target: .distribution(.init(tokens: [3, 40], probabilities: [0.5, 0.2])),
                            weight: 0.3),
                        .init(position: 3, target: .distribution(.init(tokens: [7], probabilities: [0.9]))),
                    ])
            ]))
    }

    @Test func aChoiceIsCrossEntropyAmongItsTokens() throws {
        let example = try encoder().encode(rows[0])
        let all = Array(0..<loaded.model.shape.vocabularySize)
        func loss(_ target: TrainingBatch.Target) throws -> Double {
            try graph.loss(
                of: TrainingBatch([.init(tokens: example.tokens, targets: [.init(position: 2, target: target)])]),
                prompt: .none, gradient: nil
            ).loss
        }
        #expect(abs(try loss(.choice(17, among: all)) - loss(.token(17))) < 1e-4)
        let two = try exp(-loss(.choice(0, among: [17, 30]))) + exp(-loss(.choice(1, among: [17, 30])))
        #expect(abs(two - 1) < 1e-5)
    }

    @Test func aPromptThatIsTheTeacherHasNoDivergenceFromIt() throws {
        // The teacher reads the text as text; the student has its keys and values: the same thing.
        let text = loaded.tokenizer.encode("What kind of thing", parseSpecial: false, addSpecial: false)
        let teacher = try Teacher(
            model: loaded.model, tokenizer: loaded.tokenizer, context: .text(text), keptTokens: 20)
        var draw = SplitMix64(seed: 1)
        let lead = loaded.tokenizer.addsBeginning ? 1 : 0
        let cache = loaded.model.makeCache(element: .f32)
        let whole = loaded.tokenizer.encode("What kind of thing", parseSpecial: false, addSpecial: true)
        _ = try loaded.model.forward(.tokens(whole), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
        let same = cache.prefix(tokens: whole.count)
        try #require(lead == 0, "the tiny model's sequences have no token of their own at the start")
        let sequence = try #require(
            try teacher.record(
                loaded.tokenizer.encode(" is a cat", parseSpecial: false, addSpecial: false), inputWeight: 0.5,
                continuation: .init(tokens: 6, temperature: 1), draw: &draw))
        #expect(sequence.distributions.count == sequence.tokens.count - sequence.start)
        let fidelity = try same.withUnsafeBufferPointer {
            try DistillationObjective.fidelity(
                [sequence], graph: graph, prompt: .keysAndValues($0.baseAddress!, count: whole.count))
        }
        // The teacher runs on integer products, the student on floats: near, not equal.
        #expect(fidelity.divergence < 0.02)
        let bare = try DistillationObjective.fidelity([sequence], graph: graph, prompt: .none)
        #expect(bare.divergence > 2 * fidelity.divergence)
    }

    @Test func preferencesStartAtLnTwoAndFall() throws {
        let pairs = rows.prefix(8).map { PreferencePair(input: $0.input, chosen: $0.target, rejected: "nothing") }
        let objective = try PreferenceObjective(pairs: Array(pairs), encoder: encoder(), graph: graph, beta: 0.5)
        let batch = objective.batch(Array(0..<8), step: 0)
        let bare = try graph.loss(of: batch, prompt: .none, gradient: nil).loss
        #expect(abs(bare - log(2)) < 1e-5, "without a prompt nothing is preferred: \(bare)")
        try check(batch)
        let configuration = TuningConfiguration(
            tokens: 3, steps: 30, batchSize: 8, learningRate: 0.02, averaging: 0, evaluateEvery: 30)
        let trainer = try Trainer(
            model: loaded.model, graph: graph, objectives: ObjectiveMixture([.init(objective)], seed: 0),
            configuration: configuration, initial: prefix())
        let losses = try trainer.run().losses
        #expect(losses.last ?? 9 < losses[0] / 2, "\(losses)")
    }

    @Test func mixturesKeepTheirSharesAndResumeAnywhere() throws {
        let a = try SupervisedObjective(rows: Array(rows.prefix(5)), encoder: encoder())
        let b = try LanguageModelingObjective(
            texts: ["The cat is an animal and the oak is a plant and the rest is not"], tokenizer: loaded.tokenizer,
            stretchLength: 6)
        var mixture = try ObjectiveMixture([.init(a, weight: 0.7), .init(b, weight: 0.3)], seed: 3)
        var lengths: [Int] = []
        for step in 0..<10 {
            let batch = mixture.batch(step: step, size: 10)
            // Stretches of text have targets everywhere, rows only at their end.
            let stretches = batch.examples.count { $0.targetStart == 1 }
            #expect(abs(stretches - 3) <= 1)
            lengths.append(stretches)
        }
        #expect(lengths.reduce(0, +) == 30)
        var fresh = try ObjectiveMixture([.init(a, weight: 0.7), .init(b, weight: 0.3)], seed: 3)
        #expect(
            fresh.batch(step: 7, size: 10).examples.map(\.tokens)
                == mixture.batch(step: 7, size: 10).examples.map(\.tokens))
    }

    @Test func aMixturesLossIsTheSharesSum() throws {
        let encoder = try encoder()
        let one = TrainingBatch([try encoder.encode(rows[0])])
        let two = TrainingBatch([try encoder.encode(rows[1]), try encoder.encode(rows[2])])
        func loss(_ batch: TrainingBatch) throws -> Double {
            try graph.loss(of: batch, prompt: .none, gradient: nil).loss
        }
        let both = ObjectiveMixture.combine([one, two], shares: [0.25, 2])
        #expect(abs(try loss(both) - (0.25 * loss(one) + 2 * loss(two))) < 1e-5)
        try check(both)
    }

    @Test func anEmptyPartOrAWeightOfZeroIsRefused() throws {
        let a = SupervisedObjective([])
        #expect(throws: TuningError.self) { try ObjectiveMixture([.init(a)], seed: 0) }
        let b = try SupervisedObjective(rows: Array(rows.prefix(2)), encoder: encoder())
        #expect(throws: TuningError.self) { try ObjectiveMixture([.init(b, weight: 0)], seed: 0) }
        #expect(throws: TuningError.self) { try ObjectiveMixture([], seed: 0) }
    }

    @Test func accumulatedBatchesEqualOneLargeBatch() throws {
        var large = TuningConfiguration(
            tokens: 3, steps: 4, batchSize: 8, averaging: 0, tokenDropout: 0, evaluateEvery: 4)
        large.clipNorm = 0
        large.optimizer = "sgd"
        var small = large
        small.batchSize = 2
        small.accumulation = 4
        func run(_ configuration: TuningConfiguration) throws -> [Float] {
            try Trainer(
                model: loaded.model, tokenizer: loaded.tokenizer, examples: rows, configuration: configuration,
                initial: prefix(), weightsMemory: .float
            ).run().parameters
        }
        let a = try run(large), b = try run(small)
        let start = try prefix()
        let moved = zip(a, start).map { abs($0 - $1) }.max() ?? 0
        let apart = zip(a, b).map { abs($0 - $1) }.max() ?? 1
        #expect(moved > 0 && apart < 1e-3 * moved, "moved \(moved), apart \(apart)")
    }

    @Test func theNormBallHoldsEveryVector() {
        var values: [Float] = [3, 4, 30, 40, 0, 9]
        NormBall.project(&values, around: [3, 4, 3, 4, 0, 0], radius: 0.5, width: 2)
        #expect(values[0] == 3 && values[1] == 4)
        #expect(abs(values[2] - 4.5) < 1e-5 && abs(values[3] - 6) < 1e-5)
        #expect(abs(values[5] - 0.5 * 10 / 3) < 1e-5, "a zero vector takes the mean length")
    }
}
