import Foundation
import Kernels

/// The tokens that may still be drawn, with their logits: what a sampling step changes.
///
/// Begins as the whole vocabulary, in one array by id, where an edit of one token's logit costs one access. The first
/// step that removes tokens leaves a list of (logit, id) pairs. Nothing here sorts the whole vocabulary: the best are
/// found by a heap, or by sorting only what lies near the highest logit. A logit of minus infinity forbids a token; NaN
/// counts as that.
public struct Candidates: Sendable {
    /// A token and its logit.
    public struct Candidate: Sendable, Equatable {
        public var logit: Float
        public var id: Int32

        /// The order of likelihood: higher logits first, of equals the lower id.
        @inline(__always)
        static func precedes(_ a: Candidate, _ b: Candidate) -> Bool {
            a.logit > b.logit || (a.logit == b.logit && a.id < b.id)
        }
    }

    /// Logits by id, while nothing was removed.
    private var all: [Float] = []
    /// What is left, once something was removed.
    private var items: [Candidate] = []
    private var isWhole = false
    /// Whether `items` stand in the order of likelihood.
    private var isSorted = false
    /// Tokens forbidden by minus infinity that the list no longer holds; llama.cpp counts them as candidates.
    private var maskedCount = 0
    /// Tokens of the vocabulary.
    public private(set) var vocabularyCount = 0
    /// The token a step drew by itself (mirostat); no step after it is run.
    public var chosen: Int?

    public init() {}

    /// Begins with every token.
    public mutating func load(_ logits: UnsafeBufferPointer<Float>) {
        all.removeAll(keepingCapacity: true)
        all.append(contentsOf: logits)
        all.withUnsafeMutableBufferPointer { row in
            for id in row.indices where row[id].isNaN { row[id] = -.infinity }
        }
        items.removeAll(keepingCapacity: true)
        isWhole = true
        isSorted = false
        maskedCount = 0
        chosen = nil
        vocabularyCount = logits.count
    }

    /// Tokens left; those of minus infinity count too until a step removes them.
    public var count: Int { isWhole ? all.count : items.count + maskedCount }

    /// Calls `body` for every token left that is not forbidden.
    @inline(__always)
    public func forEach(_ body: (Candidate) -> Void) {
        if isWhole {
            all.withUnsafeBufferPointer { row in
                for id in row.indices where row[id] > -.infinity { body(Candidate(logit: row[id], id: Int32(id))) }
            }
        } else {
            for item in items { body(item) }
        }
    }

    /// What is left and not forbidden, in the present order.
    public var list: [Candidate] {
        var result: [Candidate] = []
        forEach { result.append($0) }
        return result
    }

    /// The highest logit; minus infinity when every token is forbidden.
    public var highest: Float {
        if isSorted, let first = items.first { return first.logit }
        var result = -Float.infinity
        forEach { result = max(result, $0.logit) }
        return result
    }

    /// The likeliest token, of equals the lowest id; nil when every token is forbidden.
    public var best: Int? {
        var result: Candidate?
        forEach { item in
            guard let best = result else { return result = item }
            if Candidate.precedes(item, best) { result = item }
        }
        return result.map { Int($0.id) }
    }

    /// log Σ exp(logit): what turns logits into log-probabilities.
    public var logNormalizer: Float {
        if isWhole {
            return all.withUnsafeBufferPointer { row in
                row.baseAddress.map { VectorMath.logSumExp($0, count: row.count) } ?? -.infinity
            }
        }
        let highest = highest
        guard highest.isFinite else { return highest }
        var sum = 0.0
        for item in items { sum += Double(exp(item.logit - highest)) }
        return highest + Float(log(sum))
    }

    /// −Σ p·ln p over what is left.
    public var entropy: Float {
        let normalizer = logNormalizer
        guard normalizer.isFinite else { return 0 }
        var sum = 0.0
        forEach { item in
            let logProbability = item.logit - normalizer
            sum -= Double(exp(logProbability) * logProbability)
        }
        return Float(sum)
    }

    // MARK: - Changing logits

    /// Replaces the logits of some tokens; ids that are not left, or outside the vocabulary, are passed over.
    public mutating func edit<Change>(_ changes: [Int: Change], _ body: (inout Float, Change) -> Void) {
        if changes.isEmpty { return }
        if isWhole {
            for (id, change) in changes where all.indices.contains(id) { body(&all[id], change) }
            return
        }
        for index in items.indices {
            if let change = changes[Int(items[index].id)] { body(&items[index].logit, change) }
        }
        isSorted = false
    }

    /// Replaces every logit.
    public mutating func map(_ body: (Float) -> Float) {
        if isWhole {
            for id in all.indices { all[id] = body(all[id]) }
        } else {
            for index in items.indices { items[index].logit = body(items[index].logit) }
        }
    }

    /// Forbids every token that `allowed` does not hold; bit `id % 64` of word `id / 64`.
    public mutating func mask(allowed: [UInt64]) {
        func isAllowed(_ id: Int) -> Bool { id >> 6 < allowed.count && allowed[id >> 6] >> (UInt64(id) & 63) & 1 != 0 }
        if isWhole {
            for id in all.indices where !isAllowed(id) { all[id] = -.infinity }
        } else {
            items.removeAll { !isAllowed(Int($0.id)) }
        }
    }

    // MARK: - Removing tokens

    /// Keeps tokens whose logit is at least `lowest`, and at least the likeliest.
    public mutating func keep(atLeast lowest: Float) {
        let limit = max(min(lowest, highest), -.greatestFiniteMagnitude)
        maskedCount = 0
        if isWhole { return materialize(from: limit) }
        items.removeAll { $0.logit < limit }
    }

    /// Keeps the tokens that fulfil a condition; all of them if none does.
    public mutating func keep(where condition: (Candidate) -> Bool) {
        if isWhole { materialize(from: -.greatestFiniteMagnitude) }
        let kept = items.filter(condition)
        if !kept.isEmpty { items = kept }
    }

    /// Keeps exactly these, in this order.
    mutating func keep(_ list: [Candidate], sorted: Bool) {
        items = list
        isWhole = false
        isSorted = sorted
        maskedCount = 0
    }

    /// Forbids tokens below `lowest` without removing them from `count`.
    mutating func forbid(below lowest: Float) {
        let total = count
        keep(atLeast: lowest)
        maskedCount = total - items.count
    }

    /// Keeps the `limit` likeliest tokens, in the order of likelihood.
    public mutating func keepTop(_ limit: Int) {
        precondition(limit > 0)
        let total = count
        if isSorted {
            if items.count > limit { items.removeSubrange(limit...) }
        } else if limit >= total || limit > 4096 {
            sort()
            if items.count > limit { items.removeSubrange(limit...) }
        } else {
            var heap = TopHeap(limit: limit)
            forEach { heap.offer($0) }
            items = heap.sorted()
            isWhole = false
            isSorted = true
        }
        maskedCount = min(limit, total) - items.count
    }

    /// The `limit` likeliest tokens in order, removing nothing.
    func top(_ limit: Int) -> [Candidate] {
        if isSorted { return Array(items.prefix(limit)) }
        var heap = TopHeap(limit: max(1, limit))
        forEach { heap.offer($0) }
        return heap.sorted()
    }

    /// Puts everything left into the order of likelihood.
    public mutating func sort() {
        if isSorted { return }
        let total = count
        if isWhole { materialize(from: -.greatestFiniteMagnitude) }
        maskedCount = total - items.count
        items.sort(by: Candidate.precedes)
        isSorted = true
    }

    /// Keeps the first tokens by `key` (ascending, of equals by likelihood) until `enough` says of their probabilities'
    /// sum that it suffices.
    ///
    /// Sorts only tokens below the first of `depths` that holds enough.
    mutating func keepLeading(
        by key: (_ logProbability: Float) -> Float, depths: [Float], sorted: Bool, until enough: (Double) -> Bool
    ) {
        let normalizer = logNormalizer
        guard normalizer.isFinite else { return }
        var keyed: [(key: Float, item: Candidate)] = []
        for depth in depths + [.infinity] {
            keyed.removeAll(keepingCapacity: true)
            forEach { item in
                let value = key(item.logit - normalizer)
                if value <= depth { keyed.append((value, item)) }
            }
            keyed.sort { $0.key < $1.key || ($0.key == $1.key && Candidate.precedes($0.item, $1.item)) }
            var sum = 0.0
            for (index, entry) in keyed.enumerated() {
                sum += Double(exp(entry.item.logit - normalizer))
                guard enough(sum) else { continue }
                return keep(keyed[...index].map(\.item), sorted: sorted)
            }
        }
        // Rounding kept the sum below what was asked: then all belong to it.
        if !keyed.isEmpty { keep(keyed.map(\.item), sorted: sorted) }
    }

    private mutating func materialize(from lowest: Float) {
        items.removeAll(keepingCapacity: true)
        all.withUnsafeBufferPointer { row in
            for id in row.indices where row[id] >= lowest { items.append(Candidate(logit: row[id], id: Int32(id))) }
        }
        isWhole = false
        isSorted = false
    }

    // MARK: - Drawing

    /// Draws one token by probability with a number in `0..<1`: the first whose cumulated share exceeds it.
    public func draw(_ uniform: Double) -> Int? {
        let highest = highest
        guard highest > -.infinity else { return nil }
        var sum = 0.0
        forEach { sum += Double(exp($0.logit - highest)) }
        let goal = uniform * sum
        var reached = 0.0
        var result: Int32?
        // The same terms in the same order, so that the whole sum is reached exactly.
        func visit(_ item: Candidate) -> Bool {
            let weight = Double(exp(item.logit - highest))
            guard weight > 0 else { return false }
            reached += weight
            result = item.id
            return reached > goal
        }
        if isWhole {
            for (id, logit) in all.enumerated() where logit > -.infinity {
                if visit(Candidate(logit: logit, id: Int32(id))) { break }
            }
        } else {
            for item in items where visit(item) { break }
        }
        return result.map(Int.init)
    }
}

/// The best of a stream of candidates: a heap with its worst on top, so that most are turned away by one comparison.
private struct TopHeap {
    let limit: Int
    private var items: [Candidates.Candidate] = []

    init(limit: Int) { self.limit = limit }

    @inline(__always)
    mutating func offer(_ item: Candidates.Candidate) {
        if items.count < limit {
            items.append(item)
            if items.count == limit {
                for parent in stride(from: limit / 2 - 1, through: 0, by: -1) { siftDown(parent) }
            }
        } else if Candidates.Candidate.precedes(item, items[0]) {
            items[0] = item
            siftDown(0)
        }
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        let moved = items[parent]
        while true {
            var child = parent * 2 + 1
            guard child < items.count else { break }
            if child + 1 < items.count, Candidates.Candidate.precedes(items[child], items[child + 1]) { child += 1 }
            guard Candidates.Candidate.precedes(moved, items[child]) else { break }
            items[parent] = items[child]
            parent = child
        }
        items[parent] = moved
    }

    func sorted() -> [Candidates.Candidate] { items.sorted(by: Candidates.Candidate.precedes) }
}
