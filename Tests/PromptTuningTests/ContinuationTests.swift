import Fixtures
import Foundation
import Kernels
import LanguageModels
import Testing

@testable import PromptTuning

@Suite struct ContinuationTests {
    private func rows(_ range: Range<Int>) -> [Example] {
        range.map { Example(input: "row \($0)", target: "t") }
    }

    @Test func aReservoirKeepsEveryRowAlikeLikely() {
        var kept = [Int](repeating: 0, count: 60)
        for seed in 0..<400 {
            var reservoir = Reservoir(capacity: 12)
            reservoir.add(rows(0..<25), seed: UInt64(seed))
            reservoir.add(rows(25..<60), seed: UInt64(seed) &+ 1000)
            #expect(reservoir.rows.count == 12 && reservoir.seen == 60)
            for row in reservoir.rows { kept[Int(row.input.dropFirst(4))!] += 1 }
        }
        // Binomial(400, 1/5): mean 80, standard deviation 8; five of them either way.
        #expect(kept.allSatisfy { (40...120).contains($0) }, "\(kept)")
    }

    @Test func aStateReadBackIsTheStateWritten() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var replay = Reservoir(capacity: ContinuationState.replayCapacity)
        replay.add(rows(0..<5) + [Example(input: "a \"quote\"\nand line", target: "ü")], seed: 1)
        let state = ContinuationState(
            parameters: [1, 2, 3],
            optimizer: OptimizerState(optimizer: "adamw", step: 7, moments: [[0, 1, 2], [3, 4, 5]]),
            configuration: TuningConfiguration(tokens: 9, learningRate: 0.125), steps: 70, replay: replay,
            canary: Reservoir(capacity: ContinuationState.canaryCapacity))
        try state.write(to: folder)
        let read = try ContinuationState(folder: folder)
        #expect(read.parameters == state.parameters && read.optimizer == state.optimizer && read.steps == 70)
        #expect(read.configuration == state.configuration && read.replay == replay && read.canary.rows.isEmpty)
        let path = folder + "/state.safetensors"
        let bytes = try Data(contentsOf: URL(filePath: path))
        for length in [0, 20, bytes.count - 4] {
            try bytes.prefix(length).write(to: URL(filePath: path))
            #expect(throws: (any Error).self) { try ContinuationState(folder: folder) }
        }
    }

    @Test func settingsOfAnEarlierVersionHaveDefaultsForTheRest() throws {
        let read = try TuningConfiguration(json: Data("{\"tokens\": 5, \"unknown\": 1}".utf8))
        #expect(read == TuningConfiguration(tokens: 5))
        #expect(throws: (any Error).self) { try TuningConfiguration(json: Data("{\"tokens\": 0}".utf8)) }
        #expect(throws: (any Error).self) { try TuningConfiguration(json: Data("[]".utf8)) }
    }

    /// Tunes on animals and plants, continues on the rest, and looks at the loss on animals and plants.
    @Test func replayAndAnchorPreventTheDropThatHappensWithoutThem() throws {
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 2))
        let graph = try loaded.model.differentiable(weightsMemory: .float)
        let all = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train]
        let kinds = Set(all.map(\.target)).sorted()
        let oldKinds = Set(kinds.prefix(kinds.count / 2))
        let old = all.filter { oldKinds.contains($0.target) }
        let new = all.filter { !oldKinds.contains($0.target) }
        try #require(!old.isEmpty && !new.isEmpty)
        var first = TuningConfiguration(tokens: 4, steps: 300, batchSize: 8, learningRate: 0.02, evaluateEvery: 300)
        first.averaging = 0.9
        let initial = try PrefixTuning.initialParameters(
            .text("What kind of thing"), tokens: 4, model: loaded.model, tokenizer: loaded.tokenizer)
        let parent = try Trainer(
            model: loaded.model, tokenizer: loaded.tokenizer, examples: old, configuration: first, initial: initial,
            weightsMemory: .float)
        let parentTokens = try parent.run().parameters
        let encoder = ExampleEncoder(
            tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: first.template), learnsEnd: true)
        func loss(_ values: [Float], _ rows: [Example]) throws -> Double {
            let batch = TrainingBatch(try rows.map { try encoder.encode($0) })
            return try values.withUnsafeBufferPointer {
                try graph.loss(of: batch, prompt: .keysAndValues($0.baseAddress!, count: 4), gradient: nil).loss
            }
        }
        var second = PromptContinuation.configuration(from: first, steps: 120, learningRate: 0.02)
        second.evaluateEvery = 120
        func child(replay: Double, anchor: Double) throws -> [Float] {
            let objectives = try PromptContinuation(replay: replay, anchorWeight: anchor).objectives(
                new: new, old: old, parent: .prefix(parentTokens, count: 4), model: loaded.model,
                tokenizer: loaded.tokenizer, configuration: second)
            return try Trainer(
                model: loaded.model, graph: graph, objectives: objectives, configuration: second, initial: parentTokens
            ).run().parameters
        }
        let before = try loss(parentTokens, old)
        let careless = try child(replay: 0, anchor: 0)
        let careful = try child(replay: 0.4, anchor: 0.5)
        let drop = try loss(careless, old) - before
        let kept = try loss(careful, old) - before
        #expect(drop > 0.1, "without replay and anchor the old is forgotten: \(drop)")
        #expect(kept < 0.5 * drop, "with them it is not: \(kept) of \(drop)")
        #expect(try loss(careful, new) < loss(parentTokens, new) / 2, "and the new is learned")
    }

    @Test func keptTokensStayAsTheyAre() throws {
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        let rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train]
        let old = try PrefixTuning.initialParameters(
            .text("What kind of thing"), tokens: 3, model: loaded.model, tokenizer: loaded.tokenizer)
        let initial = try AppendedTokens.initial(
            old, count: 3, adding: 2, placement: .keysAndValues, seed: 1, model: loaded.model,
            tokenizer: loaded.tokenizer)
        var configuration = TuningConfiguration(
            tokens: 5, steps: 5, batchSize: 4, weightDecay: 0.1, averaging: 0, evaluateEvery: 5)
        configuration.keptTokens = 3
        let result = try Trainer(
            model: loaded.model, tokenizer: loaded.tokenizer, examples: rows, configuration: configuration,
            initial: initial, weightsMemory: .float
        ).run().parameters
        let d = loaded.model.shape.headDimension
        for plane in 0..<result.count / (5 * d) {
            let start = plane * 5 * d
            #expect(result[start..<start + 3 * d] == initial[start..<start + 3 * d])
            #expect(Array(initial[start..<start + 3 * d]) == Array(old[plane * 3 * d..<(plane + 1) * 3 * d]))
            #expect(result[start + 3 * d..<start + 5 * d] != initial[start + 3 * d..<start + 5 * d])
        }
    }

    @Test func newLabelsAreLearnedAsLongAsTheOldOnesWere() {
        let parent = TuningConfiguration(steps: 300, learningRate: 0.005)
        let refined = PromptContinuation.configuration(from: parent)
        #expect(refined.steps == 90 && abs(refined.learningRate - 0.0015) < 1e-12)
        let widened = PromptContinuation.configuration(from: parent, learnsNewLabels: true)
        #expect(widened.steps == 300 && widened.learningRate == 0.005)
        #expect(PromptContinuation.configuration(from: parent, learnsNewLabels: true, steps: 7).steps == 7)
        #expect(PromptContinuation.replay(oldLabels: 4, newLabels: 4) == 0.5)
        #expect(PromptContinuation.replay(oldLabels: 1, newLabels: 9) == 0.3)
        #expect(PromptContinuation.replay(oldLabels: 5, newLabels: 0) == 0.3)
    }

    @Test func sharesOutOfRangeAndNothingToReplayAreRefused() throws {
        #expect(throws: TuningError.self) { try PromptContinuation(replay: 1) }
        #expect(throws: TuningError.self) { try PromptContinuation(anchorWeight: -1) }
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        #expect(throws: TuningError.self) {
            try PromptContinuation().objectives(
                new: rows(0..<2), old: [], parent: .nothing, model: loaded.model, tokenizer: loaded.tokenizer,
                configuration: TuningConfiguration())
        }
    }
}
