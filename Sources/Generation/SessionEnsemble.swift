import Kernels
import LanguageModels
import Layers

/// Several prompts that answer together (Lester et al. 2021, arXiv 2104.08691, section 6): each reads the same text behind
/// its own virtual tokens, all in one batch, and one row of logits comes of theirs.
///
/// The weights are read once for all, so that k prompts cost little more than one where memory is what limits. An ensemble
/// of one is that prompt, bit for bit. Not for concurrent use.
public final class SessionEnsemble: GenerationContext {
    /// How rows of logits become one.
    public enum Rule: String, Sendable, CaseIterable, Codable {
        /// The mean of the logits: the geometric mean of the prompts' probabilities.
        case mean
        /// The token that most prompts find likeliest; the mean decides between equals, and orders the others.
        case vote
    }

    public let model: any LanguageModel
    public let rule: Rule
    private let prompts: [ResidentPrompt]
    private let caches: [KVCache]
    private let workspace = InferenceWorkspace()
    /// The tokens behind the prompts.
    private var tokens: [Int] = []
    private var combined = GrowableBuffer()
    /// What the members gave last: `(prompt, row, vocabulary)`.
    private var last: (rows: UnsafeBufferPointer<Float>, count: Int)?

    /// - Parameter prompts: at least one, all of one number format.
    /// - Throws: `ModelError.invalidInput` when there is none.
    public init(model: any LanguageModel, prompts: [ResidentPrompt], rule: Rule = .mean, canRewind: Bool = true) throws
    {
        guard let first = prompts.first, prompts.allSatisfy({ $0.prefix.element == first.prefix.element }) else {
            throw ModelError(.invalidInput, "an ensemble needs at least one prompt, all cached in one number format")
        }
        try model.check(cacheElement: first.prefix.element)
        self.model = model
        self.rule = rule
        self.prompts = prompts
        caches = prompts.map {
            model.makeCache(beginningWith: $0.prefix, element: first.prefix.element, canRewind: canRewind)
        }
    }

    /// Those of the longest prompt: the positions of a text differ with its prompt's length.
    public var attachedCount: Int { prompts.map(\.count).max() ?? 0 }
    public var position: Int { attachedCount + tokens.count }
    public var remaining: Int { max(0, model.shape.contextLength - position) }

    public func append(_ tokens: [Int], logitCount: Int) throws -> UnsafeBufferPointer<Float> {
        guard tokens.count <= remaining else {
            throw ModelError(
                .contextFull,
                "\(tokens.count) tokens do not fit: \(position) of the \(model.shape.contextLength) positions are taken "
                    + "(\(attachedCount) by the longest attached prompt); shorten the text")
        }
        let rows = try model.forward(
            caches.map { SequenceStep(.tokens(tokens), cache: $0, logitCount: logitCount) }, workspace: workspace)
        self.tokens += tokens
        last = (rows, logitCount)
        return combine(rows, count: logitCount)
    }

    /// How many answer.
    public var memberCount: Int { prompts.count }
    /// Virtual tokens of all members together.
    public var totalAttachedCount: Int { prompts.reduce(0) { $0 + $1.count } }

    /// One member's own row of the logits that `append` last gave combined; valid until the next use.
    public func logits(ofMember member: Int, row: Int) -> UnsafeBufferPointer<Float> {
        let width = model.shape.vocabularySize
        guard let last, member < memberCount, row < last.count else { preconditionFailure("there is no such row") }
        let start = (member * last.count + row) * width
        return UnsafeBufferPointer(rebasing: last.rows[start..<start + width])
    }

    @discardableResult
    public func reset(to position: Int? = nil) -> Int {
        let wanted = max(0, min((position ?? attachedCount) - attachedCount, tokens.count))
        let isPossible = zip(caches, prompts).allSatisfy { $0.canTruncate(to: $1.count + wanted) }
        let kept = isPossible ? wanted : 0
        for (cache, prompt) in zip(caches, prompts) { cache.truncate(to: prompt.count + kept) }
        tokens.removeLast(tokens.count - kept)
        return attachedCount + kept
    }

    public func replace(with tokens: [Int]) throws -> (logits: UnsafeBufferPointer<Float>, reused: Int) {
        guard !tokens.isEmpty else {
            throw ModelError(.invalidInput, "there is no text to continue; give at least one token")
        }
        let common = min(zip(tokens, self.tokens).prefix { $0 == $1 }.count, tokens.count - 1)
        let reached = reset(to: attachedCount + common) - attachedCount
        return (try append(Array(tokens[reached...]), logitCount: 1), reached)
    }

    /// - Parameter rows: `(prompt, count, vocabulary)`.
    private func combine(_ rows: UnsafeBufferPointer<Float>, count: Int) -> UnsafeBufferPointer<Float> {
        let width = model.shape.vocabularySize
        let result = combined.reserve(max(count, 1) * width)
        if let base = rows.baseAddress {
            let members = (0..<prompts.count).map { base + $0 * count * width }
            for row in 0..<count {
                Self.combine(
                    members.map { $0 + row * width }, width: width, rule: rule,
                    into: UnsafeMutableBufferPointer(start: result + row * width, count: width))
            }
        }
        return UnsafeBufferPointer(start: result, count: count * width)
    }

    /// One row of logits out of each prompt's.
    ///
    /// A vote lifts a token above every one that has fewer, by more than the rows' whole range; nothing becomes infinite
    /// that was not, so that a grammar that forbids the winner still finds the next.
    static func combine(
        _ members: [UnsafePointer<Float>], width: Int, rule: Rule, into result: UnsafeMutableBufferPointer<Float>
    ) {
        let share = 1 / Float(members.count)
        for index in 0..<width {
            var sum: Float = 0
            for member in members { sum += member[index] }
            result[index] = members.count == 1 ? sum : sum * share
        }
        guard rule == .vote, members.count > 1 else { return }
        var lowest = Float.infinity, highest = -Float.infinity
        for value in result where value.isFinite {
            lowest = min(lowest, value)
            highest = max(highest, value)
        }
        guard lowest <= highest else { return }
        let lift = highest - lowest + 40
        for member in members { result[VectorMath.argmax(member, count: width)] += lift }
    }
}
