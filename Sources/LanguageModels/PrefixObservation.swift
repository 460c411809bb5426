import Kernels
import Layers

/// What a layer's attention makes of a prefix, for the rows of a batch: who asks, and what each virtual token gets.
public struct PrefixObservation {
    public let layer: Int
    public let keyValueHeadCount: Int
    /// Query heads per key-value head.
    public let group: Int
    public let headDimension: Int
    /// What scores are multiplied by before the softmax.
    public let scale: Float
    public let prefixCount: Int
    /// Rows with queries; in the last layer only those that carry loss.
    public let rowCount: Int
    fileprivate let plan: AttentionPlan
    fileprivate let queries: UnsafePointer<Float>
    fileprivate let weights: UnsafePointer<Float>

    /// Queries of one key-value head, rotated: `(row, group, headDimension)`, valid during the call.
    public func queries(head: Int) -> UnsafePointer<Float> { queries + head * rowCount * group * headDimension }

    /// Calls `body` for every query of a head with the softmax weights of the prefix, `prefixCount` of them.
    ///
    /// - Parameter query: row · group + place in the group.
    public func forEachQuery(head: Int, _ body: (_ query: Int, _ weights: UnsafePointer<Float>) -> Void) {
        for segment in plan.segments where segment.seesPrefix {
            let width = prefixCount + segment.keys.count
            let base = weights + head * plan.weightsPerHead + plan.offset(of: segment)
            for row in 0..<segment.queries.count * group {
                body(segment.queries.lowerBound * group + row, base + row * width)
            }
        }
    }
}

extension DifferentiableModel {
    /// Runs a batch behind a prefix and shows what each layer's attention does with it.
    ///
    /// - Parameters:
    ///   - prompt: `.keysAndValues`, or `.embeddings`, whose virtual tokens are then the prefix.
    ///   - body: called for each layer in order.
    /// - Throws: `ModelError.invalidInput` as `loss` does; `unsupportedArchitecture` for a model that cannot be watched.
    public func observePrefix(
        of batch: TrainingBatch, prompt: PromptView, _ body: (PrefixObservation) -> Void
    ) throws {
        guard let graph = self as? DecoderGraph else {
            throw ModelError(.unsupportedArchitecture, "the attention of this model cannot be watched")
        }
        try graph.observe(batch, prompt, body)
    }
}

extension DecoderGraph {
    func observe(_ batch: TrainingBatch, _ prompt: PromptView, _ body: (PrefixObservation) -> Void) throws {
        let packed = try runLayers(batch, prompt)
        for layer in 0..<c.layerCount {
            let plan = layer == c.layerCount - 1 ? packed.lastPlan : packed.plan
            body(
                PrefixObservation(
                    layer: layer, keyValueHeadCount: c.keyValueHeadCount, group: attention.group,
                    headDimension: c.headDimension, scale: c.attentionScale, prefixCount: prompt.count,
                    rowCount: plan.queryCount, plan: plan, queries: UnsafePointer(saved[layer].queries.pointer),
                    weights: UnsafePointer(saved[layer].attention.pointer)))
        }
    }
}

extension LanguageModel {
    /// Moves a prefix's keys to other positions: `(layer, key|value, head, token, headDimension)` as a cache holds them.
    ///
    /// What attention makes of rotary keys depends on distances only. A text's keys, moved back by what is left out, look to
    /// the tokens behind n virtual tokens as the whole text looked to those behind it. Layers without rotation keep theirs.
    ///
    /// - Parameter positions: how far towards the beginning; negative moves on.
    /// - Throws: `ModelError.unsupportedArchitecture` for a model whose rotation is not known here.
    public func movingKeys(_ prefix: [Float], tokens: Int, back positions: Int) throws -> [Float] {
        guard let decoder = self as? DecoderModel else {
            throw ModelError(.unsupportedArchitecture, "the keys of this model cannot be moved")
        }
        let c = decoder.configuration, d = c.headDimension
        let tables = decoder.rotations.map { $0.table(length: max(abs(positions), tokens) + 1) }
        var result = prefix
        result.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, positions != 0 else { return }
            for layer in 0..<c.layerCount {
                guard let rotation = c.layerRotations[layer].map({ tables[$0] }) else { continue }
                let keys = base + 2 * layer * c.keyValueHeadCount * tokens * d
                for row in 0..<c.keyValueHeadCount * tokens {
                    let key = keys + row * d
                    if positions > 0 {
                        rotation.backward(key, heads: 1, headDimension: d, position: positions)
                    } else {
                        rotation.forward(key, heads: 1, headDimension: d, position: -positions)
                    }
                    // The amplitude is in the key already.
                    if rotation.amplitude != 1 {
                        VectorMath.scale(key, by: Float(1 / rotation.amplitude), count: rotation.dimension)
                    }
                }
            }
        }
        return result
    }
}
