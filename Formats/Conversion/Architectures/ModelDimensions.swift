import GGUF

/// The sizes of a model as its GGUF metadata gives them, checked: every tensor's shape follows from these.
public struct ModelDimensions: Sendable, Equatable {
    public let layers: Int
    public let width: Int
    public let heads: Int
    public let keyValueHeads: Int
    /// Length of a query or key head.
    public let keyLength: Int
    public let valueLength: Int
    public let feedForward: Int
    /// Positions, for models that learn them.
    public let context: Int
    /// Rows of the embedding.
    public let vocabulary: Int
    /// 0 for dense models.
    public let experts: Int
    public let expertFeedForward: Int
    public let sharedFeedForward: Int
    /// Elements of a head that are rotated.
    public let rotated: Int

    /// More layers than any model has.
    static let layerLimit = 4096
    /// Longest dimension that is believed.
    static let sizeLimit = 1 << 31

    /// - Throws: ``ConversionError`` that names the key and says what it may be.
    public init(metadata: GGUFMetadata, vocabulary: Int) throws {
        let check = try Check(metadata)
        layers = try check.count("block_count", 1...Self.layerLimit)
        width = try check.count("embedding_length", 1...Self.sizeLimit)
        context = try check.count("context_length", 1...Self.sizeLimit)
        heads = try check.perLayer("attention.head_count", layers: layers, 1...Self.sizeLimit)
        keyValueHeads = try check.perLayerIfPresent("attention.head_count_kv", layers: layers, 1...heads) ?? heads
        guard heads % keyValueHeads == 0 else {
            throw check.wrong("attention.head_count_kv", "\(keyValueHeads) does not divide the \(heads) heads")
        }
        if let length = try check.countIfPresent("attention.key_length", 1...Self.sizeLimit) {
            keyLength = length
        } else {
            guard width % heads == 0 else {
                throw check.wrong(
                    "attention.head_count", "\(heads) does not divide the width \(width), and there is no head length")
            }
            keyLength = width / heads
        }
        valueLength = try check.countIfPresent("attention.value_length", 1...Self.sizeLimit) ?? keyLength
        feedForward = try check.perLayer("feed_forward_length", layers: layers, 1...Self.sizeLimit)
        experts = try check.countIfPresent("expert_count", 0...65536) ?? 0
        let used = try check.countIfPresent("expert_used_count", 0...Self.sizeLimit) ?? 0
        guard used <= experts, experts == 0 || used > 0 else {
            throw check.wrong("expert_used_count", "\(used) of \(experts) experts cannot be used")
        }
        expertFeedForward =
            try check.countIfPresent("expert_feed_forward_length", 1...Self.sizeLimit) ?? feedForward
        sharedFeedForward =
            try check.countIfPresent("expert_shared_feed_forward_length", 0...Self.sizeLimit) ?? 0
        rotated = try check.countIfPresent("rope.dimension_count", 2...Self.sizeLimit) ?? keyLength
        guard rotated % 2 == 0 || metadata["\(check.name).rope.dimension_count"] == nil, rotated <= keyLength else {
            throw check.wrong(
                "rope.dimension_count", "\(rotated) must be even and no more than the head's \(keyLength)")
        }
        for key in ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "rope.freq_base"] {
            if let value = try metadata.floatIfPresent("\(check.name).\(key)"), !(value > 0 && value.isFinite) {
                throw check.wrong(key, "\(value) must be a finite number above 0")
            }
        }
        guard vocabulary > 0, vocabulary <= Self.sizeLimit else {
            throw ConversionError(.malformed, "the vocabulary has \(vocabulary) tokens", path: metadata.path)
        }
        self.vocabulary = vocabulary
        // Products of these are taken below without further checks.
        for (first, second) in [
            (width, feedForward), (width, vocabulary), (width, context), (heads * 3, keyLength), (heads, valueLength),
            (width, expertFeedForward), (width, sharedFeedForward),
        ] where first.multipliedReportingOverflow(by: second).partialValue > 1 << 52 {
            throw ConversionError(
                .malformed, "the dimensions \(first) and \(second) make a tensor that is too large", path: metadata.path
            )
        }
    }
}

/// Reads numbers of one architecture and says what is wrong with them.
private struct Check {
    let metadata: GGUFMetadata
    let name: String

    init(_ metadata: GGUFMetadata) throws {
        self.metadata = metadata
        name = try metadata.architecture()
    }

    func count(_ key: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let value = try countIfPresent(key, range) else { throw missing(key) }
        return value
    }

    func countIfPresent(_ key: String, _ range: ClosedRange<Int>) throws -> Int? {
        guard let value = try metadata.intIfPresent("\(name).\(key)") else { return nil }
        try check(key, value, range)
        return value
    }

    func perLayer(_ key: String, layers: Int, _ range: ClosedRange<Int>) throws -> Int {
        guard let value = try perLayerIfPresent(key, layers: layers, range) else { throw missing(key) }
        return value
    }

    /// One value, or a list with the same value for every layer.
    func perLayerIfPresent(_ key: String, layers: Int, _ range: ClosedRange<Int>) throws -> Int? {
        guard let values = try metadata.intsIfPresent("\(name).\(key)") else { return nil }
        if case .array = metadata["\(name).\(key)"], values.count != layers {
            throw wrong(key, "it has \(values.count) values for \(layers) layers")
        }
        guard let first = values.first else { return nil }
        for value in values { try check(key, value, range) }
        guard values.allSatisfy({ $0 == first }) else {
            throw ConversionError(
                .unsupported, "\(name).\(key) differs between layers, which cannot be converted", path: metadata.path)
        }
        return first
    }

    private func check(_ key: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        guard range.contains(value) else {
            throw wrong(key, "\(value) is not between \(range.lowerBound) and \(range.upperBound)")
        }
    }

    func missing(_ key: String) -> ConversionError {
        ConversionError(.malformed, "\(name).\(key) is missing", path: metadata.path)
    }

    func wrong(_ key: String, _ reason: String) -> ConversionError {
        ConversionError(.malformed, "\(name).\(key): \(reason)", path: metadata.path)
    }
}
