import Foundation
import Kernels
import LanguageModels
import PromptTuning
import SoftPrompts
import Tokenization

/// What can be said about each virtual token of a prompt: the words it is nearest to, its size, the attention it gets, and
/// what the loss would be without it.
///
/// Nearness is a hint, not a meaning: trained vectors leave the places where words lie (arXiv 2502.15836), which is why the
/// cosine stands beside each word. What a virtual token does shows in attention and ablation.
public struct PromptExplanation: Sendable, Codable {
    public struct Neighbour: Sendable, Codable {
        public let token: Int
        public let text: String
        public let cosine: Double
    }

    public struct VirtualToken: Sendable, Codable {
        public let index: Int
        /// Vocabulary tokens by cosine: of embeddings, or of the first layer's values for a prefix.
        public let nearest: [Neighbour]
        /// Root mean square of the embedding, or of the values over all layers.
        public let size: Double
        /// The same of the keys; nil at the input.
        public let keySize: Double?
        /// Mean share of attention it gets from real tokens, over layers, heads and positions; nil without rows.
        public let attention: Double?
        /// Loss without it minus loss with it, nats; nil without rows.
        public let ablation: Double?
    }

    public let tokens: [VirtualToken]
    /// Root mean square of the vocabulary's vectors in the space of `nearest`.
    public let vocabularySize: Double
    /// Loss on the rows with the whole prompt, and without any.
    public let loss, bareLoss: Double?
    /// Share of attention that all virtual tokens get together.
    public let attention: Double?

    /// - Parameters:
    ///   - values: virtual tokens in the placement's layout.
    ///   - rows: encoded examples to look at; empty leaves attention and ablation out.
    /// - Throws: `ModelError.invalidInput` for adaption prompts.
    public init(
        values: [Float], count: Int, placement: SoftPrompt.Placement, rows: [TrainingBatch.Example],
        loaded: LoadedModel, graph: any DifferentiableModel, neighbours: Int = 5
    ) throws {
        guard placement != .adaptionPrompt else {
            throw ModelError(
                .invalidInput,
                "the rows of an adaption prompt stand beside the context, others in each layer, and have no nearest words; "
                    + "what can be explained are prompts at the input and prefixes")
        }
        let shape = loaded.model.shape
        let (own, width) = Self.vectors(values, count: count, placement: placement, shape: shape)
        let ids = Array(0..<loaded.tokenizer.vocabularyCount)
        let vocabulary = try Self.vocabulary(ids, placement: placement, loaded: loaded, graph: graph)
        let nearest = Self.nearest(own, to: vocabulary, width: width, count: neighbours, pool: loaded.model.pool)
        var attention: [Double]?
        var ablation: [Double]?
        var loss: Double?
        var bare: Double?
        if !rows.isEmpty {
            let batch = TrainingBatch(rows)
            func score(_ values: [Float], _ count: Int) throws -> Double {
                if count == 0 { return try graph.loss(of: batch, prompt: .none, gradient: nil).loss }
                return try values.withUnsafeBufferPointer {
                    try graph.loss(of: batch, prompt: Self.view($0.baseAddress!, count, placement), gradient: nil).loss
                }
            }
            attention = try Self.attention(values, count: count, placement: placement, batch: batch, graph: graph)
            let whole = try score(values, count)
            loss = whole
            bare = try score([], 0)
            ablation = try (0..<count).map { token in
                try score(
                    Self.removing(token, from: values, count: count, placement: placement, shape: shape), count - 1)
                    - whole
            }
        }
        let sizes = Self.sizes(values, count: count, placement: placement, shape: shape)
        tokens = (0..<count).map { token in
            VirtualToken(
                index: token,
                nearest: nearest[token].map {
                    Neighbour(
                        token: $0.id, text: loaded.tokenizer.decode([$0.id], skipSpecial: false), cosine: $0.cosine)
                }, size: sizes[token].size, keySize: sizes[token].keys, attention: attention?[token],
                ablation: ablation?[token])
        }
        vocabularySize = Self.rootMeanSquare(vocabulary[...])
        self.loss = loss
        bareLoss = bare
        self.attention = attention.map { $0.reduce(0, +) }
    }

    // MARK: - Parts

    private static func view(
        _ values: UnsafePointer<Float>, _ count: Int, _ placement: SoftPrompt.Placement
    ) -> PromptView {
        placement == .keysAndValues ? .keysAndValues(values, count: count) : .embeddings(values, count: count)
    }

    /// The vectors that are compared with words, `(token, width)`.
    private static func vectors(
        _ values: [Float], count: Int, placement: SoftPrompt.Placement, shape: DecoderShape
    ) -> ([Float], Int) {
        guard placement == .keysAndValues else { return (values, shape.hiddenSize) }
        let d = shape.headDimension, heads = shape.keyValueHeadCount
        var result: [Float] = []
        for token in 0..<count {
            for head in 0..<heads {
                let start = ((heads + head) * count + token) * d  // layer 0, values
                result += values[start..<start + d]
            }
        }
        return (result, heads * d)
    }

    private static func vocabulary(
        _ ids: [Int], placement: SoftPrompt.Placement, loaded: LoadedModel, graph: any DifferentiableModel
    ) throws -> [Float] {
        if placement == .keysAndValues { return try graph.firstLayerValues(of: ids) }
        let width = loaded.model.shape.hiddenSize
        var result = [Float](repeating: 0, count: ids.count * width)
        result.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            loaded.model.pool.parallelFor((ids.count + 255) / 256) { group in
                for row in group * 256..<min((group + 1) * 256, ids.count) {
                    loaded.model.embedding(of: ids[row], into: base + row * width)
                }
            }
        }
        return result
    }

    private static func nearest(
        _ vectors: [Float], to vocabulary: [Float], width: Int, count: Int, pool: ThreadPool
    ) -> [[(id: Int, cosine: Double)]] {
        func norms(_ rows: [Float]) -> [Float] {
            rows.withUnsafeBufferPointer { buffer in
                (0..<rows.count / width).map { row in
                    let start = buffer.baseAddress! + row * width
                    return max(VectorMath.dot(start, start, count: width).squareRoot(), .leastNormalMagnitude)
                }
            }
        }
        let sizes = norms(vocabulary), own = norms(vectors)
        return (0..<vectors.count / width).map { token in
            var best: [(id: Int, cosine: Double)] = []
            vectors.withUnsafeBufferPointer { vectors in
                vocabulary.withUnsafeBufferPointer { vocabulary in
                    let vector = vectors.baseAddress! + token * width
                    for id in sizes.indices {
                        let dot = VectorMath.dot(vector, vocabulary.baseAddress! + id * width, count: width)
                        let cosine = Double(dot) / (Double(sizes[id]) * Double(own[token]))
                        if best.count == count, cosine <= best[count - 1].cosine { continue }
                        let place = best.firstIndex { $0.cosine < cosine } ?? best.count
                        best.insert((id, cosine), at: place)
                        if best.count > count { best.removeLast() }
                    }
                }
            }
            return best
        }
    }

    private static func attention(
        _ values: [Float], count: Int, placement: SoftPrompt.Placement, batch: TrainingBatch,
        graph: any DifferentiableModel
    ) throws -> [Double] {
        var sums = [Double](repeating: 0, count: count)
        var queries = 0
        try values.withUnsafeBufferPointer {
            try graph.observePrefix(of: batch, prompt: view($0.baseAddress!, count, placement)) { observation in
                for head in 0..<observation.keyValueHeadCount {
                    observation.forEachQuery(head: head) { _, weights in
                        queries += 1
                        for token in 0..<count { sums[token] += Double(weights[token]) }
                    }
                }
            }
        }
        return sums.map { $0 / Double(max(queries, 1)) }
    }

    /// The prompt without one of its tokens.
    private static func removing(
        _ token: Int, from values: [Float], count: Int, placement: SoftPrompt.Placement, shape: DecoderShape
    ) -> [Float] {
        let width = placement == .keysAndValues ? shape.headDimension : shape.hiddenSize
        let planes = values.count / (count * width)
        var result: [Float] = []
        result.reserveCapacity(values.count)
        for plane in 0..<planes {
            for other in 0..<count where other != token {
                let start = (plane * count + other) * width
                result += values[start..<start + width]
            }
        }
        return result
    }

    private static func sizes(
        _ values: [Float], count: Int, placement: SoftPrompt.Placement, shape: DecoderShape
    ) -> [(size: Double, keys: Double?)] {
        let width = placement == .keysAndValues ? shape.headDimension : shape.hiddenSize
        let planes = values.count / (count * width), heads = shape.keyValueHeadCount
        return (0..<count).map { token in
            var squares = [0.0, 0.0]
            for plane in 0..<planes {
                let kind = placement == .keysAndValues ? plane / heads % 2 : 1
                let start = (plane * count + token) * width
                for index in start..<start + width { squares[kind] += Double(values[index]) * Double(values[index]) }
            }
            let floats = Double(planes * width) / (placement == .keysAndValues ? 2 : 1)
            return (
                (squares[1] / floats).squareRoot(),
                placement == .keysAndValues ? (squares[0] / floats).squareRoot() : nil
            )
        }
    }

    private static func rootMeanSquare(_ values: ArraySlice<Float>) -> Double {
        (values.reduce(0) { $0 + Double($1) * Double($1) } / Double(max(values.count, 1))).squareRoot()
    }
}
