/// Classes of Unicode 16.0 as a set: one bit for each general category, white space that is a control character apart.
///
/// Every scalar is in exactly one of the 32 classes; expressions ask for unions of them.
struct ScalarClass: OptionSet, Sendable {
    let rawValue: UInt32
    init(rawValue: UInt32) { self.rawValue = rawValue }
    private init(_ bits: ClosedRange<UInt32>) { rawValue = bits.reduce(0) { $0 | 1 << $1 } }

    static let uppercase = ScalarClass(0...0)
    static let lowercase = ScalarClass(1...1)
    static let titlecase = ScalarClass(2...2)
    /// `\p{Lm}` and `\p{Lo}`: letters without case.
    static let uncased = ScalarClass(3...4)
    /// `\p{L}`
    static let letter = ScalarClass(0...4)
    /// `\p{M}`
    static let mark = ScalarClass(5...7)
    /// `\p{Nd}`, `\d`
    static let decimal = ScalarClass(8...8)
    static let letterNumber = ScalarClass(9...9)
    /// `\p{N}`
    static let number = ScalarClass(8...10)
    static let connector = ScalarClass(11...11)
    /// `\p{P}`
    static let punctuation = ScalarClass(11...17)
    /// `\p{S}`
    static let symbol = ScalarClass(18...21)
    /// Carriage return and line feed: `[\r\n]`
    static let lineBreak = ScalarClass(31...31)
    /// `\s`: Unicode's White_Space
    static let space: ScalarClass = [ScalarClass(22...24), ScalarClass(30...31)]
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
    static let upperish: ScalarClass = [.uppercase, .titlecase, .uncased, .mark]
    /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
    static let lowerish: ScalarClass = [.lowercase, .uncased, .mark]

    /// Whether the two sets share a class.
    @inline(__always)
    func meets(_ other: ScalarClass) -> Bool { rawValue & other.rawValue != 0 }
}

/// Reads the tables of `UnicodeData` and `BertData`: `A3BA2` is A A A B A A.
enum RunLengths {
    /// Calls `body` with each letter and the length of its run.
    static func forEach(in text: StaticString, _ body: (_ letter: UInt8, _ count: Int) -> Void) {
        let bytes = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        var index = 0
        while index < bytes.count {
            let letter = bytes[index]
            index += 1
            var count = 0
            while index < bytes.count, bytes[index] < 0x3A {
                count = count * 10 + Int(bytes[index] &- 0x30)
                index += 1
            }
            body(letter, max(count, 1))
        }
    }
}

/// A small number for each code point, in two steps: a block of 128, then the place in it. Equal blocks are kept once.
///
/// The tables here take 20 to 50 KiB. Built once on first use, then only read, and never freed.
struct CodePointTable: @unchecked Sendable {
    // Sound: written before the table is handed out, only read afterwards.
    private let blocks: UnsafePointer<UInt16>
    private let values: UnsafePointer<UInt8>

    static let blockCount = 0x110000 / 128

    /// - Parameter runs: values and run lengths, from code point 0 on; what they do not reach is 0.
    init(runs: [(value: UInt8, count: Int)]) {
        var numbers: [[UInt8]: UInt16] = [:]
        var unique: [UInt8] = []
        let blocks = UnsafeMutablePointer<UInt16>.allocate(capacity: Self.blockCount)
        var block: [UInt8] = []
        block.reserveCapacity(128)
        var filled = 0
        // A long run fills many equal blocks: look the number up once.
        func close(times: Int) {
            let number = numbers[block] ?? UInt16(numbers.count)
            if numbers.updateValue(number, forKey: block) == nil { unique += block }
            for _ in 0..<min(times, Self.blockCount - filled) {
                blocks[filled] = number
                filled += 1
            }
            block.removeAll(keepingCapacity: true)
        }
        for (value, count) in runs + [(0, 0x110000)] where filled < Self.blockCount {
            var left = count
            while left > 0, filled < Self.blockCount {
                let added = min(left, 128 - block.count)
                block += repeatElement(value, count: added)
                left -= added
                guard block.count == 128 else { break }
                let isUniform = added == 128
                let times = isUniform ? 1 + left / 128 : 1
                if isUniform { left %= 128 }
                close(times: times)
            }
        }
        let values = UnsafeMutablePointer<UInt8>.allocate(capacity: unique.count)
        values.initialize(from: unique, count: unique.count)
        self.blocks = UnsafePointer(blocks)
        self.values = UnsafePointer(values)
    }

    /// The value of a code point, which is below 0x110000 (a decoded scalar is).
    @inline(__always)
    subscript(value: UInt32) -> UInt8 { values[Int(blocks[Int(value >> 7)]) << 7 | Int(value & 127)] }
}

/// The class of every scalar.
///
/// `Unicode.Scalar.Properties` searches compressed tables, some hundred times slower, and its Unicode version is that of the
/// toolchain; a tokenizer must cut text as the model's own did.
struct ScalarClasses: @unchecked Sendable {
    // Sound: as `CodePointTable`.
    private let table: CodePointTable
    private let ascii: UnsafePointer<UInt32>

    static let shared = ScalarClasses()

    private init() {
        var runs: [(UInt8, Int)] = []
        RunLengths.forEach(in: UnicodeData.categories) { letter, count in
            runs.append((letter >= 0x61 ? letter &- 0x61 &+ 26 : letter &- 0x41, count))
        }
        table = CodePointTable(runs: runs)
        let ascii = UnsafeMutablePointer<UInt32>.allocate(capacity: 128)
        for value in 0..<UInt32(128) { ascii[Int(value)] = 1 << UInt32(table[value] & 31) }
        self.ascii = UnsafePointer(ascii)
    }

    @inline(__always)
    func ofASCII(_ byte: UInt8) -> ScalarClass { ScalarClass(rawValue: ascii[Int(byte & 127)]) }

    /// The class of a code point below 0x110000.
    @inline(__always)
    func of(_ value: UInt32) -> ScalarClass { ScalarClass(rawValue: 1 << UInt32(table[value] & 31)) }
}
