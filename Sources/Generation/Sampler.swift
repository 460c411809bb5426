import Foundation

/// Chooses tokens, one after another, by `SamplerSettings`.
///
/// Deterministic: it depends on the settings, the tokens observed and the logits alone, not on threads or time. Costs one
/// pass over the logits, and sorting only what top-k and top-p may keep.
///
///     var sampler = try Sampler(settings)
///     sampler.observe(promptIds)
///     let id = sampler.next(logits: logits)   // observed by itself
public struct Sampler: Sendable {
    public let settings: SamplerSettings
    private var random: RandomGenerator
    private var history: [Int] = []
    private var counts: [Int: Int] = [:]
    private var work: [Float] = []
    private var candidates: [Candidate] = []

    private struct Candidate: Sendable {
        var logit: Float
        var id: Int32
        /// The order of likelihood: higher logits first, of equals the lower id.
        @inline(__always)
        static func precedes(_ a: Candidate, _ b: Candidate) -> Bool {
            a.logit > b.logit || (a.logit == b.logit && a.id < b.id)
        }
    }

    /// - Throws: `SamplerSettingsError` for settings out of range.
    public init(_ settings: SamplerSettings) throws(SamplerSettingsError) {
        try settings.validate()
        self.settings = settings
        random = RandomGenerator(seed: settings.seed)
    }

    private var needsHistory: Bool {
        settings.penaltyWindow != 0
            && (settings.repetitionPenalty != 1 || settings.frequencyPenalty != 0 || settings.presencePenalty != 0)
    }

    /// Counts tokens that were not chosen here, such as the prompt's, for the penalties.
    public mutating func observe(_ tokens: some Sequence<Int>) {
        guard needsHistory else { return }
        for token in tokens {
            history.append(token)
            counts[token, default: 0] += 1
        }
        guard let window = settings.penaltyWindow, history.count > window else { return }
        for token in history.prefix(history.count - window) {
            let left = (counts[token] ?? 1) - 1
            counts[token] = left > 0 ? left : nil
        }
        history.removeFirst(history.count - window)
    }

    /// The next token's id. A logit that is not a number counts as minus infinity; if no token is left, the answer is 0.
    /// - Parameter logits: one for each id, not empty.
    public mutating func next(logits: UnsafeBufferPointer<Float>) -> Int {
        precondition(!logits.isEmpty, "sampling needs at least one logit")
        let id: Int
        if settings.logitBias.isEmpty && counts.isEmpty {
            id = choose(logits)
        } else {
            var adjusted = work
            work = []
            adjusted.removeAll(keepingCapacity: true)
            adjusted.append(contentsOf: logits)
            adjust(&adjusted)
            id = adjusted.withUnsafeBufferPointer { choose($0) }
            work = adjusted
        }
        observe(CollectionOfOne(id))
        return id
    }

    /// The same for an array.
    public mutating func next(logits: [Float]) -> Int {
        logits.withUnsafeBufferPointer { next(logits: $0) }
    }

    private func adjust(_ logits: inout [Float]) {
        for (id, bias) in settings.logitBias where id < logits.count { logits[id] += bias }
        for (id, count) in counts where id >= 0 && id < logits.count {
            var logit = logits[id]
            logit = logit <= 0 ? logit * settings.repetitionPenalty : logit / settings.repetitionPenalty
            logit -= Float(count) * settings.frequencyPenalty + settings.presencePenalty
            logits[id] = logit
        }
    }

    private mutating func choose(_ logits: UnsafeBufferPointer<Float>) -> Int {
        var best = 0
        var highest = -Float.infinity
        for id in 0..<logits.count where logits[id] > highest {
            highest = logits[id]
            best = id
        }
        if settings.temperature == 0 || settings.topK == 1 || !highest.isFinite { return best }
        if settings.topK > 0, settings.topK < logits.count {
            keepTopK(logits)
            keepTopP(highest, mass: nil)
        } else if settings.topP < 1 {
            keepTopPOfAll(logits, highest)
        } else {
            keep(logits, from: minimum(below: highest))
        }
        keepMinP(highest)
        return draw(highest)
    }

    /// The lowest logit that min-p keeps.
    private func minimum(below highest: Float) -> Float {
        settings.minP > 0 ? highest + log(settings.minP) : -.greatestFiniteMagnitude
    }

    private mutating func keep(_ logits: UnsafeBufferPointer<Float>, from lowest: Float) {
        candidates.removeAll(keepingCapacity: true)
        for id in 0..<logits.count where logits[id] >= lowest {
            candidates.append(Candidate(logit: logits[id], id: Int32(id)))
        }
    }

    /// A heap of the `topK` best, its worst on top: most logits are turned away by one comparison.
    private mutating func keepTopK(_ logits: UnsafeBufferPointer<Float>) {
        let limit = settings.topK
        candidates.removeAll(keepingCapacity: true)
        for id in 0..<logits.count {
            let logit = logits[id]
            guard logit > -.infinity else { continue }  // also false for NaN
            if candidates.count < limit {
                candidates.append(Candidate(logit: logit, id: Int32(id)))
                if candidates.count == limit {
                    for parent in stride(from: limit / 2 - 1, through: 0, by: -1) { siftDown(parent) }
                }
            } else if logit > candidates[0].logit {
                candidates[0] = Candidate(logit: logit, id: Int32(id))
                siftDown(0)
            }
        }
        candidates.sort(by: Candidate.precedes)
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        let moved = candidates[parent]
        while true {
            var child = parent * 2 + 1
            guard child < candidates.count else { break }
            if child + 1 < candidates.count, Candidate.precedes(candidates[child], candidates[child + 1]) { child += 1 }
            guard Candidate.precedes(moved, candidates[child]) else { break }
            candidates[parent] = candidates[child]
            parent = child
        }
        candidates[parent] = moved
    }

    /// Top-p over the whole vocabulary: sorts only as deep into the tail as the probability asks for.
    private mutating func keepTopPOfAll(_ logits: UnsafeBufferPointer<Float>, _ highest: Float) {
        var mass = 0.0
        for logit in logits where logit > -.infinity { mass += Double(exp(logit - highest)) }
        for depth in [Float(4), 8, 16, .greatestFiniteMagnitude] {
            keep(logits, from: max(highest - depth, -.greatestFiniteMagnitude))
            candidates.sort(by: Candidate.precedes)
            if keepTopP(highest, mass: mass) { return }
        }
    }

    /// Cuts the sorted candidates where their probability reaches top-p; `false` if it never does.
    @discardableResult
    private mutating func keepTopP(_ highest: Float, mass: Double?) -> Bool {
        guard settings.topP < 1 else { return true }
        let total = mass ?? candidates.reduce(0) { $0 + Double(exp($1.logit - highest)) }
        let goal = Double(settings.topP) * total
        var sum = 0.0
        for index in candidates.indices {
            sum += Double(exp(candidates[index].logit - highest))
            if sum >= goal {
                candidates.removeSubrange((index + 1)...)
                return true
            }
        }
        return false
    }

    private mutating func keepMinP(_ highest: Float) {
        guard settings.minP > 0 else { return }
        let lowest = min(minimum(below: highest), highest)
        candidates.removeAll { $0.logit < lowest }
    }

    private mutating func draw(_ highest: Float) -> Int {
        var sum = 0.0
        for candidate in candidates { sum += weight(candidate, highest) }
        let goal = random.nextUniform() * sum
        var reached = 0.0
        var last: Candidate?
        for candidate in candidates {
            let weight = weight(candidate, highest)
            guard weight > 0 else { continue }
            reached += weight
            last = candidate
            if reached > goal { break }
        }
        return Int(last?.id ?? 0)
    }

    @inline(__always)
    private func weight(_ candidate: Candidate, _ highest: Float) -> Double {
        Double(exp((candidate.logit - highest) / settings.temperature))
    }
}
