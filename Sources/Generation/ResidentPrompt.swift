import Kernels
import LanguageModels
import Layers

/// A soft prompt whose keys and values are in memory, ready for any number of sequences to begin with.
///
/// Made once for a model and a number format; a prompt at the input runs through the layers then, a prefix is only
/// copied. Sequences share its pages: beginning with it costs neither computation nor memory.
public final class ResidentPrompt: Sendable {
    /// The shared slots.
    public let prefix: KVPrefix
    /// Positions that its virtual tokens take: none for an adaption prompt.
    public var count: Int { prefix.count }

    /// - Throws: `ModelError` when the prompt does not fit the model, or the number format its heads.
    public init(
        _ attachment: PromptAttachment, model: any LanguageModel, cacheElement: KVElement = .f16,
        workspace: InferenceWorkspace = InferenceWorkspace()
    ) throws {
        try model.check(cacheElement: cacheElement)
        var cache = model.makeCache(element: cacheElement)
        switch attachment.entry {
        case .gated(let values):
            cache = model.makeCache(
                element: cacheElement, gated: try model.gatedPrompt(values, count: attachment.virtualTokenCount))
        case .cache(let values):
            guard values.count == attachment.virtualTokenCount * model.shape.keyValueElementsPerToken else {
                throw ModelError(.invalidInput, "the prompt's keys and values are those of another model")
            }
            values.withUnsafeBufferPointer { values in
                if let base = values.baseAddress {
                    cache.loadPrefix(base, tokens: attachment.virtualTokenCount)
                }
            }
        case .input(let rows):
            _ = try model.forward(
                .embeddings(rows, count: attachment.virtualTokenCount), cache: cache, workspace: workspace,
                logitCount: 0)
        }
        prefix = cache.share()
    }
}

extension KVPrefix {
    /// Whether a model of this shape can read it.
    func fits(_ shape: DecoderShape) -> Bool {
        layerCount == shape.layerCount && headCount == shape.keyValueHeadCount && headDimension == shape.headDimension
    }
}
