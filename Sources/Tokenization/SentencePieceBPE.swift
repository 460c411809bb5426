import Synchronization

/// SentencePiece's byte pair encoding, as Llama 2, Mistral 7B and Phi-3 use it (`llama` in GGUF).
///
/// Blanks become `▁`; of all neighbouring pairs whose joined text is a token the one with the highest score is joined
/// first, of equals the leftmost. Characters without a token become the byte tokens `<0xXX>`, or the unknown token.
///
/// Where no token goes on over the beginning of a word (`x▁`), words are merged one by one and remembered; otherwise, as
/// the rule says, the whole text is merged at once.
public final class SentencePieceBPE: Tokenizer {
    private let vocabulary: Vocabulary
    private let specials: SpecialTokenMatcher
    private let texts: ByteStringTable
    private let textIds: [Int32]
    /// By text: higher scores first, as numbers that sort upwards.
    private let order: [UInt32]
    private let longestText: Int
    private let byteIds: [Int32]
    private let wordsAreApart: Bool
    private let addsSpacePrefix: Bool
    private let addsEnd: Bool
    public let addsBeginning: Bool
    private let idle = Mutex<[Workspace]>([])

    public var vocabularyCount: Int { vocabulary.count }
    public var special: SpecialTokens { vocabulary.special }
    public var endOfGeneration: Set<Int> { vocabulary.endOfGeneration }
    public var warnings: [String] { vocabulary.warnings }
    public var stripsLeadingBlank: Bool { addsSpacePrefix }

    /// - Throws: `TokenizationError` if there are no tokens, no scores, lists of different lengths or a malformed byte token.
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
            if id < kinds.count, kinds[id] == .byte, let byte = BlankMark.byteValue(of: token) { return [byte] }
            return BlankMark.removed(from: token)
        }
        byteIds = try vocabulary.byteTokens(description.tokens)
        specials = SpecialTokenMatcher(
            tokens: description.tokens, kinds: vocabulary.kinds, leftStripping: description.leftStripping,
            rightStripping: description.rightStripping)
        var texts = ByteStringTable(minimumCapacity: vocabulary.count)
        var textIds: [Int32] = []
        var wordsAreApart = true
        var longest = 0
        var duplicates = 0
        for (id, token) in description.tokens.enumerated() where !token.isEmpty {
            let kind = vocabulary.kinds[id]
            if kind == .control || kind == .unknown || kind == .byte { continue }
            let (number, isNew) = token.withUnsafeBufferPointer { texts.insert($0) }
            if isNew { textIds.append(Int32(id)) } else { textIds[number] = Int32(id) }
            if !isNew { duplicates += 1 }
            longest = max(longest, token.count)
            if wordsAreApart, Self.holdsWordStart(token) { wordsAreApart = false }
        }
        let missing = byteIds.count { $0 < 0 }
        if missing > 0 { vocabulary.warn("\(missing) bytes have no token; characters that need them become unknown") }
        if duplicates > 0 {
            vocabulary.warn("\(duplicates) tokens repeat the text of another; the last of each counts")
        }
        order = textIds.map { Self.descending(description.scores[Int($0)]) }
        self.texts = texts
        self.textIds = textIds
        self.wordsAreApart = wordsAreApart
        longestText = longest
        addsSpacePrefix = description.addsSpacePrefix ?? true
        addsBeginning = description.addsBeginning ?? true
        addsEnd = description.addsEnd ?? false
        self.vocabulary = vocabulary
    }

    // MARK: - Encoding

    public func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool) -> [Int] {
        var ids: [Int] = []
        if addSpecial, addsBeginning, let id = special.beginningOfSequence { ids.append(id) }
        var workspace = idle.withLock { $0.popLast() } ?? Workspace()
        var text = text
        text.withUTF8 { bytes in
            ids.reserveCapacity(bytes.count / 4 + 4)
            specials.forEachFragment(of: bytes, parseSpecial: parseSpecial) { fragment in
                switch fragment {
                case .token(let id): ids.append(id)
                case .text(let range):
                    let first = ids.count
                    let marked = BlankMark.written(bytes[range], prefixed: addsSpacePrefix)
                    marked.withUnsafeBufferPointer { append($0, to: &ids, &workspace) }
                    joinUnknown(&ids, from: first)
                }
            }
        }
        let returned = workspace
        idle.withLock { if $0.count < 8 { $0.append(returned) } }
        if addSpecial, addsEnd, let id = special.endOfSequence { ids.append(id) }
        return ids
    }

    /// Neighbouring unknown characters are one unknown token.
    private func joinUnknown(_ ids: inout [Int], from first: Int) {
        guard let unknown = special.unknown, byteIds.contains(-1) else { return }
        var kept = first
        for index in first..<ids.count where !(ids[index] == unknown && kept > first && ids[kept - 1] == unknown) {
            ids[kept] = ids[index]
            kept += 1
        }
        ids.removeLast(ids.count - kept)
    }

    private func append(_ text: UnsafeBufferPointer<UInt8>, to ids: inout [Int], _ workspace: inout Workspace) {
        guard wordsAreApart else { return appendMerged(text, to: &ids, &workspace) }
        var start = 0
        var index = 0
        var wasMark = true
        while index < text.count {
            let isMark =
                text[index] == 0xE2 && index + 2 < text.count && text[index + 1] == 0x96 && text[index + 2] == 0x81
            if isMark, !wasMark {
                appendWord(UnsafeBufferPointer(rebasing: text[start..<index]), to: &ids, &workspace)
                start = index
            }
            wasMark = isMark
            index += isMark ? 3 : 1
        }
        if start < text.count {
            appendWord(UnsafeBufferPointer(rebasing: text[start...]), to: &ids, &workspace)
        }
    }

    @inline(__always)
    private func appendWord(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int], _ workspace: inout Workspace) {
        if workspace.cache.appendIds(of: word, to: &ids) { return }
        let first = ids.count
        appendMerged(word, to: &ids, &workspace)
        workspace.cache.insert(word, ids[first...])
    }

    // MARK: - Merging

    /// What one call of `encode` needs for itself.
    private struct Workspace: Sendable {
        var cache = WordCache()
        var symbols: [Symbol] = []
        var heap: [Pair] = []
    }

    private struct Symbol: Sendable {
        var start, length, previous, next: Int32
    }

    private struct Pair: Sendable {
        /// The order of the joined text's score, then the position of the left symbol.
        var key: UInt64
        /// Bytes of both symbols; another number means that one of them has grown since.
        var length: Int32
    }

    private func appendMerged(_ text: UnsafeBufferPointer<UInt8>, to ids: inout [Int], _ workspace: inout Workspace) {
        precondition(text.count <= Int(Int32.max), "a text holds at most 2^31 - 1 bytes")
        workspace.symbols.removeAll(keepingCapacity: true)
        workspace.heap.removeAll(keepingCapacity: true)
        for index in 0..<text.count where text[index] & 0xC0 != 0x80 || index == 0 {
            let number = Int32(workspace.symbols.count)
            if number > 0 {
                workspace.symbols[Int(number) - 1].length = Int32(index) - workspace.symbols[Int(number) - 1].start
            }
            workspace.symbols.append(Symbol(start: Int32(index), length: 0, previous: number - 1, next: number + 1))
        }
        guard let last = workspace.symbols.indices.last else { return }
        workspace.symbols[last].length = Int32(text.count) - workspace.symbols[last].start
        workspace.symbols[last].next = -1
        for left in 0..<last { push(text, Int32(left), &workspace) }
        while let pair = Self.pop(&workspace.heap) {
            let left = Int(pair.key & 0xFFFF_FFFF)
            let right = Int(workspace.symbols[left].next)
            guard workspace.symbols[left].length > 0, right >= 0,
                workspace.symbols[left].length + workspace.symbols[right].length == pair.length
            else { continue }
            let after = workspace.symbols[right].next
            workspace.symbols[left].length = pair.length
            workspace.symbols[left].next = after
            workspace.symbols[right].length = 0
            if after >= 0 { workspace.symbols[Int(after)].previous = Int32(left) }
            push(text, workspace.symbols[left].previous, &workspace)
            push(text, Int32(left), &workspace)
        }
        for symbol in workspace.symbols where symbol.length > 0 {
            let bytes = text[Int(symbol.start)..<Int(symbol.start + symbol.length)]
            if let number = texts.find(UnsafeBufferPointer(rebasing: bytes)) {
                ids.append(Int(textIds[number]))
            } else if bytes.allSatisfy({ byteIds[Int($0)] >= 0 }) {
                for byte in bytes { ids.append(Int(byteIds[Int(byte)])) }
            } else if let unknown = special.unknown {
                ids.append(unknown)
            }
        }
    }

    private func push(_ text: UnsafeBufferPointer<UInt8>, _ left: Int32, _ workspace: inout Workspace) {
        guard left >= 0 else { return }
        let symbol = workspace.symbols[Int(left)]
        guard symbol.next >= 0 else { return }
        let length = symbol.length + workspace.symbols[Int(symbol.next)].length
        guard length <= longestText else { return }
        let start = Int(symbol.start)
        guard let number = texts.find(UnsafeBufferPointer(rebasing: text[start..<start + Int(length)])) else { return }
        let pair = Pair(key: UInt64(order[number]) << 32 | UInt64(left), length: length)
        var child = workspace.heap.count
        workspace.heap.append(pair)
        while child > 0 {
            let parent = (child - 1) / 2
            guard workspace.heap[parent].key > pair.key else { break }
            workspace.heap[child] = workspace.heap[parent]
            child = parent
        }
        workspace.heap[child] = pair
    }

    private static func pop(_ heap: inout [Pair]) -> Pair? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return first }
        var parent = 0
        while true {
            var child = parent * 2 + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1].key < heap[child].key { child += 1 }
            guard heap[child].key < last.key else { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = last
        return first
    }

    // MARK: - Decoding

    public func bytes(of id: Int) -> [UInt8] { Array(vocabulary.bytes(of: id)) }
    public func appendBytes(of id: Int, to bytes: inout [UInt8]) { bytes.append(contentsOf: vocabulary.bytes(of: id)) }
    public func kind(of id: Int) -> TokenKind { vocabulary.kind(of: id) }

    // MARK: - Helpers

    /// A number that sorts upwards as scores sort downwards. (NaN was refused before; both zeros are one.)
    private static func descending(_ score: Float) -> UInt32 {
        let bits = (score == 0 ? 0 : score).bitPattern
        return ~(bits & 0x8000_0000 != 0 ? ~bits : bits | 0x8000_0000)
    }

    /// Whether a `▁` follows another character.
    private static func holdsWordStart(_ token: [UInt8]) -> Bool {
        var seenOther = false
        var index = 0
        while index < token.count {
            if token[index...].starts(with: BlankMark.bytes) {
                if seenOther { return true }
                index += 3
            } else {
                seenOther = true
                index += 1
            }
        }
        return false
    }
}
