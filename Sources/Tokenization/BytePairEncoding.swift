import Synchronization

/// Byte-level byte pair encoding, as GPT-2 introduced it and most models since use it.
///
/// Special tokens are cut out of the text; the rest is cut into pieces by the pre-tokenizer; the bytes of each piece are
/// merged pair by pair, best rank first. Every text has ids as long as the vocabulary has all 256 bytes, and decoding
/// gives it back byte for byte. Pieces seen before come from a bounded cache.
public final class BytePairEncoding: Tokenizer {
    private let vocabulary: Vocabulary
    private let preTokenizer: PreTokenizer
    private let specials: SpecialTokenMatcher
    private let merges: MergeTable
    /// The texts that merging can reach: `symbolIds` gives a symbol's token, or -1 for one that is only a step on the way.
    private let symbols: ByteStringTable
    private let symbolIds: [Int32]
    private let byteSymbols: [Int32]
    private let ignoresMerges: Bool
    public let addsBeginning: Bool
    private let addsEnd: Bool
    /// Workspaces not in use; each call takes one, so that threads never wait for each other.
    private let idle = Mutex<[Workspace]>([])

    public var vocabularyCount: Int { vocabulary.count }
    public var special: SpecialTokens { vocabulary.special }
    public var endOfGeneration: Set<Int> { vocabulary.endOfGeneration }
    public var warnings: [String] { vocabulary.warnings }

    /// - Throws: `TokenizationError` if there are no tokens, lists differ in length or the pre-tokenizer is unknown.
    ///   Duplicate tokens (the last counts), merges that are no pair and ids out of range are worked around and
    ///   reported in `warnings`.
    public init(_ description: TokenizerDescription) throws {
        preTokenizer = try PreTokenizer.named(description.preTokenizer ?? "default")
        var vocabulary = try Vocabulary(description) { _, token in ByteAlphabet.decode(token) }
        if description.preTokenizer == nil {
            vocabulary.warn("the file names no pre-tokenizer; 'default' is used and text may be split wrongly")
        }
        ignoresMerges = description.ignoresMerges ?? preTokenizer.ignoresMerges
        addsBeginning = description.addsBeginning ?? preTokenizer.addsBeginning
        addsEnd = description.addsEnd ?? false
        specials = SpecialTokenMatcher(
            tokens: description.tokens, kinds: vocabulary.kinds, leftStripping: description.leftStripping,
            rightStripping: description.rightStripping)

        var symbols = ByteStringTable(minimumCapacity: vocabulary.count + 256)
        var symbolIds: [Int32] = []
        func symbol(_ bytes: some Sequence<UInt8>) -> Int32 {
            ContiguousArray(bytes).withUnsafeBufferPointer { bytes in
                let (number, isNew) = symbols.insert(bytes)
                if isNew { symbolIds.append(-1) }
                return Int32(number)
            }
        }
        // Control tokens stay out: no text may become one. Tokens added by hand only fill what is free.
        var duplicates = 0
        for id in 0..<vocabulary.count {
            let kind = vocabulary.kinds[id]
            if kind == .control || kind == .unknown || kind == .userDefined { continue }
            let bytes = vocabulary.bytes(of: id)
            if bytes.isEmpty { continue }
            let number = Int(symbol(bytes))
            if symbolIds[number] >= 0 { duplicates += 1 }
            symbolIds[number] = Int32(id)
        }
        for id in 0..<vocabulary.count where vocabulary.kinds[id] == .userDefined {
            let bytes = vocabulary.bytes(of: id)
            if bytes.isEmpty { continue }
            let number = Int(symbol(bytes))
            if symbolIds[number] < 0 { symbolIds[number] = Int32(id) }
        }
        byteSymbols = (0...255).map { symbol(CollectionOfOne(UInt8($0))) }
        let missing = byteSymbols.count { symbolIds[Int($0)] < 0 }

        var merges = MergeTable(minimumCapacity: description.merges.count + 1)
        var unreadable = 0
        for (rank, line) in description.merges.enumerated() {
            // Split at the first blank from index 1 on: a half may not be empty.
            guard line.count >= 3, let blank = line[1...].firstIndex(of: 0x20), blank + 1 < line.count,
                let left = ByteAlphabet.decode(line[..<blank]), let right = ByteAlphabet.decode(line[(blank + 1)...])
            else {
                unreadable += 1
                continue
            }
            merges.insert(
                symbol(left), symbol(right), rank: UInt32(clamping: rank), merged: symbol(left + right))
        }
        self.merges = merges
        self.symbols = symbols
        self.symbolIds = symbolIds
        if duplicates > 0 {
            vocabulary.warn("\(duplicates) tokens repeat the text of another; the last of each counts")
        }
        if unreadable > 0 {
            vocabulary.warn("\(unreadable) merges are not two texts in the byte alphabet and are ignored")
        }
        if missing > 0 { vocabulary.warn("\(missing) bytes have no token; text that needs them loses them") }
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
            let scalars = ScalarText(bytes)
            specials.forEachFragment(of: bytes, parseSpecial: parseSpecial) { fragment in
                switch fragment {
                case .token(let id): ids.append(id)
                case .text(let range):
                    preTokenizer.forEachPiece(of: scalars, from: range.lowerBound, to: range.upperBound) { start, end in
                        append(UnsafeBufferPointer(rebasing: bytes[start..<end]), to: &ids, &workspace)
                    }
                }
            }
        }
        let returned = workspace
        idle.withLock { if $0.count < 8 { $0.append(returned) } }
        if addSpecial, addsEnd, let id = special.endOfSequence { ids.append(id) }
        return ids
    }

    @inline(__always)
    private func append(_ piece: UnsafeBufferPointer<UInt8>, to ids: inout [Int], _ workspace: inout Workspace) {
        if piece.count == 1 {
            let id = symbolIds[Int(byteSymbols[Int(piece[0])])]
            if id >= 0 { ids.append(Int(id)) }
            return
        }
        if workspace.cache.appendIds(of: piece, to: &ids) { return }
        appendMerged(piece, to: &ids, &workspace)
    }

    private func appendMerged(_ piece: UnsafeBufferPointer<UInt8>, to ids: inout [Int], _ workspace: inout Workspace) {
        let first = ids.count
        if ignoresMerges, let number = symbols.find(piece), symbolIds[number] >= 0 {
            ids.append(Int(symbolIds[number]))
        } else {
            workspace.merger.symbols.removeAll(keepingCapacity: true)
            for byte in piece { workspace.merger.symbols.append(byteSymbols[Int(byte)]) }
            workspace.merger.merge(with: merges)
            for symbol in workspace.merger.symbols {
                let id = symbolIds[Int(symbol)]
                if id >= 0 {
                    ids.append(Int(id))
                    continue
                }
                // Merged into something that is no token: byte by byte, dropping bytes without a token.
                for byte in symbols[Int(symbol)] {
                    let id = symbolIds[Int(byteSymbols[Int(byte)])]
                    if id >= 0 { ids.append(Int(id)) }
                }
            }
        }
        workspace.cache.insert(piece, ids[first...])
    }

    // MARK: - Decoding

    public func bytes(of id: Int) -> [UInt8] { Array(vocabulary.bytes(of: id)) }
    public func appendBytes(of id: Int, to bytes: inout [UInt8]) { bytes.append(contentsOf: vocabulary.bytes(of: id)) }
    public func kind(of id: Int) -> TokenKind { vocabulary.kind(of: id) }

    /// What one call of `encode` needs for itself.
    private struct Workspace: Sendable {
        var merger = SymbolMerger()
        var cache = WordCache()
    }
}
