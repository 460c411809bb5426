import ByteIO
import GGUF

/// What of a file's tokenizer decides which ids a text becomes.
enum TokenizerIdentity {
    /// Models whose algorithm uses scores: SentencePiece BPE and Unigram.
    private static let modelsWithScores: Set<String> = ["llama", "t5"]

    /// - Returns: the part that counts, and the part that is recorded beside it because converters differ in it.
    static func json(of metadata: GGUFMetadata) throws -> (counted: JSONValue, details: JSONValue) {
        let model = try metadata.stringIfPresent("tokenizer.ggml.model") ?? "none"
        var counted = JSONObject()
        counted["model"] = .string(model)
        // Readers treat a missing pre-tokenizer as "default".
        counted["pre"] = .string(try metadata.stringIfPresent("tokenizer.ggml.pre") ?? "default")
        counted["tokens"] = try strings("tokenizer.ggml.tokens", metadata)
        counted["merges"] = try strings("tokenizer.ggml.merges", metadata)
        if modelsWithScores.contains(model), let scores = try metadata.floatsIfPresent("tokenizer.ggml.scores") {
            counted["scores"] = .array(scores.map { .string(FloatText.bits($0)) })
        }

        var details = JSONObject()
        for entry in metadata.entries where entry.key.hasPrefix("tokenizer.ggml.") {
            let name = String(entry.key.dropFirst("tokenizer.ggml.".count))
            guard name.hasSuffix("_token_id") || name.hasPrefix("add_") || name.hasPrefix("remove_") else { continue }
            switch entry.value {
            case .bool(let flag): details[name] = .bool(flag)
            default: details[name] = entry.value.intValue.map { JSONValue($0) }
            }
        }
        return (.object(counted), .object(details))
    }

    /// The strings of an array; those that are not UTF-8 appear as their bytes, so that none are taken for another.
    private static func strings(_ key: String, _ metadata: GGUFMetadata) throws -> JSONValue? {
        guard let array = try metadata.arrayIfPresent(key) else { return nil }
        guard array.elementType == .string else {
            throw ConversionError(
                .malformed,
                "metadata key \(key) should be an array of strings but is one of \(array.elementType)",
                path: metadata.path)
        }
        var values: [JSONValue] = []
        values.reserveCapacity(array.count)
        array.forEachStringBytes { bytes in
            if let text = String(validating: bytes, as: UTF8.self) {
                values.append(.string(text))
            } else {
                values.append(["bytes": .array(bytes.map { JSONValue(Int($0)) })])
            }
        }
        return .array(values)
    }
}

/// Floats in canonical JSON, which has none.
enum FloatText {
    /// The bits in hex: "0x3727c5ac".
    static func bits(_ value: Float) -> String {
        let digits = String(value.bitPattern, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }
}
