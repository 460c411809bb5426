import Fixtures
import Foundation
import Kernels
import LanguageModels
import Testing

@testable import PromptTuning

/// Processes as threads that meet at a barrier: what MPI does, without MPI.
private final class Meeting: @unchecked Sendable {
    // All state is guarded by the condition's lock.
    private let condition = NSCondition()
    private let size: Int
    private var brought: [[UInt8]?]
    private var result: [[UInt8]] = []
    private var round = 0

    init(size: Int) {
        self.size = size
        brought = Array(repeating: nil, count: size)
    }

    func gather(_ bytes: [UInt8], rank: Int) -> [[UInt8]] {
        condition.lock()
        defer { condition.unlock() }
        let mine = round
        brought[rank] = bytes
        if brought.allSatisfy({ $0 != nil }) {
            result = brought.compactMap { $0 }
            brought = Array(repeating: nil, count: size)
            round += 1
            condition.broadcast()
        } else {
            while round == mine { condition.wait() }
        }
        return result
    }
}

private final class ThreadExchange: GradientExchange {
    let rank: Int
    let size: Int
    private let meeting: Meeting

    init(rank: Int, size: Int, meeting: Meeting) {
        (self.rank, self.size, self.meeting) = (rank, size, meeting)
    }

    func gather(_ bytes: [UInt8]) throws -> [[UInt8]] { meeting.gather(bytes, rank: rank) }
    func broadcast(_ bytes: [UInt8]) throws -> [UInt8] { meeting.gather(bytes, rank: rank)[0] }
}

@Suite struct GradientExchangeTests {
    private let rows: [Example]

    init() throws { rows = try Dataset(path: Fixtures.Data.tinyKinds.path)[.train] }

    private func configuration(_ method: String, accumulation: Int, batch: Int = 2) -> TuningConfiguration {
        var result = TuningConfiguration(
            method: method, tokens: 3, steps: 9, batchSize: batch, learningRate: 0.02, tokenDropout: 0.1,
            evaluateEvery: 3, patience: 2)
        result.accumulation = accumulation
        if method == MultitaskPromptTuning.name { result.tasks = 2 }
        return result
    }

    private func trainer(
        _ configuration: TuningConfiguration, exchange: (any GradientExchange)? = nil, rows: [Example]? = nil,
        checkpoint: String? = nil, resumes: Bool = false
    ) throws -> Trainer {
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        let method = try MethodCatalog.method(named: configuration.method)
        let encoder = ExampleEncoder(
            tokenizer: loaded.tokenizer, template: try ExampleTemplate(prompt: configuration.template), learnsEnd: true)
        let objective = try SupervisedObjective(
            rows: rows ?? self.rows, encoder: encoder, tokenDropout: configuration.tokenDropout)
        let values = try PromptInitialization.text("What kind of thing").virtualTokens(
            count: 3, placement: method.placement, model: loaded.model, tokenizer: loaded.tokenizer)
        let shape = loaded.model.shape
        let initial =
            method.taskFactors(tokens: 3, tasks: configuration.tasks, rank: 1, shape: shape)?
            .parameters(from: values, seed: 0)
            ?? method.parameters(fromVirtualTokens: values, tokens: 3, shape: shape, seed: 0)
        return try Trainer(
            model: loaded.model, graph: try loaded.model.differentiable(weightsMemory: .float),
            objectives: ObjectiveMixture(
                Array(repeating: .init(objective), count: configuration.tasks), seed: configuration.seed),
            configuration: configuration, initial: initial,
            identity: ["data": "\((rows ?? self.rows).count)"], checkpointPath: checkpoint, resumes: resumes,
            exchange: exchange)
    }

    /// Whoever evaluates scores by the sum of the parameters: the runs' evaluations must agree too.
    private static func score(_ values: [Float]) -> DevScore {
        DevScore(loss: Double(values.reduce(0) { $0 + abs($1) }), accuracy: nil)
    }

    /// Runs `body` once for each rank, at the same time.
    private func together<T: Sendable>(
        _ size: Int, _ body: @escaping @Sendable (ThreadExchange) throws -> T
    ) -> [Result<T, any Error>] {
        let meeting = Meeting(size: size)
        let results = Locked<[Int: Result<T, any Error>]>([:])
        let group = DispatchGroup()
        for rank in 0..<size {
            group.enter()
            let thread = Thread {
                let exchange = ThreadExchange(rank: rank, size: size, meeting: meeting)
                let result = Result { try body(exchange) }
                results.update { $0[rank] = result }
                group.leave()
            }
            thread.stackSize = 8 << 20
            thread.start()
        }
        group.wait()
        return results.value.sorted { $0.key < $1.key }.map(\.value)
    }

    @Test(
        arguments: [2, 3, 4],
        [PrefixTuning.name, PTuning.name, MultitaskPromptTuning.name])
    func severalProcessesGiveTheBytesOfOne(size: Int, method: String) throws {
        // Three batches a step do not divide by two processes: one has nothing to do in the last round.
        let configuration = configuration(method, accumulation: size == 2 ? 3 : size)
        let alone = try trainer(configuration).run(evaluate: Self.score)
        let results = together(size) { exchange in
            let outcome = try trainer(configuration, exchange: exchange).run(
                evaluate: exchange.rank == 0
                    ? Self.score
                    : { _ in
                        Issue.record("only process 0 evaluates")
                        return DevScore(loss: 0, accuracy: nil)
                    })
            return (outcome.parameters, outcome.losses, outcome.evaluations)
        }
        #expect(results.count == size)
        for result in results {
            let (parameters, losses, evaluations) = try result.get()
            #expect(parameters.map(\.bitPattern) == alone.parameters.map(\.bitPattern))
            #expect(losses == alone.losses && evaluations == alone.evaluations)
        }
    }

    @Test func fourBatchesAStepAreOneOfFourTimesTheSize() throws {
        // Rounding differs with the batch, nothing else: without dropout, which is drawn by place.
        var four = configuration(PrefixTuning.name, accumulation: 4)
        var one = configuration(PrefixTuning.name, accumulation: 1, batch: 8)
        four.tokenDropout = 0
        one.tokenDropout = 0
        let a = try trainer(four).run(), b = try trainer(one).run()
        for (x, y) in zip(a.losses, b.losses) { #expect(abs(x - y) < 1e-3, "\(x) and \(y)") }
    }

    @Test func aRunGoesOnWithAnotherNumberOfProcesses() throws {
        let configuration = configuration(PrefixTuning.name, accumulation: 4)
        let whole = try trainer(configuration).run()
        let path = FileManager.default.temporaryDirectory.appending(path: "incipit-\(UUID().uuidString).safetensors")
            .path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let first = together(4) { exchange in
            var asked = 0
            // Only one is asked to stop: all must.
            return try trainer(configuration, exchange: exchange, checkpoint: path).run(shouldStop: {
                asked += 1
                return exchange.rank == 2 && asked > 4
            }).steps
        }
        #expect(try first.map { try $0.get() } == [4, 4, 4, 4])
        let rest = together(2) { exchange in
            // Process 1 has no file: process 0 sends it.
            try trainer(
                configuration, exchange: exchange, checkpoint: exchange.rank == 0 ? path : "/nowhere", resumes: true
            ).run().parameters
        }
        for result in rest { #expect(try result.get().map(\.bitPattern) == whole.parameters.map(\.bitPattern)) }
    }

    @Test func processesOfDifferentRunsAreRefused() {
        let rows = rows
        let configuration = configuration(PrefixTuning.name, accumulation: 2)
        let results = together(2) { exchange in
            _ = try trainer(configuration, exchange: exchange, rows: exchange.rank == 0 ? rows : Array(rows.dropLast()))
        }
        for result in results {
            #expect {
                try result.get()
            } throws: { ("\($0)").contains("process 1") }
        }
    }
}

/// A value behind a lock.
private final class Locked<Value>: @unchecked Sendable {
    // The value is only touched under the lock.
    private let lock = NSLock()
    private var stored: Value

    init(_ value: Value) { stored = value }

    var value: Value { lock.withLock { stored } }
    func update(_ change: (inout Value) -> Void) { lock.withLock { change(&stored) } }
}
