/// Turns ids into text as they come, never ending inside a UTF-8 character.
///
/// The pieces it returns, joined, are the text of the whole sequence: an unfinished character is held back until its
/// other bytes come, and bytes that can never become a character are replaced by U+FFFD (one for each maximal part, as
/// Unicode recommends and `String(decoding:as:)` does).
///
///     var decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecial: true)
///     for id in generated { print(decoder.append(id), terminator: "") }
///     print(decoder.finish())
public struct StreamingDecoder: Sendable {
    private let tokenizer: any Tokenizer
    private let skipSpecial: Bool
    private var pending: [UInt8] = []
    private var mayStripBlank: Bool

    public init(tokenizer: any Tokenizer, skipSpecial: Bool) {
        self.tokenizer = tokenizer
        self.skipSpecial = skipSpecial
        mayStripBlank = tokenizer.stripsLeadingBlank
    }

    /// The text that became certain with this id; often empty, at times several characters.
    public mutating func append(_ id: Int) -> String {
        if skipSpecial, tokenizer.isControl(id) { return "" }
        tokenizer.appendBytes(of: id, to: &pending)
        if mayStripBlank, let first = pending.first {
            mayStripBlank = false
            if first == 0x20 { pending.removeFirst() }
        }
        let complete = pending.count - Self.unfinishedSuffixLength(of: pending)
        guard complete > 0 else { return "" }
        let text = String(decoding: pending[..<complete], as: UTF8.self)
        pending.removeFirst(complete)
        return text
    }

    /// What was held back, repaired; the decoder is then as new.
    public mutating func finish() -> String {
        let text = String(decoding: pending, as: UTF8.self)
        pending.removeAll(keepingCapacity: true)
        mayStripBlank = tokenizer.stripsLeadingBlank
        return text
    }

    /// How many bytes at the end are the beginning of a character that further bytes could complete.
    ///
    /// Follows table 3-7 of the Unicode standard: after E0, ED, F0 and F4 the second byte has a narrower range.
    static func unfinishedSuffixLength(of bytes: [UInt8]) -> Int {
        let count = bytes.count
        for length in 1...3 where length <= count {
            let lead = bytes[count - length]
            if lead & 0xC0 == 0x80 { continue }
            let needed =
                lead >= 0xF0 && lead <= 0xF4 ? 4 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xC2 && lead < 0xE0 ? 2 : 0
            guard length < needed else { return 0 }
            if length > 1 {
                let second = bytes[count - length + 1]
                switch lead {
                case 0xE0 where second < 0xA0, 0xED where second > 0x9F, 0xF0 where second < 0x90,
                    0xF4 where second > 0x8F:
                    return 0
                default: break
                }
            }
            return length
        }
        return 0
    }
}
