import Foundation
import Generation
import Kernels
import LanguageModels
import Layers

/// How a long text is cut for perplexity, and which of its tokens count.
public struct PerplexityWindows: Sendable, Equatable {
    public enum Style: String, Sendable, CaseIterable {
        /// llama.cpp's: windows side by side, the second half of each counts; its first token becomes the beginning token
        /// where the model wants one.
        case half
        /// Windows side by side, everything but each first token counts; nothing is replaced.
        case all
    }

    /// Tokens in a window.
    public var length = 512
    public var style = Style.half
    /// Tokens from one window to the next; then only the last `stride` of each count. nil: side by side.
    public var stride: Int?
    /// At most so many windows.
    public var limit: Int?

    public init() {}

    /// One window: its tokens, and the first position that counts as predicted.
    public struct Window: Sendable {
        public let tokens: [Int]
        /// Tokens from this place on are predicted from those before.
        public let firstScored: Int
    }

    /// - Throws: `ModelError.invalidInput` when the text is shorter than one window.
    public func cut(_ ids: [Int], beginning: Int?) throws -> [Window] {
        guard ids.count >= length else {
            throw ModelError(
                .invalidInput,
                "the text has \(ids.count) tokens, fewer than one window of \(length); give more text or a smaller --window"
            )
        }
        let step = stride ?? length
        var windows: [Window] = []
        var start = 0
        while start + length <= ids.count, windows.count < limit ?? .max {
            var tokens = Array(ids[start..<start + length])
            if style == .half, let beginning { tokens[0] = beginning }
            let first =
                stride.map { max(1, length - $0) } ?? (style == .half ? length / 2 + 1 : 1)
            windows.append(Window(tokens: tokens, firstScored: first))
            start += step
        }
        return windows
    }
}

/// Mean and standard error of numbers as they come.
public struct RunningMean: Sendable {
    public private(set) var count = 0
    private var sum = 0.0, squares = 0.0

    public init() {}

    public mutating func add(_ value: Double) {
        count += 1
        sum += value
        squares += value * value
    }

    public var mean: Double { count > 0 ? sum / Double(count) : 0 }

    /// Standard error of the mean, as if the numbers were independent.
    public var error: Double {
        guard count > 1 else { return 0 }
        let variance = max(0, squares / Double(count) - mean * mean)
        return (variance / Double(count - 1)).squareRoot()
    }
}

/// Perplexity of a text, and how far a model's distributions lie from those of a reference.
public struct PerplexityReport: Sendable {
    /// Negative log-likelihood of each token that counted, nats.
    public internal(set) var loss = RunningMean()
    /// What the reference gave the same tokens.
    public internal(set) var referenceLoss = RunningMean()
    /// Kullback-Leibler divergence of the model's distribution from the reference's in each place, nats, in order.
    public internal(set) var divergences: [Double] = []
    /// Places where both hold the same token likeliest.
    public internal(set) var agreements = 0
    /// Difference of the probability of the right token.
    public internal(set) var probabilityDifference = RunningMean()
    var squaredDifferences = 0.0

    /// Of nothing yet.
    public init() {}

    public var perplexity: Double { exp(loss.mean) }
    /// Standard error of the perplexity.
    public var perplexityError: Double { perplexity * loss.error }
    public var referencePerplexity: Double { exp(referenceLoss.mean) }

    /// Mean and standard error of the divergences.
    public var divergence: RunningMean {
        var result = RunningMean()
        for value in divergences { result.add(value) }
        return result
    }

    /// The divergence below which this share of the places lie.
    public func divergenceQuantile(_ share: Double) -> Double {
        let sorted = divergences.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }

    /// The root of the mean square of the difference in the right token's probability.
    public var rootMeanSquareDifference: Double {
        divergences.isEmpty ? 0 : (squaredDifferences / Double(divergences.count)).squareRoot()
    }
}

/// What a model's distributions are compared with.
public enum PerplexityReference: Sendable {
    /// A model that runs beside it.
    case model(any LanguageModel)
    /// What a model gave earlier, over the same windows.
    case saved(SavedLogits)

    fileprivate var vocabularySize: Int {
        switch self {
        case .model(let model): model.shape.vocabularySize
        case .saved(let saved): saved.vocabularySize
        }
    }
}

/// Runs a text through a model in windows, beside a reference if there is one.
public struct PerplexityMeasurement {
    private let model: any LanguageModel
    private let element: KVElement
    /// Positions whose logits are in memory at once.
    private static let block = 64

    public init(model: any LanguageModel, cacheElement: KVElement = .f16) {
        self.model = model
        element = cacheElement
    }

    /// Measures windows.
    ///
    /// - Parameters:
    ///   - reference: with the same vocabulary, to compare with.
    ///   - saves: whether `save` receives each row of logits that counts, as `SavedLogits` stores it.
    ///   - progress: called after each window with the report so far; false stops.
    public func measure(
        _ windows: [PerplexityWindows.Window], reference: PerplexityReference? = nil,
        saves: Bool = false, save: ([UInt8]) throws -> Void = { _ in },
        progress: (_ done: Int, PerplexityReport) -> Bool = { _, _ in true }
    ) throws -> PerplexityReport {
        let vocabulary = model.shape.vocabularySize
        if let reference, reference.vocabularySize != vocabulary {
            throw ModelError(
                .invalidInput,
                "the reference has \(reference.vocabularySize) tokens and the model \(vocabulary); distributions over "
                    + "different vocabularies cannot be compared")
        }
        let workspace = InferenceWorkspace()
        var report = PerplexityReport()
        for (number, window) in windows.enumerated() {
            let tokens = window.tokens
            let cache = model.makeCache(element: element)
            let expectation = Expectation(reference, window: number, element: element, rows: Self.block)
            // Positions whose logits nobody asks for run at once.
            var start = max(0, window.firstScored - 1)
            if start > 0 {
                let lead = ModelInput.tokens(Array(tokens[..<start]))
                _ = try model.forward(lead, cache: cache, workspace: workspace, logitCount: 0)
                try expectation.skip(lead)
            }
            let first = start
            while start < tokens.count - 1 {
                let count = min(Self.block, tokens.count - 1 - start)
                let part = ModelInput.tokens(Array(tokens[start..<start + count]))
                let targets = Array(tokens[start + 1...start + count])
                let logits = try model.forward(part, cache: cache, workspace: workspace, logitCount: count)
                if saves {
                    for row in 0..<count {
                        try save(SavedLogits.encode(logits.baseAddress! + row * vocabulary, count: vocabulary))
                    }
                }
                if let expected = try expectation.rows(part, from: start - first) {
                    compare(logits, expected, targets, &report)
                } else {
                    for (row, target) in targets.enumerated() {
                        report.loss.add(
                            Double(
                                CrossEntropy.forward(
                                    logits.baseAddress! + row * vocabulary, count: vocabulary, target: target)))
                    }
                }
                start += count
            }
            if !progress(number + 1, report) { break }
        }
        return report
    }

    private struct Place: Sendable {
        var loss = 0.0, referenceLoss = 0.0, divergence = 0.0
        var agrees = false
    }

    /// KL(reference ‖ model) = Σ p·(ln p − ln q), over rows on all threads.
    private func compare(
        _ logits: UnsafeBufferPointer<Float>, _ expected: UnsafeBufferPointer<Float>, _ targets: [Int],
        _ report: inout PerplexityReport
    ) {
        let vocabulary = model.shape.vocabularySize
        let places = [Place](unsafeUninitializedCapacity: targets.count) { buffer, count in
            count = targets.count
            // Sendable: every task writes its own place.
            nonisolated(unsafe) let places = buffer.baseAddress!
            nonisolated(unsafe) let (logits, expected) = (logits.baseAddress!, expected.baseAddress!)
            model.pool.parallelFor(targets.count) { row in
                let (a, b) = (logits + row * vocabulary, expected + row * vocabulary)
                let logQ = Double(VectorMath.logSumExp(a, count: vocabulary))
                let logP = Double(VectorMath.logSumExp(b, count: vocabulary))
                var sum = 0.0
                for id in 0..<vocabulary {
                    let p = Double(b[id]) - logP
                    if p > -40 { sum += exp(p) * (p - Double(a[id]) + logQ) }
                }
                let target = targets[row]
                (places + row).initialize(
                    to: Place(
                        loss: logQ - Double(a[target]), referenceLoss: logP - Double(b[target]),
                        divergence: max(0, sum),
                        agrees: VectorMath.argmax(a, count: vocabulary) == VectorMath.argmax(b, count: vocabulary)))
            }
        }
        for place in places {
            report.loss.add(place.loss)
            report.referenceLoss.add(place.referenceLoss)
            report.divergences.append(place.divergence)
            if place.agrees { report.agreements += 1 }
            let difference = exp(-place.loss) - exp(-place.referenceLoss)
            report.probabilityDifference.add(difference)
            report.squaredDifferences += difference * difference
        }
    }
}

/// The reference's logits along one window.
private final class Expectation {
    private let reference: PerplexityReference?
    private let window: Int
    private let workspace = InferenceWorkspace()
    private let cache: KVCache?
    private var buffer: [Float] = []

    init(_ reference: PerplexityReference?, window: Int, element: KVElement, rows: Int) {
        self.reference = reference
        self.window = window
        switch reference {
        case .model(let model)?: cache = model.makeCache(element: element)
        case .saved(let saved)?:
            cache = nil
            buffer = [Float](repeating: 0, count: rows * saved.vocabularySize)
        case nil: cache = nil
        }
    }

    /// Passes over tokens whose logits are not needed.
    func skip(_ input: ModelInput) throws {
        guard case .model(let model)? = reference, let cache else { return }
        _ = try model.forward(input, cache: cache, workspace: workspace, logitCount: 0)
    }

    /// Logits in the places of the tokens; valid until the next call. nil without a reference.
    ///
    /// - Parameter first: the place of the first token among those that count in this window.
    func rows(_ input: ModelInput, from first: Int) throws -> UnsafeBufferPointer<Float>? {
        switch reference {
        case .model(let model)?:
            guard let cache else { return nil }
            return try model.forward(input, cache: cache, workspace: workspace, logitCount: input.count)
        case .saved(let saved)?:
            // Sound: the array lives as long as this object and is not resized.
            return buffer.withUnsafeMutableBufferPointer { rows in
                saved.read(window: window, first: first, count: input.count, into: rows.baseAddress!)
                return UnsafeBufferPointer(rows)
            }
        case nil: return nil
        }
    }
}
