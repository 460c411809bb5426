import Fixtures
import Foundation
import Generation
import Kernels
import LanguageModels
import Testing

@Suite struct BatcherTests {
    private func load() throws -> any LanguageModel {
        try ModelLoader.load(path: Fixtures.Models.tinyLlamaQ4_1.path, pool: ThreadPool(threadCount: 2)).model
    }

    private func request(_ seed: Int, _ model: any LanguageModel, maximum: Int = 12) throws -> BatchRequest {
        BatchRequest(
            tokens: (0..<5 + seed).map { ($0 * 31 + seed * 7) % model.shape.vocabularySize },
            chooser: try Sampler(SamplerSettings(temperature: 0.9, seed: UInt64(seed))), maximumTokens: maximum)
    }

    private func tokens(_ events: Batcher.Events) async throws -> [Int] {
        var result: [Int] = []
        for try await event in events {
            if case .token(let token) = event { result.append(token) }
        }
        return result
    }

    @Test func manyTasksGetWhatEachGetsAlone() async throws {
        let model = try load()
        let batcher = try Batcher(model: model, limits: BatchLimits(sequences: 5))
        let found = try await withThrowingTaskGroup(of: (Int, [Int]).self) { group in
            for seed in 0..<12 {
                let request = try request(seed, model)
                group.addTask { (seed, try await self.tokens(batcher.submit(request))) }
            }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        for seed in 0..<12 {
            let scheduler = try BatchScheduler(model: model)
            _ = try scheduler.submit(request(seed, model))
            var alone: [Int] = []
            while !scheduler.isIdle {
                for case (_, .token(let token)) in try scheduler.step() { alone.append(token) }
            }
            #expect(found[seed] == alone)
        }
    }

    @Test func whoStopsReadingFreesTheSequence() async throws {
        let model = try load()
        let batcher = try Batcher(model: model, limits: BatchLimits(sequences: 1))
        let endless = try request(1, model, maximum: 1500)
        let task = Task {
            for try await _ in batcher.submit(endless) where Task.isCancelled { return }
        }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        _ = await task.result
        // With room for one sequence only, this one comes to its end because the other has left.
        let next = try await tokens(batcher.submit(request(2, model)))
        #expect(next.count == 12)
    }

    @Test func aBadRequestFailsAloneAndAStreamOutlivesItsBatcher() async throws {
        let model = try load()
        var batcher: Batcher? = try Batcher(model: model)
        var bad = try request(1, model)
        bad.tokens = []
        let events = try #require(batcher?.submit(bad))
        await #expect(throws: ModelError.self) { try await tokens(events) }
        let good = try #require(batcher?.submit(request(1, model)))
        #expect(try await tokens(good).count == 12)
        let long = try #require(batcher?.submit(request(3, model, maximum: 300)))
        batcher = nil
        #expect(try await tokens(long).count == 300)
    }
}
