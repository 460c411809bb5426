import Foundation
import LanguageModels
import Tokenization

/// A question with an answer that is liked better and one that is liked less.
public struct PreferencePair: Sendable, Hashable {
    public var input: String
    public var chosen: String
    public var rejected: String

    public init(input: String, chosen: String, rejected: String) {
        self.input = input
        self.chosen = chosen
        self.rejected = rejected
    }
}

/// Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) against the bare base: the prompt learns to make
/// the chosen answer likelier than the rejected one, compared with what the base makes of them without a prompt.
///
/// Loss of a pair: −ln σ(β · ((ln π(chosen) − ln ρ(chosen)) − (ln π(rejected) − ln ρ(rejected)))), with π the base behind
/// the prompt and ρ the bare base, each the sum over the answer's tokens. ρ is computed once.
public struct PreferenceObjective: Objective {
    public static let name = "preference"
    public static let summary = "pairs {input, chosen, rejected}: learns to prefer one answer to another (DPO)"

    private let pairs: [(chosen: TrainingBatch.Example, rejected: TrainingBatch.Example)]
    /// ln ρ(chosen) − ln ρ(rejected) of each pair.
    private let reference: [Double]
    private let beta: Double
    public let longestSequence: Int

    public var itemCount: Int { pairs.count }

    /// - Parameters:
    ///   - graph: the base, for the reference.
    ///   - beta: how far the prompt may move from the base; 0.1 is usual.
    /// - Throws: `TuningError` for a beta that is not positive or a pair without text.
    public init(
        pairs rows: [PreferencePair], encoder: ExampleEncoder, graph: any DifferentiableModel, beta: Double = 0.1
    ) throws {
        guard beta > 0, beta.isFinite else {
            throw TuningError(code: .invalidSetting, message: "the preference's beta must be positive, not \(beta)")
        }
        self.beta = beta
        pairs = try rows.map { pair in
            (
                try encoder.encode(Example(input: pair.input, target: pair.chosen)),
                try encoder.encode(Example(input: pair.input, target: pair.rejected))
            )
        }
        reference = try pairs.map { pair in
            let result = try graph.loss(
                of: TrainingBatch([pair.chosen, pair.rejected]), prompt: .none, gradient: nil)
            return Self.margin(result.losses[...], chosen: pair.chosen.targets.count)
        }
        longestSequence = pairs.map { max($0.chosen.tokens.count, $0.rejected.tokens.count) }.max() ?? 0
    }

    public func batch(_ items: [Int], step: Int) -> TrainingBatch {
        let drawn = items.map { pairs[$0] }
        let reference = items.map { self.reference[$0] }
        let sizes = drawn.map { ($0.chosen.targets.count, $0.rejected.targets.count) }
        let beta = self.beta
        return TrainingBatch(drawn.flatMap { [$0.chosen, $0.rejected] }) { losses in
            var total = 0.0
            var factors: [Float] = []
            var start = 0
            for (index, size) in sizes.enumerated() {
                let own = losses[start..<start + size.0 + size.1]
                start += own.count
                let advantage = beta * (Self.margin(own, chosen: size.0) - reference[index])
                // softplus(−x), without overflow.
                total += max(0, -advantage) + log1p(exp(-abs(advantage)))
                let pull = Float(beta / (1 + exp(advantage)) / Double(sizes.count))
                // Losses are −ln π: a falling loss of the chosen answer lowers the objective.
                factors += Array(repeating: pull, count: size.0) + Array(repeating: -pull, count: size.1)
            }
            return TrainingBatch.Weighing(loss: total / Double(sizes.count), factors: factors)
        }
    }

    /// ln π(chosen) − ln π(rejected) out of the losses of both answers' tokens.
    private static func margin(_ losses: ArraySlice<Float>, chosen: Int) -> Double {
        let first = losses.prefix(chosen).reduce(0) { $0 + Double($1) }
        let second = losses.dropFirst(chosen).reduce(0) { $0 + Double($1) }
        return second - first
    }
}
