/// SentencePiece's unigram model, as T5 uses it (`t5` in GGUF): the cut of the text with the highest sum of scores.
///
/// Text is first normalised: replacements of the character map, blanks at the ends dropped and runs joined (where the file
/// says so), a blank in front, blanks written `▁`. The best cut is found by Viterbi's algorithm over character positions,
/// in double precision. A character that no token covers costs ten less than the lowest score; neighbouring ones are one
/// unknown token. Time grows with the text's length times that of the longest token.
public final class Unigram: Tokenizer {
    private let vocabulary: Vocabulary
    private let specials: SpecialTokenMatcher
    private let map: CharacterMap
    private let trie: ByteTrie
    private let scores: [Double]
    private let unknownScore: Double
    private let byteIds: [Int32]
    private let hasBytes: Bool
    private let addsSpacePrefix: Bool
    private let removesExtraSpaces: Bool
    private let addsEnd: Bool
    public let addsBeginning: Bool

    public var vocabularyCount: Int { vocabulary.count }
    public var special: SpecialTokens { vocabulary.special }
    public var endOfGeneration: Set<Int> { vocabulary.endOfGeneration }
    public var warnings: [String] { vocabulary.warnings }
    public var stripsLeadingBlank: Bool { addsSpacePrefix }

    /// - Throws: `TokenizationError` if there are no tokens, no scores or lists of different lengths, no unknown token, or
    ///   if the character map is damaged.
    public init(_ description: TokenizerDescription) throws {
        guard !description.scores.isEmpty || description.tokens.isEmpty else {
            throw TokenizationError(
                code: .invalidVocabulary, message: "the vocabulary has no scores, which decide the cut", field: "scores"
            )
        }
        var description = description
        if description.special.endOfSequence == nil { description.special.endOfSequence = 1 }
        if description.special.unknown == nil {
            description.special.unknown = description.kinds.firstIndex(of: .unknown) ?? 2
        }
        let kinds = description.kinds
        var vocabulary = try Vocabulary(description) { id, token in
            if id < kinds.count, kinds[id] == .byte, let byte = BlankMark.byteValue(of: token) { return [byte] }
            return BlankMark.removed(from: token)
        }
        guard vocabulary.special.unknown != nil else {
            throw TokenizationError(
                code: .invalidVocabulary, message: "the vocabulary has no unknown token, which a unigram model needs",
                field: "special.unknown")
        }
        byteIds = try vocabulary.byteTokens(description.tokens)
        hasBytes = !byteIds.contains(-1)
        map = try CharacterMap(description.characterMap)
        specials = SpecialTokenMatcher(
            tokens: description.tokens, kinds: vocabulary.kinds, leftStripping: description.leftStripping,
            rightStripping: description.rightStripping)
        var trie = ByteTrie()
        var lowest = Double.infinity
        var scores = description.scores.map(Double.init)
        for (id, token) in description.tokens.enumerated() where !token.isEmpty {
            let kind = vocabulary.kinds[id]
            if kind == .userDefined { scores[id] = 0 }
            guard kind == .normal || kind == .userDefined else { continue }
            trie.insert(token, Int32(id), replacing: true)
            if kind == .normal { lowest = min(lowest, scores[id]) }
        }
        guard lowest.isFinite || lowest == .infinity, scores.allSatisfy(\.isFinite) else {
            throw TokenizationError(code: .invalidVocabulary, message: "a score is infinite", field: "scores")
        }
        self.trie = trie
        self.scores = scores
        unknownScore = (lowest.isFinite ? lowest : 0) - 10
        addsSpacePrefix = description.addsSpacePrefix ?? true
        removesExtraSpaces = description.removesExtraSpaces ?? false
        addsBeginning = description.addsBeginning ?? false
        addsEnd = description.addsEnd ?? true
        if map.isEmpty { vocabulary.warn("the file has no table of character replacements; text is not normalised") }
        self.vocabulary = vocabulary
    }

    // MARK: - Encoding

    public func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool) -> [Int] {
        var ids: [Int] = []
        if addSpecial, addsBeginning, let id = special.beginningOfSequence { ids.append(id) }
        var text = text
        text.withUTF8 { bytes in
            specials.forEachFragment(of: bytes, parseSpecial: parseSpecial) { fragment in
                switch fragment {
                case .token(let id): ids.append(id)
                case .text(let range):
                    normalized(UnsafeBufferPointer(rebasing: bytes[range])).withUnsafeBufferPointer {
                        append($0, to: &ids)
                    }
                }
            }
        }
        if addSpecial, addsEnd, let id = special.endOfSequence { ids.append(id) }
        return ids
    }

    /// The text as tokens are written: replaced, with blanks as `▁`.
    func normalized(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count * 3 / 2 + 3)
        var position = 0
        // What a prefix becomes: a replacement, or one character as it is.
        func step() -> (bytes: ArraySlice<UInt8>?, plain: Range<Int>) {
            if let (length, replacement) = map.longestMatch(in: text, at: position) {
                position += length
                return (map.bytes(of: replacement), 0..<0)
            }
            let start = position
            position += 1
            while position < text.count, text[position] & 0xC0 == 0x80 { position += 1 }
            return (nil, start..<position)
        }
        var isFirst = true
        var isBehindBlank = removesExtraSpaces
        while position < text.count {
            let (replacement, plain) = step()
            if isFirst, removesExtraSpaces,
                replacement.map({ $0.elementsEqual([0x20]) }) ?? (plain.count == 1 && text[plain.lowerBound] == 0x20)
            {
                continue
            }
            if isFirst {
                isFirst = false
                if addsSpacePrefix { result += BlankMark.bytes }
            }
            if let replacement {
                add(replacement, to: &result, &isBehindBlank)
            } else {
                add(text[plain], to: &result, &isBehindBlank)
            }
        }
        if removesExtraSpaces {
            while result.suffix(3).elementsEqual(BlankMark.bytes) { result.removeLast(3) }
        }
        return result
    }

    private func add(_ bytes: some Collection<UInt8>, to result: inout [UInt8], _ isBehindBlank: inout Bool) {
        var leading = isBehindBlank
        var last: UInt8 = 0
        var isEmpty = true
        for byte in bytes {
            if leading, byte == 0x20 { continue }
            leading = false
            isEmpty = false
            last = byte
            if byte == 0x20 { result += BlankMark.bytes } else { result.append(byte) }
        }
        if !isEmpty { isBehindBlank = last == 0x20 }
        if !removesExtraSpaces { isBehindBlank = false }
    }

    private struct Arrival {
        var score = -Double.infinity
        var start: Int32 = -1
        var id: Int32 = -1
    }

    private func append(_ text: UnsafeBufferPointer<UInt8>, to ids: inout [Int]) {
        guard !text.isEmpty, let unknown = special.unknown else { return }
        precondition(text.count < Int(Int32.max), "a text holds at most 2^31 - 2 bytes")
        var arrivals = [Arrival](repeating: Arrival(), count: text.count + 1)
        arrivals[0].score = 0
        var start = 0
        while start < text.count {
            let score = arrivals[start].score
            var next = start + 1
            while next < text.count, text[next] & 0xC0 == 0x80 { next += 1 }
            var isCovered = false
            var node = ByteTrie.root
            var position = start
            while position < text.count, let child = trie.child(of: node, text[position]) {
                node = child
                position += 1
                let id = trie.value(at: node)
                guard id >= 0 else { continue }
                if position == next { isCovered = true }
                let sum = score + scores[Int(id)]
                if arrivals[position].start < 0 || sum > arrivals[position].score {
                    arrivals[position] = Arrival(score: sum, start: Int32(start), id: id)
                }
            }
            if !isCovered {
                let sum = score + unknownScore
                if arrivals[next].start < 0 || sum > arrivals[next].score {
                    arrivals[next] = Arrival(score: sum, start: Int32(start), id: Int32(unknown))
                }
            }
            start = next
        }
        var reversed: [(start: Int, end: Int, id: Int)] = []
        var end = text.count
        while end > 0 {
            let arrival = arrivals[end]
            // Every character border was reached: by a token, or as an unknown character.
            guard arrival.start >= 0 else { break }
            reversed.append((Int(arrival.start), end, Int(arrival.id)))
            end = Int(arrival.start)
        }
        var previous = -1
        for (start, end, id) in reversed.reversed() {
            defer { previous = id }
            if id != unknown {
                ids.append(id)
            } else if hasBytes {
                for byte in text[start..<end] { ids.append(Int(byteIds[Int(byte)])) }
            } else if previous != unknown {
                ids.append(id)
            }
        }
    }

    // MARK: - Decoding

    public func bytes(of id: Int) -> [UInt8] { Array(vocabulary.bytes(of: id)) }
    public func appendBytes(of id: Int, to bytes: inout [UInt8]) { bytes.append(contentsOf: vocabulary.bytes(of: id)) }
    public func kind(of id: Int) -> TokenKind { vocabulary.kind(of: id) }
}
