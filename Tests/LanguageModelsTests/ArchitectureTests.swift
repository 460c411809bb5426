import Fixtures
import Foundation
import GGUF
import Kernels
import LanguageModels
import TensorTypes
import Testing

/// Every architecture on a random model against transformers, and against itself by other routes.
///
/// The models are those of `Fixtures/Scripts/make_architecture_models.py`; `INCIPIT_ARCHITECTURE_MODELS` names a folder with
/// others (`Tests/Oracles/architectures.sh`).
@Suite struct ArchitectureTests {
    static let folder =
        ProcessInfo.processInfo.environment["INCIPIT_ARCHITECTURE_MODELS"].map { URL(filePath: $0) }
        ?? Fixtures.url("Models/architectures")

    static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        let suffix = ".golden.gguf"
        return files.filter { $0.hasSuffix(suffix) }.map { String($0.dropLast(suffix.count)) }.sorted()
    }()

    /// Of the largest logit: F32 on both sides, other orders of summing. Products with quantized weights round their
    /// inputs to 8 bits.
    private func logitTolerance(_ known: Case) -> Float { known.isQuantized ? 0.1 : 1e-4 }
    private let leastCosine = 0.9999
    private let roundedCosine = 0.998
    private let lossTolerance = 1e-4
    /// Of the loss, which in these random models is 5 to 17 nats.
    private let roundedLossTolerance = 0.02
    /// Of the gradient's norm, where the forward pass rounds.
    private let roundedGradientTolerance = 0.25
    /// Of the gradient's norm.
    private let gradientTolerance = 1e-3
    /// Of the gradient's norm: central differences of F32 losses.
    private let differenceTolerance = 1e-2

    /// A model and what transformers computes of it.
    private struct Case {
        let model: any LanguageModel
        let golden: GGUFFile
        let ids: [Int]
        let isQuantized: Bool

        init(_ name: String) throws {
            let path = ArchitectureTests.folder.appending(path: name + ".gguf").path
            let file = try GGUFFile(path: path)
            model = try ModelCatalog.architecture(for: file, path: path).load(file, pool: ThreadPool(threadCount: 2))
            golden = try GGUFFile(path: ArchitectureTests.folder.appending(path: name + ".golden.gguf").path)
            ids = try Self.integers("ids", golden)
            isQuantized = file.tensors.contains { $0.type == .q8_0 }
        }

        static func integers(_ name: String, _ file: GGUFFile) throws -> [Int] {
            let info = try #require(file.tensor(named: name))
            return file.bytes(of: info).bindMemory(to: Int32.self).map { Int($0) }
        }

        func integers(_ name: String) throws -> [Int] { try Self.integers(name, golden) }

        func floats(_ name: String) throws -> [Float] {
            let info = try #require(golden.tensor(named: name))
            return Array(golden.bytes(of: info).bindMemory(to: Float.self))
        }

        /// Logits of the last `count` positions of `parts`, run one after the other into one cache.
        func logits(_ parts: [ModelInput], last count: Int) throws -> [Float] {
            let cache = model.makeCache(element: .f32)
            let workspace = InferenceWorkspace()
            var result: [Float] = []
            for part in parts {
                result += try withExtendedLifetime(workspace) {
                    Array(try model.forward(part, cache: cache, workspace: workspace, logitCount: part.count))
                }
            }
            return Array(result.suffix(count * model.shape.vocabularySize))
        }

        func loss(
            _ graph: any DifferentiableModel, _ tokens: [Int], from start: Int, _ values: [Float] = [],
            isCache: Bool = false
        ) throws -> (loss: Double, gradient: [Float]) {
            var gradient = [Float](repeating: .nan, count: values.count)
            let batch = TrainingBatch([.init(tokens: tokens, targetStart: start)])
            let width = isCache ? model.shape.keyValueElementsPerToken : model.shape.hiddenSize
            let count = values.count / width
            let result = try values.withUnsafeBufferPointer { values in
                guard let base = values.baseAddress, count > 0 else {
                    return try graph.loss(of: batch, prompt: .none, gradient: nil)
                }
                return try graph.loss(
                    of: batch,
                    prompt: isCache ? .keysAndValues(base, count: count) : .embeddings(base, count: count),
                    gradient: &gradient)
            }
            return (result.loss, gradient)
        }

        /// Keys and values of the first tokens, as a prefix.
        func prefix(_ tokens: [Int]) throws -> [Float] {
            let cache = model.makeCache(element: .f32)
            _ = try model.forward(.tokens(tokens), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
            return cache.prefix(tokens: tokens.count)
        }
    }

    /// The numbers behind a pass, for the oracle.
    private func report(_ name: String, _ text: String) {
        if Self.folder != Fixtures.url("Models/architectures") { print("measured \(name): \(text)") }
    }

    private func norm(_ values: [Float]) -> Double {
        values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    }

    private func distance(_ a: [Float], _ b: [Float]) -> Double { norm(zip(a, b).map { $0 - $1 }) }

    private func largest(_ values: [Float]) -> Float { values.reduce(0) { max($0, abs($1)) } }

    @Test func everyArchitectureOfTheCatalogueHasAModel() throws {
        let found = try Set(
            Self.names.map {
                try GGUFFile(path: Self.folder.appending(path: $0 + ".gguf").path).metadata.architecture()
            })
        #expect(found == Set(ModelCatalog.architectures.map { $0.name }))
    }

    @Test(arguments: names) func logitsAreThoseOfTransformers(name: String) throws {
        let known = try Case(name)
        let expected = try known.floats("logits")
        let found = try known.logits([.tokens(known.ids)], last: known.ids.count)
        try #require(found.count == expected.count)
        let difference = largest(zip(found, expected).map { $0 - $1 }) / largest(expected)
        var cosines: [Double] = []
        let width = known.model.shape.vocabularySize
        for position in known.ids.indices {
            let a = Array(found[position * width..<(position + 1) * width])
            let b = Array(expected[position * width..<(position + 1) * width])
            let product = zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            cosines.append(product / (norm(a) * norm(b)))
        }
        cosines.sort()
        if known.isQuantized {
            // Rounding may choose another of two experts that weigh nearly the same, so single positions say little.
            #expect(cosines[cosines.count / 4] >= roundedCosine)
        } else {
            #expect(difference < logitTolerance(known))
            #expect(cosines[0] >= leastCosine)
        }
        report(
            name,
            "logits: difference \(difference) of the largest, cosine least \(cosines[0]), "
                + "first quartile \(cosines[cosines.count / 4])")
    }

    @Test(arguments: names) func greedyTokensAreThoseOfTransformers(name: String) throws {
        let known = try Case(name)
        guard !known.isQuantized else { return }
        let cache = known.model.makeCache(element: .f32)
        let workspace = InferenceWorkspace()
        var input = known.ids
        for expected in try known.integers("greedy") {
            let best = try withExtendedLifetime(workspace) {
                let logits = try known.model.forward(
                    .tokens(input), cache: cache, workspace: workspace, logitCount: 1)
                return logits.indices.max { logits[$0] < logits[$1] }
            }
            #expect(best == expected)
            input = [expected]
        }
    }

    @Test(arguments: names) func tokenByTokenEqualsOnePrefill(name: String) throws {
        let known = try Case(name)
        let whole = try known.logits([.tokens(known.ids)], last: known.ids.count)
        let single = try known.logits(known.ids.map { .tokens([$0]) }, last: known.ids.count)
        let uneven = try known.logits(
            [.tokens(Array(known.ids.prefix(3))), .tokens(Array(known.ids.dropFirst(3)))], last: known.ids.count)
        #expect(largest(zip(whole, single).map { $0 - $1 }) < logitTolerance(known) * largest(whole))
        #expect(largest(zip(whole, uneven).map { $0 - $1 }) < logitTolerance(known) * largest(whole))
    }

    @Test(arguments: names) func lossAndInputGradientAreThoseOfTorch(name: String) throws {
        let known = try Case(name)
        let expected = try known.floats("gradient"), loss = try known.floats("loss")[0]
        for memory in [WeightsMemory.float, .tiles] {
            let graph = try known.model.differentiable(weightsMemory: memory)
            for precision in TrainingPrecision.allCases {  // with float weights both are exact
                graph.precision = precision
                let found = try known.loss(graph, known.ids, from: 1, known.floats("prompt"))
                let isRounded = known.isQuantized && precision == .int8
                let difference = distance(found.gradient, expected) / norm(expected)
                #expect(
                    abs(found.loss - Double(loss)) < (isRounded ? roundedLossTolerance * Double(loss) : lossTolerance))
                #expect(difference < (isRounded ? roundedGradientTolerance : gradientTolerance))
                report(name, "\(memory) \(precision): loss \(found.loss - Double(loss)), gradient \(difference)")
            }
        }
    }

    @Test(arguments: names) func thePromptAtTheInputActsAtInferenceAsInTraining(name: String) throws {
        let known = try Case(name)
        let prompt = try known.floats("prompt")
        let count = prompt.count / known.model.shape.hiddenSize
        let logits = try known.logits(
            [.embeddings(prompt, count: count), .tokens(known.ids)], last: known.ids.count)
        let width = known.model.shape.vocabularySize
        var total = 0.0
        for (index, target) in known.ids.dropFirst().enumerated() {
            let row = logits[index * width..<(index + 1) * width].map(Double.init)
            let most = row.max() ?? 0
            total += log(row.reduce(0) { $0 + exp($1 - most) }) + most - row[target]
        }
        let expected = Double(try known.floats("loss")[0])
        let tolerance = known.isQuantized ? roundedLossTolerance * expected : lossTolerance
        #expect(abs(total / Double(known.ids.count - 1) - expected) < tolerance)
    }

    @Test(arguments: names) func trainingWithAPrefixEqualsRunningTheText(name: String) throws {
        let known = try Case(name)
        let graph = try known.model.differentiable(weightsMemory: .float)
        let start = Array(known.ids.prefix(7)), rest = Array(known.ids.dropFirst(7))
        let expected = try known.loss(graph, known.ids, from: 8).loss
        let cached = try known.loss(graph, rest, from: 1, known.prefix(start), isCache: true).loss
        var rows = [Float](repeating: 0, count: start.count * known.model.shape.hiddenSize)
        rows.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            for (index, token) in start.enumerated() {
                known.model.embedding(of: token, into: base + index * known.model.shape.hiddenSize)
            }
        }
        let embedded = try known.loss(graph, rest, from: 1, rows).loss
        #expect(abs(cached - expected) < (known.isQuantized ? roundedLossTolerance * expected : lossTolerance))
        #expect(abs(embedded - expected) < lossTolerance)
    }

    @Test(arguments: names) func prefixGradientsAgreeWithFiniteDifferences(name: String) throws {
        let known = try Case(name)
        let graph = try known.model.differentiable(weightsMemory: .float)
        let rest = Array(known.ids.dropFirst(4))
        let prefix = try known.prefix(Array(known.ids.prefix(4)))
        let (_, gradient) = try known.loss(graph, rest, from: 1, prefix, isCache: true)
        let length = norm(gradient)
        try #require(length > 1e-4)
        let own = gradient.map { Double($0) / length }
        let other = own.indices.map { own[$0] * ($0 % 2 == 0 ? 1 : -1) }  // as long, in another direction
        for direction in [own, other] {
            let step = 1e-2
            func moved(_ factor: Double) throws -> Double {
                let values = zip(prefix, direction).map { Float(Double($0) + factor * $1) }
                return try known.loss(graph, rest, from: 1, values, isCache: true).loss
            }
            let expected = (try moved(step) - moved(-step)) / (2 * step)
            let found = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * $1.1 }
            #expect(abs(found - expected) < max(differenceTolerance * length, 2e-4), "\(found), \(expected)")
        }
    }

    @Test(arguments: names) func storedPrefixesComeBackTheSame(name: String) throws {
        let known = try Case(name)
        let shape = known.model.shape
        let prefix = try known.prefix(Array(known.ids.prefix(3)))
        let stored = shape.storedPrefix(fromCache: prefix, tokens: 3)
        #expect(shape.cachePrefix(fromStored: stored, tokens: 3) == prefix)
        let isNormal = ["llama", "granite", "smollm3"].contains(shape.architecture)
        #expect(shape.interleavedRotary == isNormal)
    }
}
