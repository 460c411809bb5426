import Synchronization

/// Byte pair encoding with a list of merges: as GPT-2 introduced it, over bytes, and as Gemma 4 has it, over characters.
///
/// Special tokens are cut out of the text; the rest is cut into pieces by the pre-tokenizer; the bytes (or characters) of
/// each piece are merged pair by pair, best rank first. Every text has ids as long as the vocabulary has all 256 bytes,
/// and decoding gives it back byte for byte. Pieces seen before come from a bounded cache.
public final class BytePairEncoding: Tokenizer {
    private let vocabulary: Vocabulary
    private let preTokenizer: PreTokenizer
    private let specials: SpecialTokenMatcher
    private let table: MergeVocabulary
    private let ignoresMerges: Bool
    public let addsBeginning: Bool
    private let addsEnd: Bool
    private let addsSeparator: Bool
    public let cleansUpSpaces: Bool
    /// Workspaces not in use; each call takes one, so that threads never wait for each other.
    private let idle = Mutex<[Workspace]>([])

    public var vocabularyCount: Int { vocabulary.count }
    public var special: SpecialTokens { vocabulary.special }
    public var endOfGeneration: Set<Int> { vocabulary.endOfGeneration }
    public var warnings: [String] { vocabulary.warnings }

    /// - Throws: `TokenizationError` if there are no tokens, lists differ in length, a byte token is malformed or the
    ///   pre-tokenizer is unknown. Duplicate tokens (the last counts), merges that are no pair and ids out of range are
    ///   worked around and reported in `warnings`.
    public init(_ description: TokenizerDescription) throws {
        let isGemma = description.model == "gemma4"
        preTokenizer = try PreTokenizer.named(description.preTokenizer ?? (isGemma ? "gemma4" : "default"))
        let habits = preTokenizer.habits
        let isRaw = habits.contains(.rawText) || isGemma
        let kinds = description.kinds
        var vocabulary = try Vocabulary(description) { id, token in
            if !isRaw { return ByteAlphabet.decode(token) }
            if id < kinds.count, kinds[id] == .byte, let byte = BlankMark.byteValue(of: token) { return [byte] }
            return BlankMark.removed(from: token)
        }
        if description.preTokenizer == nil, !isGemma {
            vocabulary.warn("the file names no pre-tokenizer; 'default' is used and text may be split wrongly")
        }
        ignoresMerges = description.ignoresMerges ?? habits.contains(.ignoresMerges)
        addsBeginning = description.addsBeginning ?? habits.contains(.addsBeginning)
        addsEnd = description.addsEnd ?? false
        addsSeparator = description.addsSeparator ?? habits.contains(.addsSeparator)
        cleansUpSpaces = !habits.contains(.keepsSpaces) && !isRaw
        specials = SpecialTokenMatcher(
            tokens: description.tokens, kinds: vocabulary.kinds, leftStripping: description.leftStripping,
            rightStripping: description.rightStripping)
        table = try MergeVocabulary(&vocabulary, tokens: description.tokens, merges: description.merges, isRaw: isRaw)
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
        if addSpecial {
            if addsEnd, let id = special.endOfSequence { ids.append(id) }
            if addsSeparator, let id = special.separator ?? special.endOfSequence, !(addsEnd && ids.last == id) {
                ids.append(id)
            }
        }
        return ids
    }

    @inline(__always)
    private func append(_ piece: UnsafeBufferPointer<UInt8>, to ids: inout [Int], _ workspace: inout Workspace) {
        if piece.count == 1, table.appendByte(piece[0], to: &ids) { return }
        if workspace.cache.appendIds(of: piece, to: &ids) { return }
        appendMerged(piece, to: &ids, &workspace)
    }

    private func appendMerged(_ piece: UnsafeBufferPointer<UInt8>, to ids: inout [Int], _ workspace: inout Workspace) {
        let first = ids.count
        if !ignoresMerges || !table.appendWhole(piece, to: &ids) {
            table.merge(piece, with: &workspace.merger, to: &ids, unknown: special.unknown)
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
