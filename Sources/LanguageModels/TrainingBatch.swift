/// The likeliest tokens a teacher expects at one position, and how probable it finds them.
///
/// What is left of one is the tail: all other tokens together, as one further outcome.
public struct TokenDistribution: Sendable, Equatable {
    /// Token ids, likeliest first, each once.
    public let tokens: [Int32]
    /// The teacher's probability of each; together at most 1.
    public let probabilities: [Float]

    public init(tokens: [Int32], probabilities: [Float]) {
        precondition(tokens.count == probabilities.count, "each token has one probability")
        self.tokens = tokens
        self.probabilities = probabilities
    }

    /// What all other tokens have together.
    public var tail: Float { max(0, 1 - probabilities.reduce(0, +)) }
}

/// Sequences to learn from, and where in them the loss counts.
public struct TrainingBatch: Sendable {
    /// What the model should say at one position.
    public enum Target: Sendable, Equatable {
        /// This token, among all: cross-entropy over the vocabulary.
        case token(Int)
        /// The token `among[index]`, among these only: classification restricted to labels.
        case choice(Int, among: [Int])
        /// As a teacher would: Kullback-Leibler divergence over its likeliest tokens and the tail.
        case distribution(TokenDistribution)
    }

    /// A target and its place.
    public struct PositionedTarget: Sendable, Equatable {
        /// Index of the predicted token within the example's tokens; the logits are those of the token before.
        public let position: Int
        public let target: Target
        /// How much it counts beside the batch's other targets.
        public var weight: Float

        public init(position: Int, target: Target, weight: Float = 1) {
            self.position = position
            self.target = target
            self.weight = weight
        }
    }

    public struct Example: Sendable {
        /// Context and target, in order.
        public let tokens: [Int]
        /// In ascending order of position. A position of 0 counts only where virtual tokens at the input predict it.
        public var targets: [PositionedTarget]
        /// What enters the batch's first layer, one row for each token before the last target: `(row, hiddenSize)`. Nil
        /// where that is layer 0.
        public var activations: [Float]?

        public init(tokens: [Int], targets: [PositionedTarget]) {
            self.tokens = tokens
            self.targets = targets
        }

        /// Every token from `targetStart` on carries loss. At least 1, unless virtual tokens at the input predict the
        /// first token.
        public init(tokens: [Int], targetStart: Int) {
            self.tokens = tokens
            targets = (min(targetStart, tokens.count)..<tokens.count).map {
                PositionedTarget(position: $0, target: .token(tokens[$0]))
            }
        }

        /// Index of the first token that carries loss.
        public var targetStart: Int { targets.first?.position ?? tokens.count }
    }

    /// How the losses of a batch's targets become one number, where it is not their weighted mean.
    public struct Weighing: Sendable {
        public let loss: Double
        /// The derivative of `loss` by each target's loss.
        public let factors: [Float]

        public init(loss: Double, factors: [Float]) {
            self.loss = loss
            self.factors = factors
        }
    }

    public let examples: [Example]
    /// The layer at which the computation begins, from the examples' activations; 0 begins at the tokens.
    public var firstLayer = 0
    /// Called with the loss of every target, in the order of the examples and their targets; nil takes the mean by weight.
    public var weighing: (@Sendable ([Float]) -> Weighing)?

    public init(_ examples: [Example], weighing: (@Sendable ([Float]) -> Weighing)? = nil) {
        self.examples = examples
        self.weighing = weighing
    }

    /// The same batch computed from its tokens: without activations, which belong to one prompt.
    public var fromTokens: TrainingBatch {
        guard firstLayer > 0 else { return self }
        let plain = examples.map { example in
            var example = example
            example.activations = nil
            return example
        }
        return TrainingBatch(plain, weighing: weighing)
    }

    /// Positions that carry loss behind a prefix.
    public var targetCount: Int { examples.reduce(0) { $0 + $1.targets.count { $0.position >= 1 } } }
}
