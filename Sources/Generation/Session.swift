import Kernels
import LanguageModels
import Layers

/// One conversation with a model: its cache of keys and values, its scratch memory, and the soft prompt it begins with.
///
/// The prompt's keys and values are resident and shared (`ResidentPrompt`); `reset` returns to just behind them. Not for
/// concurrent use: a session belongs to one caller at a time.
public final class Session {
    public let model: any LanguageModel
    public private(set) var cache: KVCache
    /// The soft prompt at the front of the cache.
    public let prompt: ResidentPrompt?
    /// Virtual tokens at the front of the cache.
    public let attachedCount: Int
    /// Whether every position can be returned to.
    public let canRewind: Bool
    /// The tokens behind the attached prompt, one for each position.
    public private(set) var tokens: [Int] = []
    let workspace: InferenceWorkspace

    /// - Parameters:
    ///   - model: the model that reads.
    ///   - attachment: the soft prompt to begin with, already checked against the model.
    ///   - cacheElement: number format of cached keys and values.
    ///   - canRewind: false lets layers with a sliding window free what the window has left; then `reset(to:)` may have
    ///     to go further back than asked.
    ///   - workspace: memory for intermediate results; sessions that never run at once may share it.
    /// - Throws: `ModelError.invalidInput` for a number format that the model's heads do not fit.
    public convenience init(
        model: any LanguageModel, attachment: PromptAttachment? = nil, cacheElement: KVElement = .f16,
        canRewind: Bool = true, workspace: InferenceWorkspace = InferenceWorkspace()
    ) throws {
        try self.init(
            model: model,
            prompt: attachment.map {
                try ResidentPrompt($0, model: model, cacheElement: cacheElement, workspace: workspace)
            }, cacheElement: cacheElement, canRewind: canRewind, workspace: workspace)
    }

    /// A session that begins with a resident prompt, whose number format is then the cache's.
    public init(
        model: any LanguageModel, prompt: ResidentPrompt?, cacheElement: KVElement = .f16, canRewind: Bool = true,
        workspace: InferenceWorkspace = InferenceWorkspace()
    ) throws {
        try model.check(cacheElement: prompt?.prefix.element ?? cacheElement)
        self.model = model
        self.workspace = workspace
        self.prompt = prompt
        self.canRewind = canRewind
        attachedCount = prompt?.count ?? 0
        cache = model.makeCache(beginningWith: prompt?.prefix, element: cacheElement, canRewind: canRewind)
    }

    /// Positions in use, virtual tokens included.
    public var position: Int { cache.count }

    /// Positions left in the model's context.
    public var remaining: Int { max(0, model.shape.contextLength - cache.count) }

    /// Runs tokens behind what is there.
    ///
    /// - Returns: `logitCount` rows of `vocabularySize` logits, valid until the session's next use.
    /// - Throws: `ModelError.contextFull` when the tokens do not fit the context.
    public func append(_ tokens: [Int], logitCount: Int = 1) throws -> UnsafeBufferPointer<Float> {
        guard tokens.count <= remaining else {
            throw ModelError(
                .contextFull,
                "\(tokens.count) tokens do not fit: \(cache.count) of the \(model.shape.contextLength) positions are "
                    + "taken (\(attachedCount) by the attached prompt); shorten the text")
        }
        let logits = try model.forward(.tokens(tokens), cache: cache, workspace: workspace, logitCount: logitCount)
        self.tokens += tokens
        return logits
    }

    /// Forgets everything behind `position`, by default all but the attached prompt.
    ///
    /// - Returns: the position that was reached: `position`, or just behind the attached prompt when a sliding window
    ///   has let go of what would be seen from there.
    @discardableResult
    public func reset(to position: Int? = nil) -> Int {
        var target = max(attachedCount, min(position ?? attachedCount, cache.count))
        if !cache.canTruncate(to: target) { target = attachedCount }
        cache.truncate(to: target)
        tokens.removeLast(tokens.count - (target - attachedCount))
        return target
    }

    /// Runs a whole text, of which what the session already holds at its beginning is not computed again.
    ///
    /// The last token always runs: its logits are what is asked for.
    /// - Parameter tokens: at least one, all that is to stand behind the attached prompt.
    /// - Returns: the logits of the last position, and how many tokens were there already.
    /// - Throws: as `append`.
    public func replace(with tokens: [Int]) throws -> (logits: UnsafeBufferPointer<Float>, reused: Int) {
        guard !tokens.isEmpty else {
            throw ModelError(.invalidInput, "there is no text to continue; give at least one token")
        }
        let common = min(zip(tokens, self.tokens).prefix { $0 == $1 }.count, tokens.count - 1)
        let reached = reset(to: attachedCount + common) - attachedCount
        return (try append(Array(tokens[reached...])), reached)
    }

    /// Makes room for `count` more positions, if they do not fit, by forgetting the oldest text behind what is pinned.
    ///
    /// The attached prompt is always pinned. Of the rest at least half is forgotten, so that this happens seldom; what
    /// is kept moves to the front, its keys turned to their new positions.
    /// - Parameters:
    ///   - count: positions that are needed.
    ///   - pinned: tokens behind the prompt that stay too, such as a system message.
    /// - Returns: how many tokens were forgotten; 0 when there was room.
    /// - Throws: `ModelError.contextFull` when even forgetting everything makes too little room, `invalidInput` when the
    ///   model's positions cannot be moved.
    @discardableResult
    public func makeRoom(for count: Int, pinned: Int = 0) throws -> Int {
        guard count > remaining else { return 0 }
        let pinned = max(0, min(pinned, tokens.count))
        let movable = tokens.count - pinned
        let needed = count - remaining
        guard needed <= movable else {
            throw ModelError(
                .contextFull,
                "\(count) more tokens do not fit a context of \(model.shape.contextLength): \(attachedCount) positions "
                    + "belong to the attached prompt and \(pinned) are pinned; shorten the text")
        }
        let gone = max(needed, movable / 2)
        let first = attachedCount + pinned
        try model.shift(cache, forgetting: first..<first + gone)
        tokens.removeSubrange(pinned..<pinned + gone)
        return gone
    }

    /// Puts a state that was read from a file in place of what is there.
    func restore(_ cache: KVCache, tokens: [Int]) {
        self.cache = cache
        self.tokens = tokens
    }
}

extension LanguageModel {
    /// A cache that begins with a shared prefix, or an empty one.
    func makeCache(beginningWith prefix: KVPrefix?, element: KVElement, canRewind: Bool) -> KVCache {
        guard let prefix else { return makeCache(element: element, canRewind: canRewind) }
        return KVCache(beginningWith: prefix, windows: canRewind ? nil : windows)
    }
}
