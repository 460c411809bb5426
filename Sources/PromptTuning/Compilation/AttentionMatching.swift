import Foundation
import Kernels
import LanguageModels

/// Shortens a prefix without gradients, so that attention notices little (Attention Matching, arXiv 2602.16284).
///
/// A text's keys and values stand in front of some sample sequences. For each layer and head, from what the samples'
/// queries do with them:
///
/// 1. n keys are chosen one by one: each time the one whose attention mass times distance to those chosen is largest.
///    Distance is that of scores over the sample queries. The first key, the attention sink, is always kept.
/// 2. Every other key joins the chosen one nearest to it. A cluster should get the mass that its members got together:
///    ln Σ exp(score). PEFT's layout has no place for a bias of scores, but queries have a large common part, so a change
///    of the key does it: ridge regression of the missing score on the queries.
/// 3. With the new weights, values are fitted by least squares so that the prefix's share of the output is what it was.
///
/// Keys are moved (`movingKeys`) so that distances to what follows stay what they were.
public struct AttentionMatching: Sendable {
    /// Ridge of the keys' regression, relative to the queries' mean square.
    public var keyRidge: Double = 0.05
    /// Ridge of the values' regression towards the cluster's mean value, relative to the mean weight.
    public var valueRidge: Double = 0.02
    /// At most this many sample queries a head; more are thinned out evenly.
    public var queryLimit = 1024

    public init() {}

    /// Shortens a prefix.
    ///
    /// - Parameters:
    ///   - prefix: `(layer, key|value, head, token, headDimension)`, keys at the positions they were computed at.
    ///   - count: virtual tokens that shall remain; with as many as there are the prefix stays as it is.
    ///   - samples: sequences as they may stand behind the prefix.
    /// - Throws: `ModelError` of the model; `TuningError.invalidSetting` for a count that is not 1…`tokens`.
    public func shorten(
        _ prefix: [Float], tokens: Int, to count: Int, samples: [TrainingBatch.Example], model: any LanguageModel,
        graph: any DifferentiableModel
    ) throws -> [Float] {
        guard count >= 1, count <= tokens else {
            throw TuningError(
                code: .invalidSetting,
                message: "a text of \(tokens) tokens cannot be made into \(count) virtual ones; ask for 1…\(tokens)")
        }
        guard count < tokens else { return prefix }
        let shape = model.shape
        let d = shape.headDimension, heads = shape.keyValueHeadCount
        var result = [Float](repeating: 0, count: count * shape.keyValueElementsPerToken)
        // The samples were computed behind all tokens; the keys that remain stand behind `count`.
        try prefix.withUnsafeBufferPointer { source in
            try result.withUnsafeMutableBufferPointer { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                try graph.observePrefix(
                    of: TrainingBatch(samples), prompt: .keysAndValues(from, count: tokens)
                ) { observation in
                    model.pool.parallelFor(heads) { head in
                        let keys = from + ((2 * observation.layer) * heads + head) * tokens * d
                        let values = from + ((2 * observation.layer + 1) * heads + head) * tokens * d
                        let work = HeadMatching(
                            observation, head: head, keys: keys, values: values, count: count, settings: self)
                        work.write(
                            keys: to + ((2 * observation.layer) * heads + head) * count * d,
                            values: to + ((2 * observation.layer + 1) * heads + head) * count * d)
                    }
                }
            }
        }
        return try model.movingKeys(result, tokens: count, back: tokens - count)
    }
}
