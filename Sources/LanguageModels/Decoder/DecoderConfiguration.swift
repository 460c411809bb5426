import Kernels
import Layers

/// Everything that tells one decoder architecture from another, as values: `DecoderModel` computes it for inference,
/// `DecoderGraph` with gradients.
///
/// ```
/// x = embed(token) · embeddingScale;  x = x · inputScale (+ position)
/// each layer:
///   h = preNorm(x);  q, k, v = h·W (+ b);  q, k = queryKeyNorm(q, k);  rotate(q, k)
///   a = softmax(softCap(scale · q·kᵀ) in window)·v;  a = postNorm(a·W + b)
///   sequential:  x = x + a · residualScale;  f = postNorm(ffn(preNorm(x)));  x = x + f · residualScale
///   parallel:    x = x + a · residualScale + ffn(preNorm(x)) · residualScale
/// logits = softCap(norm(x)·W · logitScale)
/// ```
///
/// The defaults are llama's. An architecture sets what differs, from its file's metadata.
public struct DecoderConfiguration: Sendable {
    /// Which part of queries and keys is normalised before rotation.
    public enum QueryKeyNorm: Sendable, Hashable {
        case none
        /// Every head, all with the same weights.
        case perHead
        /// The heads of a token at once.
        case whole
        /// Every head with weights of its own; only where the file has them.
        case perHeadOwnWeights
    }

    /// How a feed-forward network is gated.
    public enum Gating: Sendable, Hashable {
        /// f(gate) · up, from two matrices.
        case separate
        /// The same, gate's rows first in the matrix `ffn_up`.
        case fused
        /// f(up).
        case none
    }

    /// Whether attention and feed-forward read the same input.
    public enum Residual: Sendable, Hashable {
        case sequential, parallel
        /// Parallel in layers without a norm of their own for the feed-forward, which then shares attention's.
        case parallelWithoutSecondNorm
    }

    /// Routed feed-forward networks.
    public struct Experts: Sendable {
        public let count: Int
        /// Experts that compute each token.
        public let usedCount: Int
        public let feedForwardSize: Int
        /// Whether the weights of the chosen experts are divided by their sum.
        public let normalizesWeights: Bool
        /// What the weights are multiplied by last.
        public let weightScale: Float
        /// Width of an expert that every token uses, times the sigmoid of a gate of its own; 0 without one.
        public let sharedFeedForwardSize: Int
    }

    /// `general.architecture`.
    public let architecture: String
    public let layerCount: Int
    public let hiddenSize: Int
    public let feedForwardSize: Int
    public let headCount: Int
    public let keyValueHeadCount: Int
    public let headDimension: Int
    public let vocabularySize: Int
    public let contextLength: Int

    public let norm: Normalization.Kind
    public let epsilon: Float
    /// Norms in front of attention and feed-forward.
    public var hasPreNorms = true
    /// Norms behind attention and feed-forward, before the residual sum.
    public var hasPostNorms = false
    public var queryKeyNorm = QueryKeyNorm.none

    /// Query, key and value rows lie in one tensor, in this order.
    public var fusesAttention = false
    /// Query, key and value biases must exist; elsewhere those that the file has are used.
    public var requiresAttentionBias = false
    public var attentionScale: Float
    /// 0: none.
    public var attentionSoftCap: Float = 0
    /// For each layer the positions a query sees, its own included; 0: all.
    public var windows: [Int]

    /// How positions turn queries and keys, one entry for each kind of layer.
    public var rotations: [RotarySettings]
    /// For each layer an index into `rotations`; nil: no rotation.
    public var layerRotations: [Int?]
    public var pairing = RotaryEmbedding.Pairing.interleaved
    /// A table of positions is added to the input.
    public var hasPositionTable = false

    public var activation = ActivationFunction.silu
    public var gating = Gating.separate
    public var experts: Experts?
    public var residual = Residual.sequential

    /// Multiplies the embedding table's rows; soft prompts are in the scaled space, as in Hugging Face's
    /// `inputs_embeds`.
    public var embeddingScale: Float = 1
    /// Multiplies whatever enters, soft prompts included.
    public var inputScale: Float = 1
    public var residualScale: Float = 1
    public var logitScale: Float = 1
    /// 0: none.
    public var logitSoftCap: Float = 0

    /// The dimensions the rest of the system sees.
    public var shape: DecoderShape {
        DecoderShape(
            architecture: architecture, layerCount: layerCount, hiddenSize: hiddenSize, headCount: headCount,
            keyValueHeadCount: keyValueHeadCount, headDimension: headDimension, vocabularySize: vocabularySize,
            contextLength: contextLength, interleavedRotary: pairing == .interleaved)
    }

    var queryWidth: Int { headCount * headDimension }
    var keyWidth: Int { keyValueHeadCount * headDimension }
}
