import ByteIO

/// A parsed `tokenizer.json`.
struct HuggingFaceTokenizer: Sendable {
    /// A token outside the model's own vocabulary, or singled out of it.
    struct AddedToken: Sendable {
        var id: Int
        var text: String
        var isSpecial: Bool
    }

    /// The algorithm and what it needs.
    enum Model: Sendable {
        case bytePair(vocabulary: [(text: String, id: Int)], merges: [Merge], flags: BytePairFlags)
        case unigram(pieces: [(text: String, score: Float)], unknownID: Int?, hasByteFallback: Bool)
        case wordPiece(vocabulary: [(text: String, id: Int)], prefix: String, unknown: String)
    }

    /// Two parts that become one token.
    struct Merge: Sendable {
        var left: String
        var right: String
    }

    struct BytePairFlags: Sendable {
        var hasByteFallback = false
        var ignoresMerges = false
        var unknown: String?
    }

    let path: String
    let model: Model
    let addedTokens: [AddedToken]
    let normalizer: JSONValue?
    let preTokenizer: JSONValue?
    let postProcessor: JSONValue?

    /// - Throws: ``ConversionError`` that names the field which is missing or not what it should be.
    init(_ object: JSONObject, path: String) throws {
        self.path = path
        normalizer = Self.present(object["normalizer"])
        preTokenizer = Self.present(object["pre_tokenizer"])
        postProcessor = Self.present(object["post_processor"])
        guard case .object(let model)? = object["model"] else {
            throw ConversionError(.malformed, "there is no \"model\" object", path: path)
        }
        self.model = try Self.readModel(model, path: path)
        addedTokens = try Self.readAddedTokens(object["added_tokens"], path: path)
    }

    private static func present(_ value: JSONValue?) -> JSONValue? { value.flatMap { $0.isNull ? nil : $0 } }

    // MARK: - The model

    private static func readModel(_ model: JSONObject, path: String) throws -> Model {
        switch model["type"]?.stringValue ?? guessedType(of: model) {
        case "BPE":
            let vocabulary = try readVocabulary(model["vocab"], path: path)
            let flags = BytePairFlags(
                hasByteFallback: model["byte_fallback"]?.boolValue ?? false,
                ignoresMerges: model["ignore_merges"]?.boolValue ?? false, unknown: model["unk_token"]?.stringValue)
            return .bytePair(
                vocabulary: vocabulary, merges: try readMerges(model["merges"], path: path), flags: flags)
        case "Unigram":
            return .unigram(
                pieces: try readPieces(model["vocab"], path: path), unknownID: model["unk_id"]?.intValue,
                hasByteFallback: model["byte_fallback"]?.boolValue ?? false)
        case "WordPiece":
            return .wordPiece(
                vocabulary: try readVocabulary(model["vocab"], path: path),
                prefix: model["continuing_subword_prefix"]?.stringValue ?? "##",
                unknown: model["unk_token"]?.stringValue ?? "[UNK]")
        case let type:
            throw ConversionError(
                .unsupported,
                "the tokenizer model \((type ?? "without a type").quotedForMessage) is not supported; "
                    + "BPE, Unigram and WordPiece are",
                path: path)
        }
    }

    /// Files from before the type was written.
    private static func guessedType(of model: JSONObject) -> String? {
        if model["merges"] != nil { return "BPE" }
        if model["continuing_subword_prefix"] != nil { return "WordPiece" }
        return model["vocab"]?.arrayValue == nil ? nil : "Unigram"
    }

    private static func readVocabulary(_ value: JSONValue?, path: String) throws -> [(text: String, id: Int)] {
        guard case .object(let object)? = value else {
            throw ConversionError(.malformed, "model.vocab should be an object of tokens and ids", path: path)
        }
        guard object.count <= VocabularyTable.idLimit else {
            throw ConversionError(.malformed, "model.vocab has \(object.count) tokens, which is absurd", path: path)
        }
        return try object.members.map { member in
            guard let id = member.value.intValue else {
                throw ConversionError(
                    .malformed,
                    "model.vocab gives \(member.key.quotedForMessage) \(member.value.kind) instead of an id", path: path
                )
            }
            return (member.key, id)
        }
    }

    private static func readPieces(_ value: JSONValue?, path: String) throws -> [(text: String, score: Float)] {
        guard case .array(let array)? = value else {
            throw ConversionError(.malformed, "model.vocab should be a list of pieces and scores", path: path)
        }
        guard array.count <= VocabularyTable.idLimit else {
            throw ConversionError(.malformed, "model.vocab has \(array.count) pieces, which is absurd", path: path)
        }
        return try array.enumerated().map { position, entry in
            guard case .array(let pair) = entry, pair.count == 2, let text = pair[0].stringValue,
                let score = pair[1].doubleValue, Float(score).isFinite
            else {
                throw ConversionError(
                    .malformed, "entry \(position) of model.vocab is not a piece with a finite score", path: path)
            }
            return (text, Float(score))
        }
    }

    private static func readMerges(_ value: JSONValue?, path: String) throws -> [Merge] {
        guard case .array(let array)? = value else {
            throw ConversionError(.malformed, "model.merges should be a list", path: path)
        }
        guard array.count <= 2 * VocabularyTable.idLimit else {
            throw ConversionError(.malformed, "model.merges has \(array.count) entries, which is absurd", path: path)
        }
        return try array.enumerated().map { position, entry in
            switch entry {
            case .string(let text):
                if let merge = Merge(line: text) { return merge }
            case .array(let pair):
                if pair.count == 2, let left = pair[0].stringValue, let right = pair[1].stringValue, !left.isEmpty,
                    !right.isEmpty
                {
                    return Merge(left: left, right: right)
                }
            default: break
            }
            throw ConversionError(
                .malformed, "entry \(position) of model.merges is neither \"a b\" nor a pair of texts", path: path)
        }
    }

    // MARK: - Added tokens

    private static func readAddedTokens(_ value: JSONValue?, path: String) throws -> [AddedToken] {
        guard let value, !value.isNull else { return [] }
        guard case .array(let array) = value else {
            throw ConversionError(.malformed, "added_tokens should be a list", path: path)
        }
        return try array.enumerated().map { position, entry in
            guard let id = entry["id"]?.intValue, let text = entry["content"]?.stringValue, !text.isEmpty else {
                throw ConversionError(
                    .malformed, "entry \(position) of added_tokens needs an id and a content", path: path)
            }
            return AddedToken(id: id, text: text, isSpecial: entry["special"]?.boolValue ?? false)
        }
    }
}

extension HuggingFaceTokenizer.Merge {
    /// A merge written as its parts with a blank between; a part may begin with a blank.
    init?(line: String) {
        let bytes = line.utf8
        guard let first = bytes.indices.first,
            let blank = bytes[bytes.index(after: first)...].firstIndex(of: UInt8(ascii: " "))
        else { return nil }
        left = String(line[..<blank])
        right = String(line[bytes.index(after: blank)...])
        guard !right.isEmpty else { return nil }
    }

    /// The merge as `tokenizer.ggml.merges` has it: blanks within a part are written as the byte alphabet does.
    var line: String {
        TokenText.replacing(" ", by: "\u{120}", in: left) + " " + TokenText.replacing(" ", by: "\u{120}", in: right)
    }
}
