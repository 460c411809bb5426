import SoftPrompts

/// The dimensions of a decoder that everything outside it may need: caches, soft prompts, reports.
public struct DecoderShape: Sendable, Equatable {
    public let architecture: String
    public let layerCount: Int
    public let hiddenSize: Int
    public let headCount: Int
    public let keyValueHeadCount: Int
    public let headDimension: Int
    public let vocabularySize: Int
    /// Positions the model was trained for.
    public let contextLength: Int
    /// Whether rotated pairs lie side by side in a head (llama-family GGUF) rather than half a head apart.
    public let interleavedRotary: Bool

    public init(
        architecture: String, layerCount: Int, hiddenSize: Int, headCount: Int, keyValueHeadCount: Int,
        headDimension: Int, vocabularySize: Int, contextLength: Int, interleavedRotary: Bool
    ) {
        self.architecture = architecture
        self.layerCount = layerCount
        self.hiddenSize = hiddenSize
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headDimension = headDimension
        self.vocabularySize = vocabularySize
        self.contextLength = contextLength
        self.interleavedRotary = interleavedRotary
    }

    /// The widths that decide whether a soft prompt fits.
    public var promptShape: ModelShape {
        ModelShape(
            layerCount: layerCount, hiddenSize: hiddenSize, headCount: headCount,
            keyValueHeadCount: keyValueHeadCount, headDimension: headDimension)
    }

    /// Floats of keys and values that one token has over all layers.
    public var keyValueElementsPerToken: Int { layerCount * 2 * keyValueHeadCount * headDimension }
}
