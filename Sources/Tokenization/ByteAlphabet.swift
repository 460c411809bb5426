/// GPT-2's way to write any bytes as visible characters.
///
/// Printable Latin-1 bytes (33–126, 161–172, 174–255) stand for themselves; the other 68, in ascending order, are
/// written U+0100, U+0101, … A blank is `Ġ`, a line feed `Ċ`.
enum ByteAlphabet {
    /// The character of each byte.
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0...255).map { byte -> Unicode.Scalar in
            let isPlain = (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
            if isPlain { return Unicode.Scalar(UInt8(byte)) }
            defer { next += 1 }
            return Unicode.Scalar(next) ?? "\u{FFFD}"  // U+0100…U+0143, all scalars
        }
    }()

    /// The byte of each character below U+0144, or -1.
    private static let values: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = Int16(byte) }
        return table
    }()

    /// The bytes that `text` (UTF-8 in this alphabet) writes, or `nil` if it holds any other character.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        return append(text, to: &result) ? result : nil
    }

    /// Appends these bytes; false, with some of them appended, if the text holds any other character.
    static func append(_ text: some Collection<UInt8>, to result: inout [UInt8]) -> Bool {
        let values = values
        var index = text.startIndex
        while index != text.endIndex {
            let first = text[index]
            text.formIndex(after: &index)
            var value = Int(first)
            if first >= 0x80 {
                // All wider characters of the alphabet take two bytes: C2…C5.
                guard first & 0xE0 == 0xC0, index != text.endIndex, text[index] & 0xC0 == 0x80 else { return false }
                value = Int(first & 0x1F) << 6 | Int(text[index] & 0x3F)
                text.formIndex(after: &index)
                guard value >= 0x80 else { return false }
            }
            guard value < values.count, values[value] >= 0 else { return false }
            result.append(UInt8(values[value]))
        }
        return true
    }
}
