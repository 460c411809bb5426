import Fixtures
import Foundation
import Kernels
import LanguageModels
import SoftPrompts
import Testing

@testable import PromptTuning

/// One prompt learned on several data sets at once.
@Suite struct MultitaskTests {
    private let rows: [Example]
    private let tokens = 3

    init() throws { rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train] }

    private let factors = TaskFactors(tokens: 3, width: 5, tasks: 3, rank: 2)

    @Test func everyTaskBeginsAsTheTextItIsGiven() {
        let values = (0..<factors.promptCount).map { Float($0) * 0.1 - 0.7 }
        let prompts = factors.prompts(factors.parameters(from: values, seed: 4))
        #expect(prompts == values + values + values)
    }

    @Test func theGradientOfTheFactorsIsTheirSlope() {
        var random = SplitMix64(seed: 3)
        let parameters = (0..<factors.parameterCount).map { _ in Float(random.nextUniform() - 0.5) }
        let direction = (0..<3 * factors.promptCount).map { _ in Float(random.nextUniform() - 0.5) }
        func value(_ parameters: [Float]) -> Double {
            zip(factors.prompts(parameters), direction).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        let gradient = factors.gradient(direction, parameters: parameters)
        for index in parameters.indices {
            let h: Float = 1e-2
            var above = parameters, below = parameters
            above[index] += h
            below[index] -= h
            let slope = (value(above) - value(below)) / Double(above[index] - below[index])
            #expect(abs(slope - Double(gradient[index])) < 1e-4, "parameter \(index)")
        }
    }

    @Test func whatIsStoredFoldsToTheSamePrompts() throws {
        var random = SplitMix64(seed: 5)
        let parameters = (0..<factors.parameterCount).map { _ in Float(random.nextUniform() - 0.5) }
        let stored = try factors.multitaskPrompt(parameters)
        #expect((0..<3).flatMap { stored.values(ofTask: $0) } == factors.prompts(parameters))
        let one = TaskFactors(tokens: 3, width: 5, tasks: 1, rank: 2)
        let start = try one.parameters(from: stored.only(task: 2))
        #expect(one.prompts(start) == stored.values(ofTask: 2))
        #expect(throws: TuningError.self) { try one.parameters(from: stored) }
    }

    private func start(_ loaded: LoadedModel) throws -> [Float] {
        try PromptTuningMethod.initialParameters(
            .text("What kind of thing is it"), tokens: tokens, model: loaded.model, tokenizer: loaded.tokenizer)
    }

    /// Two tasks that contradict each other: the second calls everything by the next label's name.
    private func trainer(
        threads: Int = 1, steps: Int = 60, checkpoint: String? = nil, resumes: Bool = false
    ) throws -> (Trainer, LoadedModel, [ObjectiveMixture.Part]) {
        let loaded = try ModelLoader.load(
            path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: threads))
        let labels = Array(Set(rows.map(\.target))).sorted()
        let turned = rows.map { row in
            Example(
                input: row.input,
                target: labels[((labels.firstIndex(of: row.target) ?? 0) + 1) % labels.count])
        }
        var configuration = TuningConfiguration(
            method: MultitaskPromptTuning.name, tokens: tokens, steps: steps, batchSize: 8, learningRate: 0.03,
            averaging: 0, tokenDropout: 0, evaluateEvery: 20)
        configuration.tasks = 2
        configuration.taskRank = 2
        let encoder = ExampleEncoder(
            tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: configuration.template), learnsEnd: true)
        let parts = try [rows, turned].map {
            ObjectiveMixture.Part(try SupervisedObjective(rows: $0, encoder: encoder))
        }
        let values = try start(loaded)
        let factors = TaskFactors(tokens: tokens, width: loaded.model.shape.hiddenSize, tasks: 2, rank: 2)
        let trainer = try Trainer(
            model: loaded.model, graph: try loaded.model.differentiable(weightsMemory: .float),
            objectives: ObjectiveMixture(parts, seed: 0), configuration: configuration,
            initial: factors.parameters(from: values, seed: 0), checkpointPath: checkpoint, resumes: resumes)
        return (trainer, loaded, parts)
    }

    @Test func eachTaskLearnsWhatContradictsTheOther() throws {
        let (trainer, loaded, parts) = try trainer()
        let graph = try loaded.model.differentiable(weightsMemory: .float)
        func losses(_ values: [Float]) throws -> [[Double]] {
            let size = values.count / 2
            return try parts.map { part in
                try (0..<2).map { task in
                    try values[task * size..<(task + 1) * size].withUnsafeBufferPointer {
                        try graph.loss(
                            of: part.objective.batch(Array(0..<rows.count), step: 0),
                            prompt: .embeddings($0.baseAddress!, count: tokens), gradient: nil
                        ).loss
                    }
                }
            }
        }
        let outcome = try trainer.run()
        let learned = try losses(outcome.parameters)
        // On either data set the prompt of its own task does better than the other's.
        #expect(learned[0][0] < learned[0][1] - 0.05 && learned[1][1] < learned[1][0] - 0.05, "\(learned)")
        let before = try trainer.startingLoss(of: start(loaded))
        #expect(outcome.losses.suffix(5).reduce(0, +) / 5 < Float(before))
    }

    @Test func threadsAndInterruptionsDoNotChangeABit() throws {
        let whole = try trainer(steps: 8).0.run()
        #expect(
            try trainer(threads: 2, steps: 8).0.run().parameters.map(\.bitPattern) == whole.parameters.map(\.bitPattern)
        )
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString).safetensors")
            .path
        defer { try? FileManager.default.removeItem(atPath: path) }
        var asked = 0
        let stopped = try trainer(steps: 8, checkpoint: path).0.run(shouldStop: {
            asked += 1
            return asked > 3
        })
        #expect(stopped.ending == .interrupted)
        let resumed = try trainer(steps: 8, checkpoint: path, resumes: true).0.run()
        #expect(resumed.parameters.map(\.bitPattern) == whole.parameters.map(\.bitPattern))
    }

    @Test func tasksThatAreNotThereAreRefused() throws {
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        for method in [MultitaskPromptTuning.name, PrefixTuning.name] {
            var configuration = TuningConfiguration(method: method, tokens: tokens)
            configuration.tasks = 2
            #expect(throws: TuningError.self) {
                try Trainer(
                    model: loaded.model, tokenizer: loaded.tokenizer, examples: rows, configuration: configuration,
                    initial: [])
            }
        }
    }
}
