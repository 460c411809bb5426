/// SentencePiece's way to write vocabularies: blanks as `▁` (U+2581), single bytes as `<0x0A>`.
enum BlankMark {
    /// `▁` in UTF-8.
    static let bytes: [UInt8] = [0xE2, 0x96, 0x81]

    /// The text with each `▁` turned into a blank.
    static func removed(from token: some Collection<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(token.count)
        for byte in token {
            result.append(byte)
            if byte == 0x81, result.count >= 3, result[result.count - 2] == 0x96, result[result.count - 3] == 0xE2 {
                result.removeLast(3)
                result.append(0x20)
            }
        }
        return result
    }

    /// The text with each blank turned into `▁`, behind one more if `prefixed`.
    static func written(_ text: Slice<UnsafeBufferPointer<UInt8>>, prefixed: Bool) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count + text.count / 2 + 3)
        if prefixed { result += bytes }
        for byte in text {
            if byte == 0x20 { result += bytes } else { result.append(byte) }
        }
        return result
    }

    /// The byte that a token such as `<0x0A>` stands for; `nil` if it is written otherwise.
    static func byteValue(of token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.starts(with: [0x3C, 0x30, 0x78]), token[5] == 0x3E,
            let high = hexadecimal(token[3]), let low = hexadecimal(token[4])
        else { return nil }
        return high << 4 | low
    }

    private static func hexadecimal(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x41 + 10
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }
}
