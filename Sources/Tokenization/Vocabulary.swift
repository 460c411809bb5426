/// The part of a tokenizer that is the same for every algorithm: what each id is and what bytes it stands for.
struct Vocabulary: Sendable {
    let kinds: [TokenKind]
    let special: SpecialTokens
    let endOfGeneration: Set<Int>
    private(set) var warnings: [String]
    private let bytes: [UInt8]
    private let ends: [Int]

    var count: Int { kinds.count }

    /// - Parameter text: the bytes that a token which is neither control nor added by hand stands for.
    /// - Throws: `invalidVocabulary` if there are no tokens or the lists differ in length.
    init(_ description: TokenizerDescription, text: (_ id: Int, _ token: [UInt8]) -> [UInt8]?) throws {
        let tokens = description.tokens
        guard !tokens.isEmpty else {
            throw TokenizationError(
                code: .invalidVocabulary, message: "the vocabulary has no tokens", field: "tokens")
        }
        guard tokens.count < Int(Int32.max) / 2 else {
            throw TokenizationError(
                code: .invalidVocabulary,
                message: "the vocabulary has \(tokens.count) tokens, more than ids can number",
                field: "tokens")
        }
        for (name, count) in [("kinds", description.kinds.count), ("scores", description.scores.count)]
        where count != 0 && count != tokens.count {
            throw TokenizationError(
                code: .invalidVocabulary,
                message: "the vocabulary has \(tokens.count) tokens but \(count) \(name); both lists must be as long",
                field: name)
        }
        if let at = description.scores.firstIndex(where: \.isNaN) {
            throw TokenizationError(
                code: .invalidVocabulary, message: "the score of token \(at) is not a number", field: "scores")
        }
        let bounded = description.special.bounded(by: tokens.count)
        special = bounded.tokens
        warnings = bounded.dropped

        var kinds = description.kinds
        if kinds.isEmpty {
            kinds = [TokenKind](repeating: .normal, count: tokens.count)
            let roles = [
                special.beginningOfSequence, special.endOfSequence, special.endOfTurn, special.endOfMessage,
                special.separator, special.padding,
            ]
            for case .some(let id) in roles { kinds[id] = .control }
            if let id = special.unknown, kinds[id] == .normal { kinds[id] = .unknown }
        }
        self.kinds = kinds
        endOfGeneration = EndOfGeneration.ids(tokens: tokens, special: special)

        var bytes: [UInt8] = []
        var ends: [Int] = []
        ends.reserveCapacity(tokens.count)
        for (id, token) in tokens.enumerated() {
            let kind = kinds[id]
            let isRaw = kind == .control || kind == .unknown || kind == .userDefined
            bytes.append(contentsOf: (isRaw ? nil : text(id, token)) ?? token)
            ends.append(bytes.count)
        }
        self.bytes = bytes
        self.ends = ends
    }

    /// The tokens that stand for single bytes, `<0x00>`…`<0xFF>`, or -1 for each that is missing.
    /// - Throws: `invalidVocabulary` if a token of the byte kind is written otherwise.
    func byteTokens(_ tokens: [[UInt8]]) throws -> [Int32] {
        var result = [Int32](repeating: -1, count: 256)
        for id in 0..<count where kinds[id] == .byte {
            guard let byte = BlankMark.byteValue(of: tokens[id]) else {
                throw TokenizationError(
                    code: .invalidVocabulary,
                    message: "token \(id) stands for a byte, but is written '\(Self.shown(tokens[id]))' and not like "
                        + "'<0x0A>'",
                    field: "tokens")
            }
            result[Int(byte)] = Int32(id)
        }
        return result
    }

    /// A text for a message: short, and UTF-8 whatever it holds.
    static func shown(_ text: [UInt8]) -> String {
        String(decoding: text.prefix(40), as: UTF8.self) + (text.count > 40 ? "…" : "")
    }

    mutating func warn(_ sentence: String) { warnings.append(sentence) }

    func bytes(of id: Int) -> ArraySlice<UInt8> {
        guard id >= 0, id < ends.count else { return [] }
        return bytes[(id == 0 ? 0 : ends[id - 1])..<ends[id]]
    }

    func kind(of id: Int) -> TokenKind { id >= 0 && id < kinds.count ? kinds[id] : .unused }
}
