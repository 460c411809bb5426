import Kernels
import Layers
import LanguageModels

/// One conversation with a model: its cache of keys and values, its scratch memory, and the soft prompt it begins with.
///
/// The prompt's keys and values enter the cache once, when the session is made; `reset` returns to just behind them.
/// Not for concurrent use: a session belongs to one caller at a time.
public final class Session {
    public let model: any LanguageModel
    public let cache: KVCache
    /// Virtual tokens at the front of the cache.
    public let attachedCount: Int
    private let workspace: InferenceWorkspace

    /// - Parameters:
    ///   - attachment: the soft prompt to begin with, already checked against the model.
    ///   - cacheElement: number format of cached keys and values.
    public init(
        model: any LanguageModel, attachment: PromptAttachment? = nil, cacheElement: KVElement = .f16,
        workspace: InferenceWorkspace = InferenceWorkspace()
    ) throws {
        self.model = model
        self.workspace = workspace
        cache = model.makeCache(element: cacheElement)
        attachedCount = attachment?.virtualTokenCount ?? 0
        switch attachment?.entry {
        case nil: break
        case .cache(let prefix):
            prefix.withUnsafeBufferPointer { cache.loadPrefix($0.baseAddress!, tokens: attachedCount) }
        case .input(let rows):
            _ = try model.forward(
                .embeddings(rows, count: attachedCount), cache: cache, workspace: workspace, logitCount: 0)
        }
    }

    /// Positions in use, virtual tokens included.
    public var position: Int { cache.count }

    /// Positions left in the model's context.
    public var remaining: Int { model.shape.contextLength - cache.count }

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
        return try model.forward(.tokens(tokens), cache: cache, workspace: workspace, logitCount: logitCount)
    }

    /// Forgets everything behind `position`, by default all but the attached prompt.
    public func reset(to position: Int? = nil) {
        cache.truncate(to: max(attachedCount, min(position ?? attachedCount, cache.count)))
    }
}
