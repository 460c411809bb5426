import Foundation
import Kernels
import LanguageModels

/// The work of `AttentionMatching` for one layer and key-value head.
struct HeadMatching {
    private let d: Int
    private let count: Int
    private var newKeys: [Float]
    private var newValues: [Float]

    init(
        _ observation: PrefixObservation, head: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>,
        count: Int,
        settings: AttentionMatching
    ) {
        let d = observation.headDimension, tokens = observation.prefixCount
        self.d = d
        self.count = count
        let sample = Sample(observation, head: head, limit: settings.queryLimit)
        let scores = sample.scores(keys: keys, tokens: tokens)
        let clusters = Self.cluster(scores, sample: sample, tokens: tokens, count: count)
        newKeys = clusters.chosen.flatMap { token in (0..<d).map { keys[token * d + $0] } }
        newValues = Self.means(values, clusters: clusters, sample: sample, tokens: tokens, d: d)
        fitKeys(scores, clusters: clusters, sample: sample, tokens: tokens, ridge: settings.keyRidge)
        fitValues(values, sample: sample, tokens: tokens, ridge: settings.valueRidge)
    }

    func write(keys: UnsafeMutablePointer<Float>, values: UnsafeMutablePointer<Float>) {
        for index in newKeys.indices {
            keys[index] = newKeys[index]
            values[index] = newValues[index]
        }
    }

    /// The queries looked at and what they do with the prefix.
    private struct Sample {
        let d: Int
        let scale: Float
        /// `(query, headDimension)`.
        var queries: [Float] = []
        /// Softmax weights of the prefix, `(query, token)`; what is missing to 1 went to the query's own sequence.
        var weights: [Float] = []
        /// Σ of a query's weights: how much the prefix matters to it.
        var shares: [Float] = []
        var count: Int { shares.count }

        init(_ observation: PrefixObservation, head: Int, limit: Int) {
            d = observation.headDimension
            scale = observation.scale
            let tokens = observation.prefixCount
            let all = observation.rowCount * observation.group
            let step = max(1, (all + limit - 1) / max(limit, 1))
            let source = observation.queries(head: head)
            observation.forEachQuery(head: head) { query, row in
                guard query % step == 0 else { return }
                queries.append(contentsOf: UnsafeBufferPointer(start: source + query * d, count: d))
                weights.append(contentsOf: UnsafeBufferPointer(start: row, count: tokens))
                var share: Float = 0
                for token in 0..<tokens { share += row[token] }
                shares.append(share)
            }
        }

        /// Scores of keys, `(query, key)`.
        func scores(keys: UnsafePointer<Float>, tokens: Int) -> [Float] {
            var result = [Float](repeating: 0, count: count * tokens)
            result.withUnsafeMutableBufferPointer { out in
                queries.withUnsafeBufferPointer { queries in
                    guard count > 0, let out = out.baseAddress, let queries = queries.baseAddress else { return }
                    FloatProduct.sgemm(false, true, count, tokens, d, scale, queries, d, keys, d, 0, out, tokens)
                }
            }
            return result
        }
    }

    private struct Clusters {
        /// Token of each remaining key, the first token first.
        var chosen: [Int]
        /// Cluster of every token.
        var member: [Int]
    }

    /// Greedy choice of far and heavy keys; each token belongs to the chosen one whose scores are most like its own.
    private static func cluster(_ scores: [Float], sample: Sample, tokens: Int, count: Int) -> Clusters {
        var mass = [Double](repeating: 1e-9, count: tokens)
        for query in 0..<sample.count {
            for token in 0..<tokens { mass[token] += Double(sample.weights[query * tokens + token]) }
        }
        var nearest = [Float](repeating: .infinity, count: tokens)
        var member = [Int](repeating: 0, count: tokens)
        var chosen: [Int] = []
        var next = 0
        var distance = [Float](repeating: 0, count: tokens)
        while true {
            let place = chosen.count
            chosen.append(next)
            for token in 0..<tokens { distance[token] = 0 }
            for query in 0..<sample.count {
                let row = query * tokens
                let own = scores[row + next], share = sample.shares[query]
                for token in 0..<tokens {
                    let difference = scores[row + token] - own
                    distance[token] += share * difference * difference
                }
            }
            for token in 0..<tokens where distance[token] < nearest[token] {
                // The sink's mass would draw in whatever is not better placed elsewhere.
                if place == 0, token != 0 {
                    nearest[token] = distance[token] * 4
                } else {
                    nearest[token] = distance[token]
                }
                member[token] = place
            }
            if chosen.count == count { break }
            var best = -1.0
            for token in 0..<tokens where !chosen.contains(token) {
                let gain = mass[token] * Double(nearest[token])
                if gain > best {
                    best = gain
                    next = token
                }
            }
        }
        for (place, token) in chosen.enumerated() { member[token] = place }
        return Clusters(chosen: chosen, member: member)
    }

    /// Values of the clusters: means by attention mass.
    private static func means(
        _ values: UnsafePointer<Float>, clusters: Clusters, sample: Sample, tokens: Int, d: Int
    ) -> [Float] {
        var mass = [Float](repeating: 1e-9, count: tokens)
        for query in 0..<sample.count {
            for token in 0..<tokens { mass[token] += sample.weights[query * tokens + token] }
        }
        var totals = [Float](repeating: 0, count: clusters.chosen.count)
        var sums = [Float](repeating: 0, count: clusters.chosen.count * d)
        for token in 0..<tokens {
            let place = clusters.member[token]
            totals[place] += mass[token]
            for dimension in 0..<d { sums[place * d + dimension] += mass[token] * values[token * d + dimension] }
        }
        for place in totals.indices { for dimension in 0..<d { sums[place * d + dimension] /= totals[place] } }
        return sums
    }

    /// Changes each key so that it gets the mass of its cluster.
    private mutating func fitKeys(
        _ scores: [Float], clusters: Clusters, sample: Sample, tokens: Int, ridge: Double
    ) {
        guard sample.count > 0 else { return }
        var members = [[Int]](repeating: [], count: count)
        for token in 0..<tokens { members[clusters.member[token]].append(token) }
        var weighted = [Float](repeating: 0, count: sample.count * d)
        var products = [Float](repeating: 0, count: d * d + d)
        for place in 0..<count where members[place].count > 1 {
            let centre = clusters.chosen[place]
            // Weighted normal equations of δ: s·q·δ ≈ ln Σ exp(scores) − score of the chosen key.
            var missing = [Float](repeating: 0, count: sample.count)
            for query in 0..<sample.count {
                let row = query * tokens
                var largest = -Float.infinity
                var weight: Float = 1e-6
                for token in members[place] {
                    largest = max(largest, scores[row + token])
                    weight += sample.weights[row + token]
                }
                var sum: Float = 0
                for token in members[place] { sum += exp(scores[row + token] - largest) }
                let root = weight.squareRoot()
                missing[query] = root * (largest + log(sum) - scores[row + centre])
                for dimension in 0..<d {
                    weighted[query * d + dimension] = root * sample.scale * sample.queries[query * d + dimension]
                }
            }
            weighted.withUnsafeBufferPointer { left in
                products.withUnsafeMutableBufferPointer { out in
                    let left = left.baseAddress!, out = out.baseAddress!
                    FloatProduct.sgemm(true, false, d, d, sample.count, 1, left, d, left, d, 0, out, d)
                    missing.withUnsafeBufferPointer { missing in
                        FloatProduct.sgemm(
                            true, false, d, 1, sample.count, 1, left, d, missing.baseAddress!, 1, 0, out + d * d, 1)
                    }
                }
            }
            var gram = products[..<(d * d)].map { Double($0) }
            let right = products[(d * d)...].map { Double($0) }
            let trace = (0..<d).reduce(0) { $0 + gram[$1 * d + $1] } / Double(d)
            for a in 0..<d { gram[a * d + a] += ridge * trace + 1e-9 }
            guard let change = LinearSystem.solve(gram, right, size: d, columns: 1) else { continue }
            for dimension in 0..<d { newKeys[place * d + dimension] += Float(change[dimension]) }
        }
    }

    /// Values that give the prefix's output back: weighted least squares, pulled towards the clusters' means.
    private mutating func fitValues(_ values: UnsafePointer<Float>, sample: Sample, tokens: Int, ridge: Double) {
        guard sample.count > 0 else { return }
        var weights = newKeys.withUnsafeBufferPointer { sample.scores(keys: $0.baseAddress!, tokens: count) }
        var outputs = [Float](repeating: 0, count: sample.count * d)
        weights.withUnsafeMutableBufferPointer { weights in
            for query in 0..<sample.count {
                let row = weights.baseAddress! + query * count
                VectorMath.softmax(row, count: count)
                // Both sides times the share: an error matters as much as the prefix does.
                VectorMath.scale(row, by: sample.shares[query], count: count)
            }
        }
        sample.weights.withUnsafeBufferPointer { old in
            outputs.withUnsafeMutableBufferPointer { outputs in
                FloatProduct.sgemm(
                    false, false, sample.count, d, tokens, 1, old.baseAddress!, tokens, values, d, 0,
                    outputs.baseAddress!, d)
            }
        }
        var gram = [Float](repeating: 0, count: count * count)
        var right = [Float](repeating: 0, count: count * d)
        weights.withUnsafeBufferPointer { weights in
            gram.withUnsafeMutableBufferPointer { gram in
                FloatProduct.sgemm(
                    true, false, count, count, sample.count, 1, weights.baseAddress!, count, weights.baseAddress!,
                    count,
                    0, gram.baseAddress!, count)
            }
            outputs.withUnsafeBufferPointer { outputs in
                right.withUnsafeMutableBufferPointer { right in
                    FloatProduct.sgemm(
                        true, false, count, d, sample.count, 1, weights.baseAddress!, count, outputs.baseAddress!, d, 0,
                        right.baseAddress!, d)
                }
            }
        }
        var system = gram.map { Double($0) }
        var target = right.map { Double($0) }
        let strength = ridge * (0..<count).reduce(0) { $0 + system[$1 * count + $1] } / Double(count) + 1e-9
        for place in 0..<count {
            system[place * count + place] += strength
            for dimension in 0..<d {
                target[place * d + dimension] += strength * Double(newValues[place * d + dimension])
            }
        }
        guard let solved = LinearSystem.solve(system, target, size: count, columns: d) else { return }
        newValues = solved.map { Float($0) }
    }
}

/// Small dense systems.
enum LinearSystem {
    /// Solves A·X = B for symmetric positive definite A by Cholesky's decomposition.
    ///
    /// - Parameters:
    ///   - matrix: `(size, size)`.
    ///   - right: `(size, columns)`.
    /// - Returns: `(size, columns)`; nil when A is not positive definite in double precision.
    static func solve(_ matrix: [Double], _ right: [Double], size: Int, columns: Int) -> [Double]? {
        var lower = matrix
        for column in 0..<size {
            var diagonal = lower[column * size + column]
            for k in 0..<column { diagonal -= lower[column * size + k] * lower[column * size + k] }
            guard diagonal > 0, diagonal.isFinite else { return nil }
            let root = diagonal.squareRoot()
            lower[column * size + column] = root
            for row in column + 1..<max(size, column + 1) {
                var value = lower[row * size + column]
                for k in 0..<column { value -= lower[row * size + k] * lower[column * size + k] }
                lower[row * size + column] = value / root
            }
        }
        var x = right
        for row in 0..<size {
            for k in 0..<row {
                let factor = lower[row * size + k]
                for column in 0..<columns { x[row * columns + column] -= factor * x[k * columns + column] }
            }
            for column in 0..<columns { x[row * columns + column] /= lower[row * size + row] }
        }
        for row in stride(from: size - 1, through: 0, by: -1) {
            for k in row + 1..<max(size, row + 1) {
                let factor = lower[k * size + row]
                for column in 0..<columns { x[row * columns + column] -= factor * x[k * columns + column] }
            }
            for column in 0..<columns { x[row * columns + column] /= lower[row * size + row] }
        }
        return x
    }
}
