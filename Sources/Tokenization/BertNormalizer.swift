/// Turns text into the words of BERT: cleaned, in lower case, without accents, punctuation apart.
///
/// Everything happens scalar by scalar, with the tables of `BertData`: control characters go, Chinese characters and
/// punctuation become words of their own, the rest is decomposed (Unicode NFD), loses its nonspacing marks, and becomes
/// small.
struct BertNormalizer: Sendable {
    let lowercases: Bool
    let stripsAccents: Bool

    /// Calls `body` with the UTF-8 of each word and its number of characters.
    func forEachWord(of text: ScalarText, _ range: Range<Int>, _ body: (_ word: [UInt8], _ characters: Int) -> Void) {
        let tables = Tables.shared
        var word: [UInt8] = []
        var characters = 0
        func close() {
            if characters > 0 { body(word, characters) }
            word.removeAll(keepingCapacity: true)
            characters = 0
        }
        func add(_ value: UInt32) {
            switch tables.classes[value] {
            case Tables.space: close()
            case Tables.punctuation:
                close()
                Self.append(value, to: &word)
                characters = 1
                close()
            default:
                Self.append(value, to: &word)
                characters += 1
            }
        }
        func addLowered(_ value: UInt32) {
            if lowercases, value >= 0x80 {
                guard let small = tables.lowercase[value] else { return add(value) }
                for value in small { add(value) }
            } else {
                add(lowercases && (0x41...0x5A).contains(value) ? value + 0x20 : value)
            }
        }
        var position = range.lowerBound
        while position < range.upperBound {
            let (value, next) = text.scalar(at: position, limit: range.upperBound)
            position = next
            let kind = tables.classes[value]
            if kind == Tables.dropped { continue }
            if kind == Tables.chinese { close() }
            if stripsAccents, value >= 0x80 {
                if kind != Tables.accent { tables.forEachPart(of: value, addLowered) }
            } else {
                addLowered(value)
            }
            if kind == Tables.chinese { close() }
        }
        close()
    }

    private static func append(_ value: UInt32, to bytes: inout [UInt8]) {
        switch value {
        case ..<0x80: bytes.append(UInt8(value))
        case ..<0x800:
            bytes.append(UInt8(0xC0 | value >> 6))
            bytes.append(UInt8(0x80 | value & 0x3F))
        case ..<0x10000:
            bytes.append(UInt8(0xE0 | value >> 12))
            bytes.append(UInt8(0x80 | value >> 6 & 0x3F))
            bytes.append(UInt8(0x80 | value & 0x3F))
        default:
            bytes.append(UInt8(0xF0 | value >> 18 & 7))
            bytes.append(UInt8(0x80 | value >> 12 & 0x3F))
            bytes.append(UInt8(0x80 | value >> 6 & 0x3F))
            bytes.append(UInt8(0x80 | value & 0x3F))
        }
    }

    /// `BertData`, unpacked on first use.
    private struct Tables: Sendable {
        static let dropped: UInt8 = 1
        static let space: UInt8 = 2
        static let chinese: UInt8 = 3
        static let punctuation: UInt8 = 4
        static let accent: UInt8 = 5
        static let shared = Tables()

        let classes: CodePointTable
        let decompositions: [UInt32: [UInt32]]
        let lowercase: [UInt32: [UInt32]]

        private init() {
            var runs: [(UInt8, Int)] = []
            let letters: [UInt8: UInt8] = [
                0x64: Self.dropped, 0x73: Self.space, 0x63: Self.chinese, 0x70: Self.punctuation, 0x6D: Self.accent,
            ]
            RunLengths.forEach(in: BertData.classes) { letter, count in runs.append((letters[letter] ?? 0, count)) }
            classes = CodePointTable(runs: runs)
            decompositions = Self.mapping(BertData.decompositions)
            lowercase = Self.mapping(BertData.lowercase)
        }

        /// `41=61 62,…`, hexadecimal.
        private static func mapping(_ text: StaticString) -> [UInt32: [UInt32]] {
            let bytes = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
            var result: [UInt32: [UInt32]] = [:]
            var key: UInt32 = 0
            var values: [UInt32] = []
            var number: UInt32 = 0
            for byte in bytes {
                switch byte {
                case 0x3D:
                    key = number
                    number = 0
                case 0x20:
                    values.append(number)
                    number = 0
                case 0x2C:
                    result[key] = values + [number]
                    values = []
                    number = 0
                default: number = number << 4 | UInt32(byte < 0x3A ? byte & 15 : byte - 55)
                }
            }
            result[key] = values + [number]
            return result
        }

        /// Calls `body` with the scalars of the canonical decomposition that are no accents.
        func forEachPart(of value: UInt32, _ body: (UInt32) -> Void) {
            if (0xAC00...0xD7A3).contains(value) {
                // Hangul syllables: Unicode standard, section 3.12.
                let index = value - 0xAC00
                body(0x1100 + index / 588)
                body(0x1161 + index % 588 / 28)
                if index % 28 != 0 { body(0x11A7 + index % 28) }
            } else if let parts = decompositions[value] {
                for part in parts { body(part) }
            } else {
                body(value)
            }
        }
    }
}
