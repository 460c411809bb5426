/// SentencePiece's compiled normalisation rules (`precompiled_charsmap`): the longest prefix that has a replacement is
/// replaced.
///
/// ```
/// 0      u32  byte length n of the trie, a multiple of 4
/// 4      u32  × n/4, a double array:  bit 31 and 0–7 label · bit 8 has a value · bits 10–30 offset, × 256 if bit 9
///             (a value is a unit of its own: bit 31 set, the rest the byte offset of a replacement)
/// 4 + n  replacements, each ended by NUL
/// ```
///
/// (Darts-clone's layout; S. Yata. Every offset is checked when the map is read.)
struct CharacterMap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]

    /// - Throws: `invalidVocabulary` if a length or an offset points outside.
    init(_ bytes: [UInt8]) throws {
        func invalid(_ reason: String) -> TokenizationError {
            TokenizationError(
                code: .invalidVocabulary, message: "the table of character replacements is damaged: \(reason)",
                field: "characterMap")
        }
        if bytes.isEmpty {
            units = []
            replacements = []
            return
        }
        guard bytes.count >= 4 else { throw invalid("it has \(bytes.count) bytes, too few for its length") }
        func word(at index: Int) -> UInt32 {
            UInt32(bytes[index]) | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2]) << 16
                | UInt32(bytes[index + 3]) << 24
        }
        let length = Int(word(at: 0))
        guard length % 4 == 0, length <= bytes.count - 4 else {
            throw invalid("its trie should take \(length) of \(bytes.count - 4) bytes")
        }
        units = (0..<length / 4).map { word(at: 4 + $0 * 4) }
        replacements = Array(bytes[(4 + length)...])
        guard replacements.isEmpty || replacements.last == 0 else { throw invalid("its last replacement has no end") }
        for (index, unit) in units.enumerated() {
            if unit & 0x8000_0000 != 0 {
                guard Int(unit & 0x7FFF_FFFF) < replacements.count else {
                    throw invalid(
                        "entry \(index) points to byte \(unit & 0x7FFF_FFFF) of \(replacements.count) replacement bytes"
                    )
                }
            } else if index ^ Self.offset(of: unit) >= units.count {
                throw invalid("entry \(index) points outside of its \(units.count) entries")
            }
        }
    }

    var isEmpty: Bool { units.isEmpty }

    private static func offset(of unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 0x200) >> 6) }

    /// The length of the longest prefix of `text[start...]` that has a replacement, and the replacement's bytes.
    func longestMatch(
        in text: UnsafeBufferPointer<UInt8>, at start: Int
    ) -> (length: Int, replacement: Range<Int>)? {
        guard let root = units.first else { return nil }
        var node = Self.offset(of: root)
        var found: (Int, Int)?
        var position = start
        while position < text.count, text[position] != 0 {
            node ^= Int(text[position])
            guard node < units.count else { break }
            let unit = units[node]
            guard unit & 0x8000_00FF == UInt32(text[position]) else { break }
            node ^= Self.offset(of: unit)
            position += 1
            if unit & 0x100 != 0, node < units.count, units[node] & 0x8000_0000 != 0 {
                found = (position - start, Int(units[node] & 0x7FFF_FFFF))
            }
        }
        guard let (length, offset) = found else { return nil }
        var end = offset
        while end < replacements.count, replacements[end] != 0 { end += 1 }
        return (length, offset..<end)
    }

    /// The bytes of a replacement.
    func bytes(of replacement: Range<Int>) -> ArraySlice<UInt8> { replacements[replacement] }
}
