import Fixtures
import Foundation
import GGUF
import Generation
import Kernels
import LanguageModels
import SoftPrompts
import Testing

/// Sequences in a batch must get what they get alone.
@Suite struct BatchSchedulerTests {
    /// A request in plain values, from which a batch and a session make their own.
    private struct Text: Sendable {
        let tokens: [Int]
        let prompt: Int?
        let settings: SamplerSettings
        let maximum: Int
    }

    private func load(_ url: URL = Fixtures.Models.tinyLlamaQ4_1, threads: Int = 2) throws -> any LanguageModel {
        try ModelLoader.load(path: url.path, pool: ThreadPool(threadCount: threads)).model
    }

    /// Deterministic numbers without a pattern that sequences would share.
    private func ids(_ count: Int, _ seed: Int, _ model: any LanguageModel) -> [Int] {
        (0..<count).map { (($0 + seed * 131) * 7919 + seed * seed * 13) % model.shape.vocabularySize }
    }

    /// Prefixes, a prompt at the input and one beside the context, of other lengths.
    private func attachments(_ model: any LanguageModel) -> [PromptAttachment] {
        let shape = model.shape
        func noise(_ count: Int, _ scale: Float) -> [Float] {
            (0..<count).map { scale * sin(Float($0) * 1.7 + 0.3) }
        }
        return [
            PromptAttachment(
                virtualTokenCount: 5, entry: .cache(noise(5 * shape.keyValueElementsPerToken, 0.5))),
            PromptAttachment(virtualTokenCount: 9, entry: .input(noise(9 * shape.hiddenSize, 0.1))),
            PromptAttachment(
                virtualTokenCount: 3, entry: .cache(noise(3 * shape.keyValueElementsPerToken, 1))),
            PromptAttachment(
                virtualTokenCount: 4, entry: .gated(noise(4 * shape.layerCount * (shape.hiddenSize + 1), 1))),
        ]
    }

    private func texts(_ model: any LanguageModel) -> [Text] {
        [
            Text(tokens: ids(1, 1, model), prompt: nil, settings: .greedy, maximum: 9),
            Text(tokens: ids(40, 2, model), prompt: 0, settings: .greedy, maximum: 12),
            Text(
                tokens: ids(7, 3, model), prompt: 1, settings: SamplerSettings(temperature: 1.3, topK: 0, seed: 5),
                maximum: 20),
            Text(
                tokens: ids(29, 4, model), prompt: 0, settings: SamplerSettings(temperature: 0.9, seed: 6), maximum: 3),
            Text(
                tokens: ids(90, 5, model), prompt: 2,
                settings: SamplerSettings(temperature: 1, topP: 0.8, repetitionPenalty: 1.2, seed: 7), maximum: 16),
            Text(tokens: ids(13, 6, model), prompt: nil, settings: .greedy, maximum: 1),
            Text(tokens: ids(70, 7, model), prompt: 3, settings: .greedy, maximum: 11),
            Text(
                tokens: ids(5, 8, model), prompt: 3, settings: SamplerSettings(temperature: 1.1, seed: 9), maximum: 8),
        ]
    }

    private func alone(_ text: Text, _ model: any LanguageModel, _ prompts: [ResidentPrompt]) throws -> [Int] {
        let session = try Session(model: model, prompt: text.prompt.map { prompts[$0] })
        var sampler = try Sampler(text.settings)
        sampler.observe(text.tokens[...])
        var result: [Int] = []
        var logits = try session.append(text.tokens)
        while true {
            result.append(sampler.next(logits: logits))
            if result.count == text.maximum { return result }
            logits = try session.append([result[result.count - 1]])
        }
    }

    private func request(_ text: Text, _ prompts: [ResidentPrompt]) throws -> BatchRequest {
        BatchRequest(
            tokens: text.tokens, prompt: text.prompt.map { prompts[$0] }, chooser: try Sampler(text.settings),
            maximumTokens: text.maximum)
    }

    @Test(arguments: [1, 2], [BatchLimits(), BatchLimits(sequences: 4, rows: 11, readingRows: 6)])
    func sequencesGetInABatchWhatTheyGetAlone(threads: Int, limits: BatchLimits) throws {
        let model = try load(threads: threads)
        let prompts = try attachments(model).map { try ResidentPrompt($0, model: model) }
        let texts = texts(model)
        let scheduler = try BatchScheduler(model: model, limits: limits)
        var found: [BatchScheduler.ID: [Int]] = [:]
        var endings: [BatchScheduler.ID: GenerationResult.Ending] = [:]
        var ids: [BatchScheduler.ID] = []
        var steps = 0
        // Joins and leaves mid-way: one more request after every second step.
        while !scheduler.isIdle || ids.count < texts.count {
            if ids.count < texts.count, steps % 2 == 0 {
                ids.append(try scheduler.submit(request(texts[ids.count], prompts)))
            }
            for (id, event) in try scheduler.step() {
                switch event {
                case .token(let token): found[id, default: []].append(token)
                case .finished(let ending): endings[id] = ending
                }
            }
            #expect(scheduler.runningCount <= limits.sequences)
            steps += 1
            try #require(steps < 1000)
        }
        for (id, text) in zip(ids, texts) {
            #expect(try found[id] == alone(text, model, prompts))
            #expect(endings[id] == .length)
        }
        #expect(scheduler.cacheBytes == 0)
    }

    @Test func anEndTokenEndsOneSequenceOnly() throws {
        let model = try load()
        let text = Text(tokens: ids(10, 8, model), prompt: nil, settings: .greedy, maximum: 12)
        let known = try alone(text, model, [])
        let end = known[4], before = known.firstIndex(of: end) ?? 4
        let scheduler = try BatchScheduler(model: model)
        var first = try request(text, [])
        first.endTokens = [end]
        let (stopped, other) = (try scheduler.submit(first), try scheduler.submit(request(text, [])))
        var events: [BatchScheduler.ID: [BatchEvent]] = [:]
        while !scheduler.isIdle { for (id, event) in try scheduler.step() { events[id, default: []].append(event) } }
        #expect(events[stopped] == known[..<before].map { .token($0) } + [.finished(.endOfText)])
        #expect(events[other] == known.map { .token($0) } + [.finished(.length)])
    }

    @Test func theBudgetQueuesInOrderAndRefusesWhatNeverFits() throws {
        let model = try load()
        func request(_ count: Int) throws -> BatchRequest {
            try self.request(
                Text(tokens: ids(count, 9, model), prompt: nil, settings: .greedy, maximum: 3), [])
        }
        let probe = try BatchScheduler(model: model)
        _ = try probe.submit(request(10))
        _ = try probe.step()
        let one = probe.cacheBytes
        let scheduler = try BatchScheduler(model: model, limits: BatchLimits(cacheBytes: 2 * one))
        let submitted = try (0..<5).map { _ in try scheduler.submit(request(10)) }
        var finished: [BatchScheduler.ID] = []
        while !scheduler.isIdle {
            for case (let id, .finished) in try scheduler.step() { finished.append(id) }
            #expect(scheduler.runningCount <= 2)
            #expect(scheduler.cacheBytes <= 2 * one)
        }
        #expect(finished == submitted)
        #expect { try scheduler.submit(request(200)) } throws: { ($0 as? ModelError)?.code == .contextFull }
    }

    @Test func aCancelledSequenceLeavesAndFreesItsPages() throws {
        let model = try load()
        let scheduler = try BatchScheduler(model: model, limits: BatchLimits(sequences: 1))
        let text = Text(tokens: ids(10, 3, model), prompt: nil, settings: .greedy, maximum: 30)
        let first = try scheduler.submit(request(text, []))
        let second = try scheduler.submit(request(text, []))
        let third = try scheduler.submit(request(text, []))
        _ = try scheduler.step()
        #expect(scheduler.runningCount == 1)
        #expect(scheduler.waitingCount == 2)
        #expect(scheduler.cancel(second))
        #expect(scheduler.cancel(first))
        #expect(!scheduler.cancel(first))
        #expect(scheduler.cacheBytes == 0)
        var found: [Int] = []
        while !scheduler.isIdle {
            for (id, event) in try scheduler.step() {
                #expect(id == third)
                if case .token(let token) = event { found.append(token) }
            }
        }
        #expect(try found == alone(text, model, []))
    }

    @Test func aLongTextDoesNotStopThoseWhoWrite() throws {
        let model = try load()
        let scheduler = try BatchScheduler(model: model, limits: BatchLimits(sequences: 4, rows: 32, readingRows: 10))
        let writer = try scheduler.submit(
            request(Text(tokens: ids(2, 1, model), prompt: nil, settings: .greedy, maximum: 50), []))
        _ = try scheduler.step()
        let long = try scheduler.submit(
            request(Text(tokens: ids(200, 2, model), prompt: nil, settings: .greedy, maximum: 2), []))
        let short = try scheduler.submit(
            request(Text(tokens: ids(8, 3, model), prompt: nil, settings: .greedy, maximum: 2), []))
        var firstToken: [BatchScheduler.ID: Int] = [:]
        for step in 0..<30 {
            let events = try scheduler.step()
            #expect(events.contains { $0.id == writer })
            for (id, _) in events where firstToken[id] == nil { firstToken[id] = step }
        }
        let (shortAt, longAt) = (try #require(firstToken[short]), try #require(firstToken[long]))
        #expect(shortAt <= 1)
        #expect(longAt > shortAt && longAt <= 20)
    }

    @Test func requestsThatMakeNoSenseAreRefused() throws {
        let model = try load()
        let scheduler = try BatchScheduler(model: model)
        let prompts = attachments(model)
        let good = try request(Text(tokens: [1, 2], prompt: nil, settings: .greedy, maximum: 3), [])
        func refuses(_ change: (inout BatchRequest) throws -> Void, _ code: ModelError.Code) throws {
            var request = good
            try change(&request)
            #expect { try scheduler.submit(request) } throws: { ($0 as? ModelError)?.code == code }
        }
        try refuses({ $0.tokens = [] }, .invalidInput)
        try refuses({ $0.tokens = [1, -1] }, .invalidInput)
        try refuses({ $0.tokens = [model.shape.vocabularySize] }, .invalidInput)
        try refuses({ $0.maximumTokens = 0 }, .invalidInput)
        try refuses({ $0.tokens = ids(model.shape.contextLength + 1, 1, model) }, .contextFull)
        try refuses(
            { $0.prompt = try ResidentPrompt(prompts[0], model: model, cacheElement: .f32) }, .invalidInput)
        #expect(throws: ModelError.self) { try BatchScheduler(model: model, limits: BatchLimits(sequences: 0)) }
        #expect(throws: ModelError.self) { try BatchScheduler(model: model, limits: BatchLimits(rows: 3)) }
        #expect(scheduler.isIdle)
    }

    @Test func everyArchitectureBatches() throws {
        let folder = Fixtures.url("Models/architectures")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
            $0.hasSuffix(".gguf") && !$0.hasSuffix(".golden.gguf")
        }
        #expect(!names.isEmpty)
        for name in names {
            let path = folder.appending(path: name).path
            let model = try ModelCatalog.architecture(for: GGUFFile(path: path), path: path)
                .load(GGUFFile(path: path), pool: ThreadPool(threadCount: 2))
            let width = model.shape.vocabularySize
            let lengths = [1, 12, 3, 20]
            let workspace = InferenceWorkspace()
            /// Logits of four sequences: their texts, then one more token each.
            func logits(_ batched: Bool) throws -> [Float] {
                let caches = lengths.map { _ in model.makeCache(element: .f32, canRewind: false) }
                let texts = lengths.enumerated().map { ids($1, $0 + 1, model) }
                var result: [Float] = []
                for inputs in [texts, lengths.indices.map { [$0 + 5] }] {
                    let steps = zip(inputs, caches).map { SequenceStep(.tokens($0), cache: $1, logitCount: 1) }
                    if batched {
                        result += Array(try model.forward(steps, workspace: workspace))
                    } else {
                        for step in steps { result += Array(try model.forward([step], workspace: workspace)) }
                    }
                }
                return result
            }
            let (found, expected) = (try logits(true), try logits(false))
            #expect(found.count == 8 * width)
            let largest = expected.reduce(0) { max($0, abs($1)) }
            #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-4 * largest }, "\(name)")
        }
    }
}
