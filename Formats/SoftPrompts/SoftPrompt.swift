import ByteIO

/// A learned prompt: vectors that stand at the beginning of the context in place of text.
///
/// ``values`` are in the layout of Hugging Face PEFT, row-major, one row a virtual token:
/// - ``Placement/inputEmbeddings``: `(virtualTokenCount, hiddenSize)`, what the embedding layer would give.
/// - ``Placement/keysAndValues``: `(virtualTokenCount, layerCount * 2 * keyValueHeadCount * headDimension)`, the keys
///   (HF rotate-half order, after RoPE at positions 0, 1, …) and values of every layer; see ``PrefixLayout``.
/// - ``Placement/adaptionPrompt``: a row and a gate for every layer; see ``AdaptionLayout``.
public struct SoftPrompt: Sendable, Equatable {
    /// Where a prompt enters the model.
    public enum Placement: String, Sendable, Codable, CaseIterable {
        /// In front of the token embeddings (prompt tuning, P-tuning).
        case inputEmbeddings
        /// In front of each layer's keys and values (prefix tuning).
        case keysAndValues
        /// Beside each layer's attention: attended to apart from the context, times a gate (adaption prompts). Takes no
        /// positions.
        case adaptionPrompt
    }

    /// What a vector at the input is measured in, for models that scale their embeddings.
    public enum EmbeddingSpace: String, Sendable, Codable {
        /// After the model's own scaling: what enters the first layer.
        case postScale = "post_scale"
        /// Before it: what the embedding matrix holds.
        case preScale = "pre_scale"
    }

    public var placement: Placement
    public var virtualTokenCount: Int
    /// `virtualTokenCount * columns` floats.
    public var values: [Float]
    /// The widths of the model it was learned on.
    public var shape: ModelShape
    public var base: BaseFingerprint
    /// The base's name for people.
    public var baseName: String
    /// The fingerprint of the file that the base was made from, where known: quantizations of one source are relatives.
    public var baseSource: String?
    /// How it was learned, by the method's own name: "prefix-tuning".
    public var method: String
    public var embeddingSpace: EmbeddingSpace
    /// What is worth remembering of the training: data digest, steps, seed, losses, initialisation.
    public var training: [String: JSONValue]

    /// - Throws: ``SoftPromptError`` when shape and values do not fit, or a value is not finite.
    public init(
        placement: Placement, virtualTokenCount: Int, values: [Float], shape: ModelShape, base: BaseFingerprint,
        baseName: String, baseSource: String? = nil, method: String, embeddingSpace: EmbeddingSpace = .postScale,
        training: [String: JSONValue] = [:]
    ) throws(SoftPromptError) {
        self.placement = placement
        self.virtualTokenCount = virtualTokenCount
        self.values = values
        self.shape = shape
        self.base = base
        self.baseName = baseName
        self.baseSource = baseSource
        self.method = method
        self.embeddingSpace = embeddingSpace
        self.training = training
        try validate()
    }

    public var layerCount: Int { shape.layerCount }
    public var keyValueHeadCount: Int { shape.keyValueHeadCount }
    public var headDimension: Int { shape.headDimension }
    public var hiddenSize: Int { shape.hiddenSize }

    /// Floats in a row.
    public var columns: Int { Self.columns(placement, shape) }

    static func columns(_ placement: Placement, _ shape: ModelShape) -> Int {
        switch placement {
        case .inputEmbeddings: shape.hiddenSize
        case .keysAndValues: PrefixLayout(shape).columns
        case .adaptionPrompt: AdaptionLayout(shape).columns
        }
    }

    /// The index map of a prompt of keys and values.
    public var prefixLayout: PrefixLayout { PrefixLayout(shape) }

    /// Most virtual tokens a prompt may have.
    public static let tokenLimit = 1 << 20
    /// Most values a prompt may have: 8 GiB of F32.
    public static let valueLimit = 1 << 31

    /// Checks that shape, count and values agree and that every value is finite.
    public func validate() throws(SoftPromptError) {
        try shape.validate()
        try base.validate()
        let expected = try Self.valueCount(placement, virtualTokenCount, shape)
        guard values.count == expected else {
            throw SoftPromptError(
                .invalidPrompt,
                "the prompt has \(values.count) values; \(virtualTokenCount) virtual tokens of \(columns) need \(expected)"
            )
        }
        guard !method.isEmpty else { throw SoftPromptError(.invalidPrompt, "the prompt does not name its method") }
        if let baseSource, !BaseFingerprint.isDigest(baseSource) {
            throw SoftPromptError(
                .invalidDigest, "the base's source is \(baseSource.quotedForMessage), which is no digest")
        }
        if let position = values.firstIndex(where: { !$0.isFinite }) {
            throw SoftPromptError(
                .notFinite,
                "value \(position % columns) of virtual token \(position / columns) is \(values[position]); "
                    + "the training diverged or the file is damaged")
        }
    }

    /// How many values a prompt has; throws when that is out of limits.
    static func valueCount(
        _ placement: Placement, _ virtualTokenCount: Int, _ shape: ModelShape
    ) throws(SoftPromptError) -> Int {
        guard (1...tokenLimit).contains(virtualTokenCount) else {
            throw SoftPromptError(
                .invalidPrompt, "a prompt of \(virtualTokenCount) virtual tokens is not possible (1 to \(tokenLimit))")
        }
        var count = virtualTokenCount
        let factors =
            switch placement {
            case .inputEmbeddings: [shape.hiddenSize]
            case .keysAndValues: [shape.layerCount, 2, shape.keyValueHeadCount, shape.headDimension]
            case .adaptionPrompt: [shape.layerCount, shape.hiddenSize + 1]
            }
        for factor in factors {
            let (product, overflow) = count.multipliedReportingOverflow(by: factor)
            guard !overflow, product <= valueLimit else {
                throw SoftPromptError(.invalidPrompt, "the prompt would have more than \(valueLimit) values")
            }
            count = product
        }
        return count
    }
}
