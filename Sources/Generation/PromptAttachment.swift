import LanguageModels
import SoftPrompts

/// A soft prompt in the form in which it enters a model: the slots of a cache, or rows in place of embeddings.
public struct PromptAttachment: Sendable {
    /// Where it enters.
    public enum Entry: Sendable {
        /// `(layer, key|value, head, token, headDimension)`, keys rotated, in the model's pairing.
        case cache([Float])
        /// `(token, hiddenSize)`.
        case input([Float])
        /// `(token, layer, hiddenSize + 1)`: beside the attention of every layer.
        case gated([Float])

        /// Values in the layout of training (`TuningMethod.placement`).
        public init(_ placement: SoftPrompt.Placement, _ values: [Float]) {
            switch placement {
            case .inputEmbeddings: self = .input(values)
            case .keysAndValues: self = .cache(values)
            case .adaptionPrompt: self = .gated(values)
            }
        }
    }

    public let virtualTokenCount: Int
    let entry: Entry

    public init(virtualTokenCount: Int, entry: Entry) {
        self.virtualTokenCount = virtualTokenCount
        self.entry = entry
    }

    /// Brings a stored prompt into the model's layout.
    ///
    /// Whether the prompt *belongs* to the model is `AttachmentVerdict`'s question; this one only refuses widths that do
    /// not fit and prompts longer than the context.
    ///
    /// - Throws: `ModelError.invalidInput`.
    public init(_ prompt: SoftPrompt, shape: DecoderShape) throws {
        try prompt.validate()
        let columns = shape.valuesPerVirtualToken(prompt.placement)
        guard prompt.columns == columns, prompt.placement != .keysAndValues || prompt.shape == shape.promptShape
        else {
            throw ModelError(
                .invalidInput,
                "the prompt has \(prompt.columns) numbers per virtual token (\(prompt.shape.text)); this model takes "
                    + "\(columns) (\(shape.promptShape.text))")
        }
        guard prompt.placement == .adaptionPrompt || prompt.virtualTokenCount < shape.contextLength else {
            throw ModelError(
                .contextFull,
                "the prompt's \(prompt.virtualTokenCount) virtual tokens fill this model's context of "
                    + "\(shape.contextLength)")
        }
        virtualTokenCount = prompt.virtualTokenCount
        switch prompt.placement {
        case .inputEmbeddings: entry = .input(prompt.values)
        case .keysAndValues:
            entry = .cache(shape.cachePrefix(fromStored: prompt.values, tokens: prompt.virtualTokenCount))
        case .adaptionPrompt: entry = .gated(prompt.values)
        }
    }
}
