import ByteIO
import GGUF

/// The tokenizer that a GGUF file holds, checked: every list has one entry a token, every id is a token.
struct StoredTokenizer: Sendable {
    let model: String
    let architecture: String?
    let preTokenizer: String?
    /// Nil where the bytes are no text or the text is another token's: what JSON cannot hold.
    let texts: [String?]
    let kinds: [TokenKind]
    let scores: [Float]?
    let merges: [HuggingFaceTokenizer.Merge]
    let ids: [SpecialTokens.Role: Int]
    let metadata: GGUFMetadata
    var warnings: [String] = []
    private let index: [ExactString: Int]

    /// - Throws: ``ConversionError`` when keys are missing, of another type, or contradict each other.
    init(_ metadata: GGUFMetadata) throws {
        self.metadata = metadata
        do {
            guard let model = try metadata.stringIfPresent("tokenizer.ggml.model"), model != "none", model != "no_vocab"
            else { throw Self.failure(.missingFile, "the file has no tokenizer (tokenizer.ggml.model)", metadata) }
            self.model = model
            architecture = try metadata.stringIfPresent("general.architecture")
            preTokenizer = try metadata.stringIfPresent("tokenizer.ggml.pre")
            var warnings: [String] = []
            (texts, index) = try Self.readTexts(metadata, warnings: &warnings)
            kinds = try Self.readKinds(metadata, texts: texts)
            scores = try Self.readScores(metadata, count: texts.count)
            merges = try Self.readMerges(metadata)
            ids = try Self.readIDs(metadata, count: texts.count, warnings: &warnings)
            self.warnings = warnings
        } catch let error as GGUFError {
            throw Self.failure(.malformed, error.message, metadata)
        }
    }

    var count: Int { texts.count }

    func id(of text: String) -> Int? { index[ExactString(text)] }

    /// The text of the token that plays a part.
    func text(of role: SpecialTokens.Role) -> String? { ids[role].flatMap { texts[$0] } }

    func flag(_ name: String) throws -> Bool? {
        do { return try metadata.boolIfPresent("tokenizer.ggml.\(name)") } catch {
            throw Self.failure(.malformed, error.message, metadata)
        }
    }

    /// Whether an id only fills the vocabulary up to the embedding's size.
    func isPadding(_ id: Int) -> Bool {
        guard kinds[id] == .unused, let text = texts[id] else { return false }
        return text == "[PAD\(id)]" || text == "\u{2581}[PAD\(id)]"
    }

    static func failure(_ code: ConversionError.Code, _ message: String, _ metadata: GGUFMetadata) -> ConversionError {
        ConversionError(code, message, path: metadata.path)
    }

    // MARK: - Reading

    private static func array(
        _ key: String, _ metadata: GGUFMetadata, of type: GGUFValueType
    ) throws -> GGUFArray? {
        guard let array = try metadata.arrayIfPresent(key) else { return nil }
        guard array.elementType == type else {
            throw failure(
                .malformed, "\(key) should be an array of \(type) but is one of \(array.elementType)", metadata)
        }
        return array
    }

    private static func readTexts(
        _ metadata: GGUFMetadata, warnings: inout [String]
    ) throws -> ([String?], [ExactString: Int]) {
        guard let array = try array("tokenizer.ggml.tokens", metadata, of: .string), array.count > 0 else {
            throw failure(.malformed, "tokenizer.ggml.tokens is missing or empty", metadata)
        }
        guard array.count <= VocabularyTable.idLimit else {
            throw failure(.malformed, "tokenizer.ggml.tokens has \(array.count) tokens, which is absurd", metadata)
        }
        var texts: [String?] = []
        texts.reserveCapacity(array.count)
        var index = [ExactString: Int](minimumCapacity: array.count)
        var invalid: [Int] = []
        var duplicates: [Int] = []
        array.forEachStringBytes { bytes in
            let id = texts.count
            guard let text = String(validating: bytes, as: UTF8.self) else {
                invalid.append(id)
                texts.append(nil)
                return
            }
            let key = ExactString(text)
            if index[key] == nil {
                index[key] = id
                texts.append(text)
            } else {
                duplicates.append(id)
                texts.append(nil)
            }
        }
        if let first = invalid.first {
            warnings.append("\(invalid.count) tokens are not UTF-8, the first is \(first); they are left out")
        }
        if let first = duplicates.first {
            warnings.append(
                "\(duplicates.count) tokens repeat another's text, the first is \(first); they are left out")
        }
        return (texts, index)
    }

    private static func readKinds(_ metadata: GGUFMetadata, texts: [String?]) throws -> [TokenKind] {
        guard let numbers = try metadata.intsIfPresent("tokenizer.ggml.token_type") else {
            return texts.map { _ in .normal }
        }
        guard numbers.count == texts.count else {
            throw failure(
                .malformed, "there are \(texts.count) tokens but \(numbers.count) token types", metadata)
        }
        return try numbers.map { number in
            // 0 stands for "undefined" in old files.
            if number == 0 { return .normal }
            guard let kind = Int32(exactly: number).flatMap({ TokenKind(rawValue: $0) }) else {
                throw failure(.malformed, "tokenizer.ggml.token_type holds \(number); 1 to 6 are known", metadata)
            }
            return kind
        }
    }

    private static func readScores(_ metadata: GGUFMetadata, count: Int) throws -> [Float]? {
        guard let scores = try metadata.floatsIfPresent("tokenizer.ggml.scores") else { return nil }
        guard scores.count == count else {
            throw failure(.malformed, "there are \(count) tokens but \(scores.count) scores", metadata)
        }
        guard scores.allSatisfy(\.isFinite) else {
            throw failure(.malformed, "tokenizer.ggml.scores holds a value that is not finite", metadata)
        }
        return scores
    }

    private static func readMerges(_ metadata: GGUFMetadata) throws -> [HuggingFaceTokenizer.Merge] {
        guard let array = try array("tokenizer.ggml.merges", metadata, of: .string) else { return [] }
        var result: [HuggingFaceTokenizer.Merge] = []
        result.reserveCapacity(array.count)
        var broken: Int?
        array.forEachStringBytes { bytes in
            if let merge = String(validating: bytes, as: UTF8.self).flatMap({ HuggingFaceTokenizer.Merge(line: $0) }) {
                result.append(merge)
            } else if broken == nil {
                broken = result.count
            }
        }
        if let broken {
            throw failure(
                .malformed, "merge \(broken) is not two texts with a blank between", metadata)
        }
        return result
    }

    private static func readIDs(
        _ metadata: GGUFMetadata, count: Int, warnings: inout [String]
    ) throws -> [SpecialTokens.Role: Int] {
        var result: [SpecialTokens.Role: Int] = [:]
        for role in SpecialTokens.Role.allCases {
            guard let id = try metadata.intIfPresent(role.key) else { continue }
            if id >= 0, id < count {
                result[role] = id
            } else {
                warnings.append("\(role.key) is \(id), but there are \(count) tokens; it is left out")
            }
        }
        return result
    }
}
