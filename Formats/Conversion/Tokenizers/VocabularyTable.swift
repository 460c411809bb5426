import ByteIO
import GGUF

/// What a token is, with the numbers of `tokenizer.ggml.token_type`.
enum TokenKind: Int32, Sendable {
    case normal = 1
    case unknown = 2
    case control = 3
    case userDefined = 4
    case unused = 5
    case byte = 6
}

/// One entry of a vocabulary.
struct VocabularyToken: Sendable, Equatable {
    var text: String
    var kind: TokenKind
    var score: Float = 0

    static func == (left: VocabularyToken, right: VocabularyToken) -> Bool {
        ExactString.equal(left.text, right.text) && left.kind == right.kind && left.score == right.score
    }
}

/// A vocabulary that is being put together: tokens by id, ids by text, holes where no file named a token.
struct VocabularyTable: Sendable {
    /// Ids at or above this are refused: no model has four million tokens, and a hostile id must not cost memory.
    static let idLimit = 1 << 22
    /// The scores the reference converter gives to added tokens and to holes.
    static let addedScore: Float = -1000
    static let holeScore: Float = -10000

    private(set) var slots: [VocabularyToken?] = []
    private var ids: [ExactString: Int] = [:]
    /// Texts that two ids claim; the first keeps it.
    private(set) var duplicates: [(text: String, first: Int, second: Int)] = []
    /// Names the file in errors.
    let path: String

    init(path: String, capacity: Int = 0) {
        self.path = path
        slots.reserveCapacity(capacity)
        ids.reserveCapacity(capacity)
    }

    var count: Int { slots.count }

    subscript(id: Int) -> VocabularyToken? { id >= 0 && id < slots.count ? slots[id] : nil }

    func id(of text: String) -> Int? { ids[ExactString(text)] }

    /// Puts a token at an id, in place of what is there.
    /// - Throws: ``ConversionError`` when the id is negative or absurdly large.
    mutating func set(_ id: Int, _ token: VocabularyToken) throws {
        guard id >= 0, id < Self.idLimit else {
            throw ConversionError(
                .malformed,
                "token \(token.text.quotedForMessage) has the id \(id); ids from 0 to \(Self.idLimit - 1) are expected",
                path: path)
        }
        while slots.count <= id { slots.append(nil) }
        if let old = slots[id], !ExactString.equal(old.text, token.text), ids[ExactString(old.text)] == id {
            ids[ExactString(old.text)] = nil
        }
        slots[id] = token
        let key = ExactString(token.text)
        if let first = ids[key], first != id {
            duplicates.append((token.text, first, id))
        } else {
            ids[key] = id
        }
    }

    /// Puts a token at an id that must be free or hold the same text.
    mutating func add(_ id: Int, _ token: VocabularyToken) throws {
        if let old = self[id], !ExactString.equal(old.text, token.text) {
            throw ConversionError(
                .malformed,
                "id \(id) is claimed by two tokens, \(old.text.quotedForMessage) and \(token.text.quotedForMessage)",
                path: path)
        }
        try set(id, token)
    }

    /// Changes what a token is, and its text to the form the reference stores.
    mutating func replace(_ id: Int, kind: TokenKind, text: String? = nil, score: Float? = nil) throws {
        guard var token = self[id] else { return }
        token.kind = kind
        if let text { token.text = text }
        if let score { token.score = score }
        try set(id, token)
    }

    /// The vocabulary with exactly as many tokens as the embedding has rows.
    ///
    /// Holes and missing ids at the end become `[PAD<id>]`, unused. Added tokens beyond the end are dropped with a
    /// warning, since nothing can be computed for them; ordinary ones mean that the tokenizer is another model's.
    /// - Parameter size: nil keeps the table's own size.
    func padded(to size: Int?, warnings: inout [String]) throws -> [VocabularyToken] {
        let target = size ?? slots.count
        guard target > 0 else { throw ConversionError(.malformed, "the tokenizer has no tokens", path: path) }
        guard target <= Self.idLimit else {
            throw ConversionError(
                .invalidRequest, "a vocabulary of \(target) tokens is beyond the \(Self.idLimit) that are supported",
                path: path)
        }
        if slots.count > target {
            let beyond = slots[target...].compactMap { $0 }
            if let foreign = beyond.first(where: { $0.kind == .normal || $0.kind == .byte }) {
                throw ConversionError(
                    .malformed,
                    "the tokenizer has \(slots.count) tokens but the model's embedding has \(target) rows, and "
                        + "\(foreign.text.quotedForMessage) lies beyond them: this is another model's tokenizer",
                    path: path)
            }
            if let first = beyond.first {
                let others = beyond.count > 1 ? " and \(beyond.count - 1) more" : ""
                warnings.append(
                    "dropped the added token \(first.text.quotedForMessage)\(others): the embedding ends at row \(target)"
                )
            }
        }
        if let duplicate = duplicates.first {
            let others = duplicates.count > 1 ? " (and \(duplicates.count - 1) more)" : ""
            warnings.append(
                "tokens \(duplicate.first) and \(duplicate.second) have the same text "
                    + "\(duplicate.text.quotedForMessage)\(others); only the first can be produced")
        }
        return (0..<target).map { id in
            self[id] ?? VocabularyToken(text: "[PAD\(id)]", kind: .unused, score: Self.holeScore)
        }
    }
}

/// Recognises tokens by how they are written.
enum TokenText {
    /// Whether an added token is meant as a control token although its file does not say so.
    ///
    /// Some models (command-r, deepseek-coder, gemma) leave the mark out; the reference converter has the same list.
    static func looksSpecial(_ text: String) -> Bool {
        switch text {
        case "<pad>", "<mask>", "<2mass>", "[@BOS@]": true
        default:
            (text.hasPrefix("<|") && text.hasSuffix("|>")) || (text.hasPrefix("<｜") && text.hasSuffix("｜>"))
                || (text.hasPrefix("<unused") && text.hasSuffix(">"))
        }
    }

    /// The byte that `<0xHH>` stands for; nil for every other text.
    static func byte(_ text: String) -> UInt8? {
        let utf8 = text.utf8
        guard utf8.count == 6, text.hasPrefix("<0x"), utf8.last == UInt8(ascii: ">") else { return nil }
        let digits = utf8.dropFirst(3).prefix(2)
        guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit && $0 < 0x80 }) else { return nil }
        return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
    }

    /// How a byte token is written.
    static func byteToken(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x" + (digits.count == 1 ? "0" : "") + digits + ">"
    }

    /// Whether a token only fills the vocabulary: `[PAD7]`.
    static func isPadding(_ text: String) -> Bool {
        guard text.hasPrefix("[PAD"), text.hasSuffix("]") else { return false }
        let digits = text.utf8.dropFirst(4).dropLast()
        return !digits.isEmpty && digits.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    }

    /// SentencePiece's mark for a blank.
    static let blank: Unicode.Scalar = "\u{2581}"

    /// The text with `▁` written as a blank, as user-defined tokens are stored.
    static func withBlanks(_ text: String) -> String { replacing(blank, by: " ", in: text) }

    static func replacing(_ old: Unicode.Scalar, by new: Unicode.Scalar, in text: String) -> String {
        guard text.unicodeScalars.contains(old) else { return text }
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { result.append(scalar == old ? new : scalar) }
        return String(result)
    }
}
