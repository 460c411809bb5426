import Kernels
import Layers

/// Sequences to learn from, and where in them the loss counts.
public struct TrainingBatch: Sendable {
    public struct Example: Sendable {
        /// Context and target, in order.
        public let tokens: [Int]
        /// Index of the first target token; every token from there on carries loss. At least 1, unless virtual tokens
        /// at the input predict the first token.
        public let targetStart: Int

        public init(tokens: [Int], targetStart: Int) {
            self.tokens = tokens
            self.targetStart = targetStart
        }
    }

    public let examples: [Example]

    public init(_ examples: [Example]) {
        self.examples = examples
    }

    /// Tokens that carry loss.
    public var targetCount: Int { examples.reduce(0) { $0 + max(0, $1.tokens.count - max($1.targetStart, 1)) } }
}

/// The virtual tokens a differentiable forward pass starts from.
public enum PromptView {
    case none
    /// `(count, hiddenSize)`: rows at the input, positions 0 to count − 1.
    case embeddings(UnsafePointer<Float>, count: Int)
    /// `(layer, key|value, head, token, headDimension)`: what a cache holds; keys rotated, in the model's pairing.
    case keysAndValues(UnsafePointer<Float>, count: Int)

    /// Number of virtual tokens.
    public var count: Int {
        switch self {
        case .none: 0
        case .embeddings(_, let count), .keysAndValues(_, let count): count
        }
    }
}

/// The outcome of a batch.
public struct BatchLoss: Sendable {
    /// Mean cross-entropy over target tokens, in nats.
    public let loss: Double
    /// How many target tokens there were.
    public let targetCount: Int
}

/// What the forward products of training are computed in. The backward pass is F32 in any case.
public enum ForwardPrecision: String, Sendable, CaseIterable {
    /// Exact: the loss is the one of the float model.
    case float
    /// Activations rounded to int8 over packed weights, as at inference: faster, and the prompt learns on the numbers that
    /// will serve it. The gradient passes the rounding as if it were not there (straight-through).
    case int8
}

/// A frozen model that can say how the loss changes with the prompt.
public protocol DifferentiableModel: AnyObject {
    var shape: DecoderShape { get }
    /// Bytes of float weights held.
    var residentByteCount: Int { get }
    /// Numbers of the forward products; F32 until set otherwise.
    var forwardPrecision: ForwardPrecision { get set }

    /// Mean loss over the batch's target tokens and, if `gradient` is given, its gradient with respect to the prompt,
    /// which overwrites `gradient` (laid out as the prompt).
    ///
    /// - Throws: `ModelError.invalidInput` for ids outside the vocabulary or a batch without targets.
    func loss(
        of batch: TrainingBatch, prompt: PromptView, gradient: UnsafeMutablePointer<Float>?
    ) throws -> BatchLoss
}
