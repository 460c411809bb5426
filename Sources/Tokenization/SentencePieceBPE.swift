/// SentencePiece's byte pair encoding, as Llama 2, Mistral 7B and Phi-3 use it (`llama` in GGUF).
///
/// Blanks become `▁`; of all neighbouring pairs whose joined text is a token the one with the highest score is joined
/// first, of equals the leftmost. Characters without a token become the byte tokens `<0xXX>`, or the unknown token.
public final class SentencePieceBPE: Tokenizer {
    private let vocabulary: Vocabulary
    private let specials: SpecialTokenMatcher
    private let texts: ByteStringTable
    private let textIds: [Int32]
    private let scores: [Float]
    private let byteIds: [Int32]
    private let addsSpacePrefix: Bool
    private let addsEnd: Bool
    public let addsBeginning: Bool

    public var vocabularyCount: Int { vocabulary.count }
    public var special: SpecialTokens { vocabulary.special }
    public var endOfGeneration: Set<Int> { vocabulary.endOfGeneration }
    public var warnings: [String] { vocabulary.warnings }
    public var stripsLeadingBlank: Bool { addsSpacePrefix }

    /// - Throws: `TokenizationError` if there are no tokens, no scores or lists of different lengths.
    public init(_ description: TokenizerDescription) throws {
        guard !description.scores.isEmpty || description.tokens.isEmpty else {
            throw TokenizationError(
                code: .invalidVocabulary, message: "the vocabulary has no scores, which decide the order of merging",
                field: "scores")
        }
        var description = description
        // The family's roles, where the file names none.
        if description.special.beginningOfSequence == nil { description.special.beginningOfSequence = 1 }
        if description.special.endOfSequence == nil { description.special.endOfSequence = 2 }
        if description.special.unknown == nil { description.special.unknown = 0 }
        let kinds = description.kinds
        var vocabulary = try Vocabulary(description) { id, token in
            if id < kinds.count, kinds[id] == .byte, let byte = Self.byteValue(of: token) { return [byte] }
            return Self.replacingMarks(in: token)
        }
        specials = SpecialTokenMatcher(
            tokens: description.tokens, kinds: vocabulary.kinds, leftStripping: description.leftStripping,
            rightStripping: description.rightStripping)
        var texts = ByteStringTable(minimumCapacity: vocabulary.count)
        var textIds: [Int32] = []
        var byteIds = [Int32](repeating: -1, count: 256)
        for (id, token) in description.tokens.enumerated() where !token.isEmpty {
            switch vocabulary.kinds[id] {
            case .control, .unknown: continue
            case .byte:
                if let byte = Self.byteValue(of: token) { byteIds[Int(byte)] = Int32(id) }
            default:
                let (number, isNew) = token.withUnsafeBufferPointer { texts.insert($0) }
                if isNew { textIds.append(Int32(id)) } else { textIds[number] = Int32(id) }
            }
        }
        let missing = byteIds.count { $0 < 0 }
        if missing > 0 { vocabulary.warn("\(missing) bytes have no token; characters that need them become unknown") }
        self.texts = texts
        self.textIds = textIds
        self.byteIds = byteIds
        scores = description.scores.map { $0.isNaN ? -.infinity : $0 }
        addsSpacePrefix = description.addsSpacePrefix ?? true
        addsBeginning = description.addsBeginning ?? true
        addsEnd = description.addsEnd ?? false
        self.vocabulary = vocabulary
    }

    public func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool) -> [Int] {
        var ids: [Int] = []
        if addSpecial, addsBeginning, let id = special.beginningOfSequence { ids.append(id) }
        var text = text
        text.withUTF8 { bytes in
            specials.forEachFragment(of: bytes, parseSpecial: parseSpecial) { fragment in
                switch fragment {
                case .token(let id): ids.append(id)
                case .text(let range):
                    var marked: [UInt8] = []
                    marked.reserveCapacity(range.count + range.count / 2 + 3)
                    if addsSpacePrefix { marked += Self.mark }
                    for byte in bytes[range] {
                        if byte == 0x20 { marked += Self.mark } else { marked.append(byte) }
                    }
                    marked.withUnsafeBufferPointer { append($0, to: &ids) }
                }
            }
        }
        if addSpecial, addsEnd, let id = special.endOfSequence { ids.append(id) }
        return ids
    }

    // MARK: - Merging

    private struct Pair {
        /// The score, higher first, then the position of the left symbol.
        var score: Float
        var left: Int32
        /// Bytes of both symbols; another number means that one of them has grown since.
        var length: Int32

        static func precedes(_ a: Pair, _ b: Pair) -> Bool {
            a.score > b.score || (a.score == b.score && a.left < b.left)
        }
    }

    private func append(_ text: UnsafeBufferPointer<UInt8>, to ids: inout [Int]) {
        var starts: [Int32] = []
        for index in 0..<text.count where text[index] & 0xC0 != 0x80 || index == 0 { starts.append(Int32(index)) }
        let count = starts.count
        var lengths = (0..<count).map { ($0 + 1 < count ? starts[$0 + 1] : Int32(text.count)) - starts[$0] }
        var previous = (0..<count).map { Int32($0 - 1) }
        var next = (0..<count).map { $0 + 1 < count ? Int32($0 + 1) : -1 }
        var heap = BinaryHeap<Pair>(precedes: Pair.precedes)

        func push(_ left: Int32) {
            guard left >= 0, next[Int(left)] >= 0 else { return }
            let length = lengths[Int(left)] + lengths[Int(next[Int(left)])]
            let start = Int(starts[Int(left)])
            guard let number = texts.find(UnsafeBufferPointer(rebasing: text[start..<start + Int(length)])) else {
                return
            }
            heap.push(Pair(score: scores[Int(textIds[number])], left: left, length: length))
        }

        for left in 0..<Int32(count) { push(left) }
        while let pair = heap.pop() {
            let left = Int(pair.left)
            let right = Int(next[left])
            guard lengths[left] > 0, right >= 0, lengths[left] + lengths[right] == pair.length else { continue }
            lengths[left] = pair.length
            lengths[right] = 0
            next[left] = next[right]
            if next[left] >= 0 { previous[Int(next[left])] = pair.left }
            push(previous[left])
            push(pair.left)
        }
        for index in 0..<count where lengths[index] > 0 {
            let start = Int(starts[index])
            let symbol = text[start..<start + Int(lengths[index])]
            if let number = texts.find(UnsafeBufferPointer(rebasing: symbol)) {
                ids.append(Int(textIds[number]))
                continue
            }
            for byte in symbol {
                let id = byteIds[Int(byte)]
                if id >= 0 { ids.append(Int(id)) } else if let unknown = special.unknown { ids.append(unknown) }
            }
        }
    }

    // MARK: - Decoding

    public func bytes(of id: Int) -> [UInt8] { Array(vocabulary.bytes(of: id)) }
    public func appendBytes(of id: Int, to bytes: inout [UInt8]) { bytes.append(contentsOf: vocabulary.bytes(of: id)) }
    public func kind(of id: Int) -> TokenKind { vocabulary.kind(of: id) }

    /// U+2581 in UTF-8.
    private static let mark: [UInt8] = [0xE2, 0x96, 0x81]

    private static func replacingMarks(in token: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var index = 0
        while index < token.count {
            if token[index...].starts(with: mark) {
                result.append(0x20)
                index += 3
            } else {
                result.append(token[index])
                index += 1
            }
        }
        return result
    }

    /// The byte that `<0x0A>` stands for.
    private static func byteValue(of token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.starts(with: Array("<0x".utf8)), token[5] == 0x3E else { return nil }
        return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
    }
}

/// A heap in one array; the first in order comes out first.
struct BinaryHeap<Element> {
    private var elements: [Element] = []
    private let precedes: (Element, Element) -> Bool

    init(precedes: @escaping (Element, Element) -> Bool) { self.precedes = precedes }

    mutating func push(_ element: Element) {
        var child = elements.count
        elements.append(element)
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(element, elements[parent]) else { break }
            elements[child] = elements[parent]
            child = parent
        }
        elements[child] = element
    }

    mutating func pop() -> Element? {
        guard let first = elements.first, let last = elements.popLast() else { return nil }
        guard !elements.isEmpty else { return first }
        var parent = 0
        while true {
            var child = parent * 2 + 1
            guard child < elements.count else { break }
            if child + 1 < elements.count, precedes(elements[child + 1], elements[child]) { child += 1 }
            guard precedes(elements[child], last) else { break }
            elements[parent] = elements[child]
            parent = child
        }
        elements[parent] = last
        return first
    }
}
