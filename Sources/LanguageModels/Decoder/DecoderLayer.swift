import Kernels
import Layers

/// A matrix of the file with the bias that may belong to it.
struct Projection: Sendable {
    let weight: FrozenTensor
    let bias: FloatBuffer?

    var rows: Int { weight.rows }
    var columns: Int { weight.columns }

    /// Adds the bias to one row of outputs.
    func addBias(_ row: UnsafeMutablePointer<Float>) {
        if let bias { VectorMath.add(bias.pointer, into: row, count: rows) }
    }
}

/// One feed-forward network: a layer's only one, an expert, or the expert that all tokens share.
struct FeedForward: Sendable {
    /// Nil in networks without a gate.
    let gate: Projection?
    let up: Projection
    let down: Projection
    let activation: ActivationFunction

    var innerSize: Int { up.rows }
    /// Matrices that read the input: gate and up, or up alone.
    var inputs: [Projection] { gate.map { [$0, up] } ?? [up] }
    var projections: [Projection] { inputs + [down] }

    /// The activated product of one row: `inputs` holds gate and up one behind the other, before their biases, which
    /// are added in place.
    func activate(_ inputs: UnsafeMutablePointer<Float>, into out: UnsafeMutablePointer<Float>) {
        let size = innerSize
        guard let gate else {
            up.addBias(inputs)
            activation.forward(gate: inputs, up: nil, into: out, count: size)
            return
        }
        gate.addBias(inputs)
        up.addBias(inputs + size)
        activation.forward(gate: inputs, up: inputs + size, into: out, count: size)
    }

    /// The gradient of `activate` with respect to the inputs, which include their biases.
    func activateBackward(
        _ inputs: UnsafePointer<Float>, dOut: UnsafePointer<Float>, into dInputs: UnsafeMutablePointer<Float>
    ) {
        let size = innerSize
        let hasGate = gate != nil
        activation.backward(
            gate: inputs, up: hasGate ? inputs + size : nil, dOut: dOut, dGate: dInputs,
            dUp: hasGate ? dInputs + size : nil, count: size)
    }
}

/// The routed networks of a layer.
struct ExpertLayer: Sendable {
    /// One row an expert.
    let router: Projection
    let experts: [FeedForward]
    let shared: FeedForward?
    /// One row: how much of the shared expert a token gets, through a sigmoid.
    let sharedRouter: Projection?
}

/// The tensors of one layer where they lie in the file. What an architecture or a file does not have is nil.
struct DecoderLayer: Sendable {
    let attentionNorm: Normalization?
    let queries, keys, values, attentionOutput: Projection
    let queryNorm, keyNorm: HeadNormalization?
    let postAttentionNorm: Normalization?
    /// The norm in front of the feed-forward; in parallel layers it may be attention's.
    let feedForwardNorm: Normalization?
    /// Nil in layers with experts.
    let feedForward: FeedForward?
    let experts: ExpertLayer?
    let postFeedForwardNorm: Normalization?
    /// Whether the feed-forward reads the layer's input, not what attention made of it.
    let isParallel: Bool

    init(_ index: Int, _ c: DecoderConfiguration, _ loading: TensorLoading) throws {
        func name(_ part: DecoderTensorNames.Part) -> String { DecoderTensorNames.layer(index, part) }
        func norm(_ part: DecoderTensorNames.Part) throws -> Normalization {
            try loading.normalization(name(part), c.norm, epsilon: c.epsilon, count: c.hiddenSize)
        }
        attentionNorm = c.hasPreNorms ? try norm(.attentionNorm) : nil
        postAttentionNorm = c.hasPostNorms ? try norm(.postAttentionNorm) : nil
        postFeedForwardNorm = c.hasPostNorms ? try norm(.postFeedForwardNorm) : nil

        if c.fusesAttention {
            let all = try loading.projection(
                name(.queriesKeysValues), rows: c.queryWidth + 2 * c.keyWidth, columns: c.hiddenSize,
                requiresBias: c.requiresAttentionBias)
            queries = all.slice(0..<c.queryWidth)
            keys = all.slice(c.queryWidth..<c.queryWidth + c.keyWidth)
            values = all.slice(c.queryWidth + c.keyWidth..<c.queryWidth + 2 * c.keyWidth)
        } else {
            func part(_ part: DecoderTensorNames.Part, _ rows: Int) throws -> Projection {
                try loading.projection(
                    name(part), rows: rows, columns: c.hiddenSize, requiresBias: c.requiresAttentionBias)
            }
            queries = try part(.queries, c.queryWidth)
            keys = try part(.keys, c.keyWidth)
            values = try part(.values, c.keyWidth)
        }
        attentionOutput = try loading.projection(name(.attentionOutput), rows: c.hiddenSize, columns: c.queryWidth)

        func headNorm(_ part: DecoderTensorNames.Part, heads: Int) throws -> HeadNormalization? {
            let d = c.headDimension
            switch c.queryKeyNorm {
            case .none: return nil
            case .perHead:
                return HeadNormalization(
                    try loading.normalization(name(part), c.norm, epsilon: c.epsilon, count: d), parts: heads,
                    length: d)
            case .whole:
                return HeadNormalization(
                    try loading.normalization(name(part), c.norm, epsilon: c.epsilon, count: heads * d), parts: 1,
                    length: heads * d)
            case .perHeadOwnWeights:
                guard loading.has(name(part) + ".weight") else { return nil }
                return HeadNormalization(
                    try loading.normalization(
                        name(part), c.norm, epsilon: c.epsilon, count: heads * d, dimensions: [d, heads]),
                    parts: heads, length: d)
            }
        }
        queryNorm = try headNorm(.queryNorm, heads: c.headCount)
        keyNorm = try headNorm(.keyNorm, heads: c.keyValueHeadCount)

        switch c.residual {
        case .sequential: isParallel = false
        case .parallel: isParallel = true
        case .parallelWithoutSecondNorm: isParallel = !loading.has(name(.feedForwardNorm) + ".weight")
        }
        let sharesNorm = isParallel && !loading.has(name(.feedForwardNorm) + ".weight")
        feedForwardNorm = !c.hasPreNorms ? nil : sharesNorm ? attentionNorm : try norm(.feedForwardNorm)

        if let experts = c.experts {
            feedForward = nil
            self.experts = try ExpertLayer(name, c, experts, loading)
        } else {
            experts = nil
            feedForward = try Self.feedForward(name, c, loading)
        }
    }

    private static func feedForward(
        _ name: (DecoderTensorNames.Part) -> String, _ c: DecoderConfiguration, _ loading: TensorLoading
    ) throws -> FeedForward {
        let inner = c.feedForwardSize
        let down = try loading.projection(name(.down), rows: c.hiddenSize, columns: inner)
        func input(_ part: DecoderTensorNames.Part, _ rows: Int) throws -> Projection {
            try loading.projection(name(part), rows: rows, columns: c.hiddenSize)
        }
        switch c.gating {
        case .separate:
            return FeedForward(
                gate: try input(.gate, inner), up: try input(.up, inner), down: down, activation: c.activation)
        case .none: return FeedForward(gate: nil, up: try input(.up, inner), down: down, activation: c.activation)
        case .fused:
            let both = try input(.up, 2 * inner)
            return FeedForward(
                gate: both.slice(0..<inner), up: both.slice(inner..<2 * inner), down: down, activation: c.activation)
        }
    }

    /// Every matrix, for sums of sizes.
    var projections: [Projection] {
        let attention = [queries, keys, values, attentionOutput]
        guard let experts else { return attention + (feedForward?.projections ?? []) }
        return attention + experts.experts.flatMap(\.projections) + [experts.router]
            + (experts.shared?.projections ?? []) + (experts.sharedRouter.map { [$0] } ?? [])
    }
}

extension ExpertLayer {
    fileprivate init(
        _ name: (DecoderTensorNames.Part) -> String, _ c: DecoderConfiguration,
        _ settings: DecoderConfiguration.Experts, _ loading: TensorLoading
    ) throws {
        let width = c.hiddenSize, inner = settings.feedForwardSize
        router = try loading.projection(name(.router), rows: settings.count, columns: width)
        let gates = try loading.stack(name(.expertGates), count: settings.count, rows: inner, columns: width)
        let ups = try loading.stack(name(.expertUps), count: settings.count, rows: inner, columns: width)
        let downs = try loading.stack(name(.expertDowns), count: settings.count, rows: width, columns: inner)
        experts = (0..<settings.count).map {
            FeedForward(gate: gates[$0], up: ups[$0], down: downs[$0], activation: c.activation)
        }
        let sharedSize = settings.sharedFeedForwardSize
        guard sharedSize > 0 else {
            shared = nil
            sharedRouter = nil
            return
        }
        shared = FeedForward(
            gate: try loading.projection(name(.sharedGate), rows: sharedSize, columns: width),
            up: try loading.projection(name(.sharedUp), rows: sharedSize, columns: width),
            down: try loading.projection(name(.sharedDown), rows: width, columns: sharedSize),
            activation: c.activation)
        sharedRouter = try loading.projection(name(.sharedRouter), rows: 1, columns: width)
    }
}

extension Projection {
    /// A run of the rows with their biases.
    func slice(_ range: Range<Int>) -> Projection {
        Projection(
            weight: weight.slice(range),
            bias: bias.map {
                FloatBuffer(Array(UnsafeBufferPointer(start: $0.pointer + range.lowerBound, count: range.count)))
            })
    }
}
