import LanguageModels
import Tokenization

/// Labelled rows: the model reads the input and learns to write the target.
///
/// With labels given, the first token of a target is learned among the labels' first tokens only (classification as it is
/// scored), and whatever follows among all tokens.
public struct SupervisedObjective: Objective {
    public static let name = "supervised"
    public static let summary = "labelled rows {input, target}, or chats whose assistant turns are learned"

    private let examples: [TrainingBatch.Example]
    private let dropout: TokenDropout
    public let longestSequence: Int

    public var itemCount: Int { examples.count }

    /// - Parameters:
    ///   - labels: learn the answer's first token among these labels' first tokens; empty learns it among all tokens. Labels
    ///     that begin with the same token make this impossible.
    ///   - tokenDropout: fraction of an input's own tokens left out, others each time.
    /// - Throws: `TuningError` naming a row without text, or labels that cannot be told apart by their first tokens.
    public init(
        rows: [Example], encoder: ExampleEncoder, labels: [String] = [], tokenDropout: Double = 0, seed: UInt64 = 0
    ) throws {
        var examples = try rows.map { try encoder.encode($0) }
        if !labels.isEmpty {
            let firsts = try encoder.firstTokens(ofLabels: labels)
            examples = examples.map { Self.restricted($0, to: firsts) }
        }
        self.init(examples, tokenDropout: tokenDropout, seed: seed)
    }

    /// Sequences that are encoded already, such as chats with a mask.
    public init(_ examples: [TrainingBatch.Example], tokenDropout: Double = 0, seed: UInt64 = 0) {
        self.examples = examples
        dropout = TokenDropout(examples: examples, rate: tokenDropout, seed: seed)
        longestSequence = examples.map(\.tokens.count).max() ?? 0
    }

    public func batch(_ items: [Int], step: Int) -> TrainingBatch {
        TrainingBatch(
            items.enumerated().map { place, index in dropout.apply(to: examples[index], step: step, place: place) })
    }

    private static func restricted(_ example: TrainingBatch.Example, to labels: [Int]) -> TrainingBatch.Example {
        guard let first = example.targets.first, case .token(let id) = first.target,
            let index = labels.firstIndex(of: id)
        else { return example }
        var targets = example.targets
        targets[0] = .init(position: first.position, target: .choice(index, among: labels), weight: first.weight)
        return TrainingBatch.Example(tokens: example.tokens, targets: targets)
    }
}
