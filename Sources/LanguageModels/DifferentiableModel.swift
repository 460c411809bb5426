import Kernels
import Layers

/// The virtual tokens a differentiable forward pass starts from.
public enum PromptView {
    case none
    /// `(count, hiddenSize)`: rows at the input, positions 0 to count − 1.
    case embeddings(UnsafePointer<Float>, count: Int)
    /// `(layer, key|value, head, token, headDimension)`: what a cache holds; keys rotated, in the model's pairing.
    case keysAndValues(UnsafePointer<Float>, count: Int)
    /// `(count, layer, hiddenSize + 1)`: rows and, in the first token, the layers' gates; attended to apart from the context.
    case adaptionPrompt(UnsafePointer<Float>, count: Int)

    /// Positions that virtual tokens take.
    public var count: Int {
        switch self {
        case .none, .adaptionPrompt: 0
        case .embeddings(_, let count), .keysAndValues(_, let count): count
        }
    }
}

/// The outcome of a batch.
public struct BatchLoss: Sendable {
    /// Mean loss over targets by weight, in nats, or what the batch's own weighing made of them.
    public let loss: Double
    /// How many targets there were.
    public let targetCount: Int
    /// The loss of every target, in the order of the examples and their targets; 0 for a target that nothing predicts.
    public let losses: [Float]
    /// The likeliest token at every target; −1 for a target that nothing predicts. Empty where a gradient was asked for.
    public let predictions: [Int]
}

/// What the products of training with the frozen weights are computed in. Attention, norms and the output's logits are
/// F32 in any case; so is all that touches float weights.
public enum TrainingPrecision: String, Sendable, CaseIterable {
    /// Exact: the loss and the gradient are those of the float model.
    case float
    /// Forward as `int8`; the gradient's products exact.
    case int8Forward = "int8-forward"
    /// Activations rounded to int8 over packed weights, as at inference: faster, and the prompt learns on the numbers that
    /// will serve it. The gradient passes the rounding as if it were not there (straight-through), and is itself rounded
    /// to int8, with a scale for every 32 numbers of a row, before it meets weights of 65 levels.
    case int8

    /// Whether the forward products are of integers.
    var hasIntegerForward: Bool { self != .float }
}

/// A frozen model that can say how the loss changes with the prompt.
public protocol DifferentiableModel: AnyObject {
    var shape: DecoderShape { get }
    /// Bytes of float weights held.
    var residentByteCount: Int { get }
    /// Numbers of the products with the weights; F32 until set otherwise.
    var precision: TrainingPrecision { get set }

    /// Mean loss over the batch's targets and, if `gradient` is given, its gradient with respect to the prompt,
    /// which overwrites `gradient` (laid out as the prompt).
    ///
    /// - Throws: `ModelError.invalidInput` for ids outside the vocabulary or a batch without targets.
    func loss(
        of batch: TrainingBatch, prompt: PromptView, gradient: UnsafeMutablePointer<Float>?
    ) throws -> BatchLoss

    /// What enters `layer`, one run of rows for each example, as `TrainingBatch.Example.activations` takes them.
    ///
    /// - Parameter prompt: `.none` or `.keysAndValues`.
    /// - Throws: as `loss` does.
    func activations(of examples: [TrainingBatch.Example], prompt: PromptView, layer: Int) throws -> [[Float]]
}
