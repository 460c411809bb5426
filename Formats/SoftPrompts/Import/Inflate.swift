/// DEFLATE (RFC 1951), for small entries: plain and bounded.
enum Inflate {
    /// - Parameter size: of the result; a stream that makes more or less is refused.
    /// - Returns: nil for a damaged stream.
    static func unpack(_ bytes: [UInt8], size: Int) -> [UInt8]? {
        var reader = BitReader(bytes)
        var out: [UInt8] = []
        out.reserveCapacity(size)
        while true {
            guard let isLast = reader.bits(1), let kind = reader.bits(2) else { return nil }
            switch kind {
            case 0:
                reader.alignToByte()
                guard let length = reader.bits(16), let check = reader.bits(16), length ^ 0xFFFF == check,
                    out.count + length <= size
                else { return nil }
                for _ in 0..<length {
                    guard let byte = reader.bits(8) else { return nil }
                    out.append(UInt8(byte))
                }
            case 1:
                let literals = (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 }
                guard let first = Huffman(literals), let second = Huffman([Int](repeating: 5, count: 30)),
                    block(&reader, first, second, &out, size)
                else { return nil }
            case 2:
                guard let (first, second) = tables(&reader), block(&reader, first, second, &out, size) else {
                    return nil
                }
            default: return nil
            }
            if isLast == 1 { return out.count == size ? out : nil }
        }
    }

    private struct BitReader {
        private let bytes: [UInt8]
        private var position = 0
        private var bit = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func bits(_ count: Int) -> Int? {
            var value = 0
            for index in 0..<count {
                guard position < bytes.count else { return nil }
                value |= Int(bytes[position] >> UInt8(bit) & 1) << index
                bit += 1
                if bit == 8 {
                    bit = 0
                    position += 1
                }
            }
            return value
        }

        mutating func alignToByte() {
            if bit > 0 {
                bit = 0
                position += 1
            }
        }
    }

    /// Canonical codes, read a bit at a time.
    private struct Huffman {
        private var counts = [Int](repeating: 0, count: 16)
        private var symbols: [Int] = []

        /// nil for lengths that are no code.
        init?(_ lengths: [Int]) {
            for length in lengths { counts[length] += 1 }
            counts[0] = 0
            var left = 1
            for length in 1...15 {
                left = left * 2 - counts[length]
                if left < 0 { return nil }
            }
            for length in 1...15 { symbols += lengths.indices.filter { lengths[$0] == length } }
        }

        func decode(_ reader: inout BitReader) -> Int? {
            var code = 0, first = 0, index = 0
            for length in 1...15 {
                guard let bit = reader.bits(1) else { return nil }
                code |= bit
                let count = counts[length]
                if code - first < count { return symbols[index + code - first] }
                index += count
                first = (first + count) << 1
                code <<= 1
            }
            return nil
        }
    }

    private static let lengthBase = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ]
    private static let lengthBits = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ]
    private static let distanceBase = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145,
        8193, 12289, 16385, 24577,
    ]

    private static func block(
        _ reader: inout BitReader, _ literals: Huffman, _ distances: Huffman, _ out: inout [UInt8], _ size: Int
    ) -> Bool {
        while true {
            guard let symbol = literals.decode(&reader) else { return false }
            if symbol == 256 { return true }
            if symbol < 256 {
                guard out.count < size else { return false }
                out.append(UInt8(symbol))
                continue
            }
            guard symbol - 257 < lengthBase.count, let more = reader.bits(lengthBits[symbol - 257]),
                let code = distances.decode(&reader), code < distanceBase.count,
                let far = reader.bits(max(0, code / 2 - 1))
            else { return false }
            let length = lengthBase[symbol - 257] + more, distance = distanceBase[code] + far
            guard distance <= out.count, out.count + length <= size else { return false }
            for _ in 0..<length { out.append(out[out.count - distance]) }
        }
    }

    private static func tables(_ reader: inout BitReader) -> (Huffman, Huffman)? {
        guard let literalCount = reader.bits(5).map({ $0 + 257 }), let distanceCount = reader.bits(5).map({ $0 + 1 }),
            let codeCount = reader.bits(4).map({ $0 + 4 })
        else { return nil }
        let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
        var lengths = [Int](repeating: 0, count: 19)
        for index in 0..<codeCount {
            guard let length = reader.bits(3) else { return nil }
            lengths[order[index]] = length
        }
        guard let codes = Huffman(lengths) else { return nil }
        var all: [Int] = []
        while all.count < literalCount + distanceCount {
            guard let symbol = codes.decode(&reader) else { return nil }
            switch symbol {
            case 16:
                guard let last = all.last, let more = reader.bits(2) else { return nil }
                all += [Int](repeating: last, count: 3 + more)
            case 17:
                guard let more = reader.bits(3) else { return nil }
                all += [Int](repeating: 0, count: 3 + more)
            case 18:
                guard let more = reader.bits(7) else { return nil }
                all += [Int](repeating: 0, count: 11 + more)
            default: all.append(symbol)
            }
        }
        guard all.count == literalCount + distanceCount, let first = Huffman(Array(all[..<literalCount])),
            let second = Huffman(Array(all[literalCount...]))
        else { return nil }
        return (first, second)
    }
}
