import LanguageModels

/// What a prompt learns from: sequences, and what the model should say where.
///
/// An objective is a value. Items (rows, stretches of text, pairs) are drawn by the trainer; the objective makes a batch of
/// those drawn. To add one, write a file in `Objectives/` and a line in `ObjectiveCatalog`.
public protocol Objective: Sendable {
    /// The name on the command line and in records.
    static var name: String { get }
    /// One sentence on when to choose it.
    static var summary: String { get }
    /// Items to draw from, at least 1.
    var itemCount: Int { get }
    /// Tokens of the longest sequence.
    var longestSequence: Int { get }

    /// The sequences of some items.
    ///
    /// - Parameters:
    ///   - items: indices below `itemCount`, one for each place of the batch.
    ///   - step: the optimizer step, for what is drawn anew each time; the same step gives the same batch.
    func batch(_ items: [Int], step: Int) -> TrainingBatch
}

/// Every objective there is. A new one is a line here.
public enum ObjectiveCatalog {
    public static let objectives: [any Objective.Type] = [
        SupervisedObjective.self,
        LanguageModelingObjective.self,
        DistillationObjective.self,
        PreferenceObjective.self,
    ]
}

/// Several objectives learned at once, each with its share of every batch.
///
/// Shares are exact over time: places go to the parts by smooth weighted round-robin, so any stretch of places holds each
/// part in proportion, to within one. The loss is the sum over parts of share · mean loss of the part · scale: long
/// sequences of one part do not drown short ones of another.
public struct ObjectiveMixture: Sendable {
    public struct Part: Sendable {
        public let objective: any Objective
        /// Relative number of places in a batch; positive.
        public let weight: Double
        /// What the part's loss is multiplied by.
        public let scale: Double

        public init(_ objective: any Objective, weight: Double = 1, scale: Double = 1) {
            self.objective = objective
            self.weight = weight
            self.scale = scale
        }
    }

    public let parts: [Part]
    private var orders: [ExampleOrder]
    /// How far each part is behind its share, and the places it has had, before `position`.
    private var credit: [Double]
    private var drawn: [Int]
    private var position = 0

    /// - Throws: `TuningError` when there is no part, a weight is not positive or a part is empty.
    public init(_ parts: [Part], seed: UInt64) throws {
        guard !parts.isEmpty else {
            throw TuningError(code: .invalidSetting, message: "there is nothing to learn from: no objective was given")
        }
        for part in parts {
            guard part.weight > 0, part.weight.isFinite, part.scale > 0, part.scale.isFinite else {
                throw TuningError(
                    code: .invalidSetting,
                    message: "the weights of a mixture must be positive numbers, not \(part.weight) and \(part.scale)")
            }
            guard part.objective.itemCount > 0 else {
                throw TuningError(
                    code: .invalidData,
                    message: "the \(type(of: part.objective).name) part of the data has nothing to learn from")
            }
        }
        self.parts = parts
        orders = parts.enumerated().map { index, part in
            ExampleOrder(seed: seed &+ UInt64(index) &* 0x9E37_79B9, exampleCount: part.objective.itemCount)
        }
        credit = Array(repeating: 0, count: parts.count)
        drawn = Array(repeating: 0, count: parts.count)
    }

    /// Items of all parts.
    public var itemCount: Int { parts.reduce(0) { $0 + $1.objective.itemCount } }
    /// Tokens of the longest sequence of any part.
    public var longestSequence: Int { parts.map(\.objective.longestSequence).max() ?? 0 }

    /// What a step takes of one part.
    public struct Share: Sendable {
        /// Index in `parts`.
        public let part: Int
        public let batch: TrainingBatch
        /// What the part's mean loss counts in the step's.
        public let share: Double
    }

    /// The batch of a step, as the shares of the parts in it.
    public mutating func shares(step: Int, size: Int) -> [Share] {
        advance(to: step * size)
        var items = Array(repeating: [Int](), count: parts.count)
        for _ in 0..<size {
            let part = nextPart()
            items[part].append(orders[part].example(at: drawn[part] - 1))
        }
        return parts.indices.filter { !items[$0].isEmpty }.map { index in
            Share(
                part: index, batch: parts[index].objective.batch(items[index], step: step),
                share: Double(items[index].count) / Double(size) * parts[index].scale)
        }
    }

    /// The batch of a step. Going forward costs nothing besides; going back counts again from the start.
    public mutating func batch(step: Int, size: Int) -> TrainingBatch {
        let shares = shares(step: step, size: size)
        if parts.count == 1, parts[0].scale == 1, let only = shares.first { return only.batch }
        return Self.combine(shares.map(\.batch), shares: shares.map(\.share))
    }

    private mutating func advance(to wanted: Int) {
        if wanted < position {
            credit = Array(repeating: 0, count: parts.count)
            drawn = Array(repeating: 0, count: parts.count)
            position = 0
        }
        while position < wanted { _ = nextPart() }
    }

    private mutating func nextPart() -> Int {
        let total = parts.reduce(0) { $0 + $1.weight }
        for index in parts.indices { credit[index] += parts[index].weight / total }
        let chosen = credit.indices.max { credit[$0] < credit[$1] } ?? 0
        credit[chosen] -= 1
        drawn[chosen] += 1
        position += 1
        return chosen
    }

    /// One batch whose loss is Σ share · loss of the part.
    static func combine(_ batches: [TrainingBatch], shares: [Double]) -> TrainingBatch {
        let examples = batches.flatMap(\.examples)
        let counts = batches.map { $0.examples.reduce(0) { $0 + $1.targets.count } }
        let weights = batches.map { $0.examples.flatMap { $0.targets.map(\.weight) } }
        let own = batches.map(\.weighing)
        return TrainingBatch(examples) { losses in
            var total = 0.0
            var factors: [Float] = []
            factors.reserveCapacity(losses.count)
            var start = 0
            for part in counts.indices {
                let slice = Array(losses[start..<start + counts[part]])
                start += counts[part]
                let weighed: TrainingBatch.Weighing
                if let weighing = own[part] {
                    weighed = weighing(slice)
                } else {
                    let sum = max(weights[part].reduce(0) { $0 + Double($1) }, .leastNormalMagnitude)
                    weighed = TrainingBatch.Weighing(
                        loss: zip(slice, weights[part]).reduce(0) { $0 + Double($1.0) * Double($1.1) } / sum,
                        factors: weights[part].map { Float(Double($0) / sum) })
                }
                total += shares[part] * weighed.loss
                factors += weighed.factors.map { $0 * Float(shares[part]) }
            }
            return TrainingBatch.Weighing(loss: total, factors: factors)
        }
    }
}
