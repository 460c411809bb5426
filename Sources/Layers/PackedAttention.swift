import Kernels

/// Which query rows see which key rows, for a batch of sequences packed end to end behind one shared prefix.
///
/// Every sequence of the batch sees all `prefixCount` virtual tokens and, causally, its own tokens; never another
/// sequence's. Nothing is padded: the cost is the number of tokens there are.
public struct AttentionPlan: Sendable {
    public struct Segment: Sendable {
        /// Query rows of this sequence, among all query rows.
        public let queries: Range<Int>
        /// Key rows of this sequence, among all own key rows.
        public let keys: Range<Int>
        /// Whether the sequence sees the shared prefix.
        public let seesPrefix: Bool
        /// First element of its block of attention weights, within one key-value head.
        fileprivate(set) var weightsOffset = 0

        public init(queries: Range<Int>, keys: Range<Int>, seesPrefix: Bool) {
            self.queries = queries
            self.keys = keys
            self.seesPrefix = seesPrefix
        }
    }

    public private(set) var segments: [Segment]
    /// Own keys visible to each query row: its index within its sequence plus one.
    public let visible: [Int]
    public let queryCount: Int
    public let keyCount: Int
    public let prefixCount: Int
    /// Floats that the attention weights of one key-value head take.
    public let weightsPerHead: Int

    /// First element of a sequence's block of attention weights, within one key-value head.
    public func offset(of segment: Segment) -> Int { segment.weightsOffset }

    /// The queries of another plan, which see `prefixCount` keys of a prefix and nothing else.
    public init(of other: AttentionPlan, seeingOnly prefixCount: Int, group: Int) {
        self.init(
            segments: other.segments.map { Segment(queries: $0.queries, keys: 0..<0, seesPrefix: true) },
            visible: [Int](repeating: 0, count: other.queryCount), keyCount: 0, prefixCount: prefixCount, group: group)
    }

    public init(segments: [Segment], visible: [Int], keyCount: Int, prefixCount: Int, group: Int) {
        var segments = segments
        var offset = 0
        for index in segments.indices {
            segments[index].weightsOffset = offset
            let width = (segments[index].seesPrefix ? prefixCount : 0) + segments[index].keys.count
            offset += segments[index].queries.count * group * width
        }
        self.segments = segments
        self.visible = visible
        self.keyCount = keyCount
        self.prefixCount = prefixCount
        queryCount = visible.count
        weightsPerHead = offset
    }
}

/// Grouped-query attention over packed sequences, forward and backward, in F32.
///
/// Shapes: queries and outputs `(keyValueHead, queryRow, groupHead, headDimension)`, keys and values
/// `(keyValueHead, keyRow, headDimension)`; so the rows of all query heads that share a key-value head form one matrix.
/// The prefix's keys may lie elsewhere (prefix tuning) or be the first key rows themselves (prompt tuning).
public struct PackedAttention: Sendable {
    public let keyValueHeadCount: Int
    /// Query heads per key-value head.
    public let group: Int
    public let headDimension: Int
    public let scale: Float
    /// Scores become cap · tanh(score / cap); 0 leaves them as they are.
    public let softCap: Float

    public init(keyValueHeadCount: Int, group: Int, headDimension: Int, scale: Float, softCap: Float = 0) {
        self.keyValueHeadCount = keyValueHeadCount
        self.group = group
        self.headDimension = headDimension
        self.scale = scale
        self.softCap = softCap
    }

    /// The shared prefix: `(keyValueHead, prefixRow, headDimension)` with `headStride` elements between heads.
    public struct Prefix {
        public let keys: UnsafePointer<Float>
        public let values: UnsafePointer<Float>
        public let headStride: Int

        public init(keys: UnsafePointer<Float>, values: UnsafePointer<Float>, headStride: Int) {
            self.keys = keys
            self.values = values
            self.headStride = headStride
        }
    }

    /// Where the prefix's gradient is added; same layout as `Prefix`.
    public struct PrefixGradient {
        public let keys: UnsafeMutablePointer<Float>
        public let values: UnsafeMutablePointer<Float>
        public let headStride: Int

        public init(keys: UnsafeMutablePointer<Float>, values: UnsafeMutablePointer<Float>, headStride: Int) {
            self.keys = keys
            self.values = values
            self.headStride = headStride
        }
    }

    /// softmax(scale · q·kᵀ)·v. `weights` keeps the softmax for `backward`: `keyValueHeadCount * plan.weightsPerHead`.
    ///
    /// - Parameters:
    ///   - window: a query sees the `window` positions up to its own only; 0 means all.
    ///   - slopes: of the size of `weights`; gets the derivative of the soft cap. Needed when there is one.
    public func forward(
        _ plan: AttentionPlan, queries: UnsafePointer<Float>, keys: UnsafePointer<Float>,
        values: UnsafePointer<Float>, prefix: Prefix?, window: Int = 0, weights: UnsafeMutablePointer<Float>,
        slopes: UnsafeMutablePointer<Float>? = nil, output: UnsafeMutablePointer<Float>, pool: ThreadPool
    ) {
        let d = headDimension
        pool.parallelFor(keyValueHeadCount * plan.segments.count) { task in
            let head = task / plan.segments.count
            let segment = plan.segments[task % plan.segments.count]
            let prefixCount = segment.seesPrefix ? plan.prefixCount : 0
            let width = prefixCount + segment.keys.count
            let rows = segment.queries.count * group
            guard rows > 0 else { return }
            let firstQuery = (head * plan.queryCount + segment.queries.lowerBound) * group * d
            let ownKeys = (head * plan.keyCount + segment.keys.lowerBound) * d
            let q = queries + firstQuery
            let w = weights + head * plan.weightsPerHead + segment.weightsOffset
            let o = output + firstQuery
            if prefixCount > 0, let prefix {
                FloatProduct.sgemm(
                    false, true, rows, prefixCount, d, scale, q, d, prefix.keys + head * prefix.headStride, d, 0, w,
                    width)
            }
            FloatProduct.sgemm(
                false, true, rows, segment.keys.count, d, scale, q, d, keys + ownKeys, d, 0, w + prefixCount, width)
            for row in 0..<rows {
                let seen = prefixCount + plan.visible[segment.queries.lowerBound + row / group]
                let line = w + row * width
                // Columns are positions: those below `first` lie before the window.
                let first = window > 0 ? max(0, seen - window) : 0
                if softCap > 0 {
                    let slope = slopes.map { $0 + head * plan.weightsPerHead + segment.weightsOffset + row * width }
                    VectorMath.softCap(line, cap: softCap, slope: slope, count: width)
                }
                for column in 0..<first { line[column] = 0 }
                VectorMath.softmax(line + first, count: seen - first)
                for column in seen..<width { line[column] = 0 }
            }
            if prefixCount > 0, let prefix {
                FloatProduct.sgemm(
                    false, false, rows, d, prefixCount, 1, w, width, prefix.values + head * prefix.headStride, d, 0, o,
                    d)
            }
            FloatProduct.sgemm(
                false, false, rows, d, segment.keys.count, 1, w + prefixCount, width, values + ownKeys, d,
                prefixCount > 0 ? 1 : 0, o, d)
        }
    }

    /// Gradients of `forward`. `dOutput` has the queries' layout. dQueries, dKeys and dValues are overwritten;
    /// `prefixGradient` is added to. `dWeights` is scratch of the size of `weights`.
    ///
    /// With a = softmax weights and dA = dO·vᵀ: dS = a ∘ (dA − Σ a∘dA) · scale, dQ = dS·k, dK = dSᵀ·q, dV = aᵀ·dO.
    /// The prefix's share is summed over all sequences of the batch in a second phase, in a fixed order.
    public func backward(
        _ plan: AttentionPlan, queries: UnsafePointer<Float>, keys: UnsafePointer<Float>,
        values: UnsafePointer<Float>, prefix: Prefix?, weights: UnsafePointer<Float>,
        slopes: UnsafePointer<Float>? = nil,
        dOutput: UnsafePointer<Float>, dWeights: UnsafeMutablePointer<Float>,
        dQueries: UnsafeMutablePointer<Float>, dKeys: UnsafeMutablePointer<Float>,
        dValues: UnsafeMutablePointer<Float>, prefixGradient: PrefixGradient?, pool: ThreadPool
    ) {
        let d = headDimension
        pool.parallelFor(keyValueHeadCount * plan.segments.count) { task in
            let head = task / plan.segments.count
            let segment = plan.segments[task % plan.segments.count]
            let prefixCount = segment.seesPrefix ? plan.prefixCount : 0
            let own = segment.keys.count
            let width = prefixCount + own
            let rows = segment.queries.count * group
            let firstQuery = (head * plan.queryCount + segment.queries.lowerBound) * group * d
            let ownKeys = (head * plan.keyCount + segment.keys.lowerBound) * d
            guard rows > 0 else {
                (dKeys + ownKeys).update(repeating: 0, count: own * d)
                (dValues + ownKeys).update(repeating: 0, count: own * d)
                return
            }
            let q = queries + firstQuery
            let dO = dOutput + firstQuery
            let dQ = dQueries + firstQuery
            let block = head * plan.weightsPerHead + segment.weightsOffset
            let w = weights + block
            let dW = dWeights + block
            if prefixCount > 0, let prefix {
                FloatProduct.sgemm(
                    false, true, rows, prefixCount, d, 1, dO, d, prefix.values + head * prefix.headStride, d, 0, dW,
                    width)
            }
            FloatProduct.sgemm(
                false, true, rows, own, d, 1, dO, d, values + ownKeys, d, 0, dW + prefixCount, width)
            for row in 0..<rows {
                let line = dW + row * width
                VectorMath.softmaxBackward(p: w + row * width, dP: line, dS: line, count: width, scale: scale)
                guard softCap > 0, let slopes else { continue }
                let slope = slopes + block + row * width
                for column in 0..<width { line[column] *= slope[column] }
            }
            if prefixCount > 0, let prefix {
                FloatProduct.sgemm(
                    false, false, rows, d, prefixCount, 1, dW, width, prefix.keys + head * prefix.headStride, d, 0, dQ,
                    d)
            }
            FloatProduct.sgemm(
                false, false, rows, d, own, 1, dW + prefixCount, width, keys + ownKeys, d, prefixCount > 0 ? 1 : 0, dQ,
                d)
            FloatProduct.sgemm(
                true, false, own, d, rows, 1, dW + prefixCount, width, q, d, 0, dKeys + ownKeys, d)
            FloatProduct.sgemm(
                true, false, own, d, rows, 1, w + prefixCount, width, dO, d, 0, dValues + ownKeys, d)
        }
        guard plan.prefixCount > 0, let prefixGradient else { return }
        pool.parallelFor(keyValueHeadCount * 2) { task in
            let head = task / 2
            let isKey = task % 2 == 0
            let source = isKey ? UnsafePointer(dWeights) : weights
            let right = isKey ? queries : dOutput
            let target = (isKey ? prefixGradient.keys : prefixGradient.values) + head * prefixGradient.headStride
            for segment in plan.segments where segment.seesPrefix && !segment.queries.isEmpty {
                let width = plan.prefixCount + segment.keys.count
                FloatProduct.sgemm(
                    true, false, plan.prefixCount, d, segment.queries.count * group, 1,
                    source + head * plan.weightsPerHead + segment.weightsOffset, width,
                    right + (head * plan.queryCount + segment.queries.lowerBound) * group * d, d, 1, target, d)
            }
        }
    }
}
