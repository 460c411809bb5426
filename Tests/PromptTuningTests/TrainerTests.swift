import Fixtures
import Foundation
import Kernels
import LanguageModels
import PromptTuning
import Testing

@Suite struct TrainerTests {
    private let rows: [Example]
    private let configuration = TuningConfiguration(tokens: 4, steps: 12, batchSize: 4, evaluateEvery: 4, patience: 0)

    init() throws {
        rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train]
    }

    private func trainer(
        _ configuration: TuningConfiguration, threads: Int = 1, identity: [String: String] = [:],
        checkpoint: String? = nil, resumes: Bool = false
    ) throws -> Trainer {
        let loaded = try ModelLoader.load(
            path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: threads))
        let initial = try PrefixTuning.initialParameters(
            .text("What kind of thing"), tokens: configuration.tokens, model: loaded.model,
            tokenizer: loaded.tokenizer)
        return try Trainer(
            model: loaded.model, tokenizer: loaded.tokenizer, examples: rows, configuration: configuration,
            initial: initial, weightsMemory: .float, identity: identity, checkpointPath: checkpoint,
            resumes: resumes)
    }

    private func withCheckpoint(_ body: (String) throws -> Void) throws {
        let path = FileManager.default.temporaryDirectory
            .appending(path: "incipit-\(UUID().uuidString).safetensors").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    @Test func theLossFalls() throws {
        var configuration = configuration
        configuration.steps = 60
        configuration.batchSize = 8
        configuration.learningRate = 0.02
        let losses = try trainer(configuration).run().losses
        let first = losses.prefix(5).reduce(0, +) / 5
        let last = losses.suffix(5).reduce(0, +) / 5
        #expect(last < first / 2, "from \(first) to \(last)")
    }

    @Test func threadsDoNotChangeABit() throws {
        let one = try trainer(configuration, threads: 1).run().parameters
        let two = try trainer(configuration, threads: 2).run().parameters
        #expect(one.map(\.bitPattern) == two.map(\.bitPattern))
    }

    @Test func aResumedRunEqualsAnUninterruptedOne() throws {
        let whole = try trainer(configuration).run()
        try withCheckpoint { path in
            var asked = 0
            let stopped = try trainer(configuration, checkpoint: path).run(shouldStop: {
                asked += 1
                return asked > 5
            })
            #expect(stopped.ending == .interrupted)
            #expect(stopped.steps == 5)
            let second = try trainer(configuration, checkpoint: path, resumes: true)
            #expect(second.resumedStep == 5)
            let resumed = try second.run()
            #expect(resumed.parameters.map(\.bitPattern) == whole.parameters.map(\.bitPattern))
            #expect(resumed.losses == whole.losses)
        }
    }

    @Test func anotherRunsCheckpointIsRefusedNamingTheDifference() throws {
        try withCheckpoint { path in
            _ = try trainer(configuration, identity: ["data": "a"], checkpoint: path).run(shouldStop: { true })
            var other = configuration
            other.seed = 9
            for (changed, data, word) in [(configuration, "b", "data"), (other, "a", "configuration")] {
                #expect {
                    try trainer(changed, identity: ["data": data], checkpoint: path, resumes: true)
                } throws: { error in
                    guard let error = error as? TuningError else { return false }
                    return error.code == .invalidCheckpoint && error.message.contains(word)
                }
            }
        }
    }

    @Test func aDamagedCheckpointIsAnErrorNotATrap() throws {
        try withCheckpoint { path in
            _ = try trainer(configuration, checkpoint: path).run(shouldStop: { true })
            let bytes = try Data(contentsOf: URL(filePath: path))
            for length in [0, 7, 64, bytes.count / 2, bytes.count - 1] {
                try bytes.prefix(length).write(to: URL(filePath: path))
                #expect(throws: (any Error).self) {
                    try trainer(configuration, checkpoint: path, resumes: true)
                }
            }
        }
    }

    @Test func theBestEvaluationWinsAndPatienceEndsTheRun() throws {
        var configuration = configuration
        configuration.patience = 1
        var seen: [[Float]] = []
        let scores = [3.0, 1, 2]
        let outcome = try trainer(configuration).run(evaluate: { parameters in
            seen.append(parameters)
            return DevScore(loss: scores[min(seen.count, scores.count) - 1], accuracy: nil)
        })
        #expect(outcome.ending == .stoppedEarly)
        #expect(outcome.steps == 8)
        #expect(outcome.best?.step == 4)
        #expect(outcome.parameters == seen[1])
    }
}
