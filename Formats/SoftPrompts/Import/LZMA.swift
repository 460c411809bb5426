/// LZMA as ZIP entries of method 14 hold it (APPNOTE 5.8; the format is that of the LZMA SDK's specification).
///
///     u8 major · u8 minor · u16 property size (5) · u8 lc/lp/pb · u32 dictionary size · stream
///
/// KoboldAI's soft prompts are packed so. The decoder is plain and bounded: output never exceeds the announced size.
enum LZMA {
    /// - Returns: nil for a damaged stream, or one that does not make `size` bytes.
    static func unpackZipEntry(_ bytes: [UInt8], size: Int) -> [UInt8]? {
        guard bytes.count >= 9, Int(bytes[2]) | Int(bytes[3]) << 8 == 5 else { return nil }
        return unpack(Array(bytes[9...]), properties: bytes[4], size: size)
    }

    static func unpack(_ bytes: [UInt8], properties: UInt8, size: Int) -> [UInt8]? {
        guard properties < 9 * 5 * 5 else { return nil }
        var decoder = Decoder(bytes, properties: Int(properties), size: size)
        return decoder?.run()
    }

    /// A range decoder with all adaptive probabilities in one array; the offsets say which is which.
    private struct Decoder {
        private static let isMatch = 0
        private static let isRep = isMatch + 12 * 16
        private static let isRep0 = isRep + 12
        private static let isRep1 = isRep0 + 12
        private static let isRep2 = isRep1 + 12
        private static let isRep0Long = isRep2 + 12
        private static let slots = isRep0Long + 12 * 16
        private static let places = slots + 4 * 64
        private static let align = places + 115
        private static let matchLengths = align + 16
        private static let repLengths = matchLengths + 2 + 16 * 8 * 2 + 256
        private static let literals = repLengths + 2 + 16 * 8 * 2 + 256

        private let bytes: [UInt8]
        private var position = 5
        private var range: UInt32 = 0xFFFF_FFFF
        private var code: UInt32 = 0
        /// Set when many more bytes were asked for than there are.
        private var isExhausted = false
        private let lc, lp, pb: Int
        private let size: Int
        private var out: [UInt8] = []
        private var probabilities: [UInt16]

        init?(_ bytes: [UInt8], properties: Int, size: Int) {
            guard bytes.count >= 5, bytes[0] == 0 else { return nil }
            self.bytes = bytes
            self.size = size
            lc = properties % 9
            lp = properties / 9 % 5
            pb = properties / 45
            probabilities = [UInt16](repeating: 1024, count: Self.literals + 0x300 << (lc + lp))
            for index in 1..<5 { code = code << 8 | UInt32(bytes[index]) }
        }

        mutating func run() -> [UInt8]? {
            var state = 0
            var reps = [0, 0, 0, 0]
            while out.count < size {
                if isExhausted { return nil }
                let place = out.count & ((1 << pb) - 1)
                if bit(Self.isMatch + state << 4 + place) == 0 {
                    guard literal(state: state, distance: reps[0]) else { return nil }
                    state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6
                    continue
                }
                var length: Int
                if bit(Self.isRep + state) == 1 {
                    guard !out.isEmpty else { return nil }
                    if bit(Self.isRep0 + state) == 0 {
                        if bit(Self.isRep0Long + state << 4 + place) == 0 {
                            state = state < 7 ? 9 : 11
                            guard reps[0] < out.count else { return nil }
                            out.append(out[out.count - reps[0] - 1])
                            continue
                        }
                    } else {
                        var distance = reps[1]
                        if bit(Self.isRep1 + state) == 1 {
                            distance = reps[2]
                            if bit(Self.isRep2 + state) == 1 {
                                distance = reps[3]
                                reps[3] = reps[2]
                            }
                            reps[2] = reps[1]
                        }
                        reps[1] = reps[0]
                        reps[0] = distance
                    }
                    length = self.length(Self.repLengths, place)
                    state = state < 7 ? 8 : 11
                } else {
                    reps = [0, reps[0], reps[1], reps[2]]
                    length = self.length(Self.matchLengths, place)
                    state = state < 7 ? 7 : 10
                    reps[0] = distance(length: length)
                    // The end marker: there is no more, and what was announced is not complete.
                    if reps[0] == 0xFFFF_FFFF { break }
                }
                length += 2
                guard reps[0] < out.count, length <= size - out.count else { return nil }
                for _ in 0..<length { out.append(out[out.count - reps[0] - 1]) }
            }
            return out.count == size && !isExhausted ? out : nil
        }

        private mutating func normalize() {
            guard range < 1 << 24 else { return }
            range <<= 8
            code = code << 8 | (position < bytes.count ? UInt32(bytes[position]) : 0)
            // The encoder flushes five bytes; reading far beyond them means that the stream is cut off.
            if position > bytes.count + 8 { isExhausted = true }
            position += 1
        }

        private mutating func bit(_ index: Int) -> Int {
            let probability = probabilities[index]
            let bound = (range >> 11) * UInt32(probability)
            let isOne = code >= bound
            if isOne {
                probabilities[index] = probability - probability >> 5
                code -= bound
                range -= bound
            } else {
                probabilities[index] = probability + (2048 - probability) >> 5
                range = bound
            }
            normalize()
            return isOne ? 1 : 0
        }

        private mutating func direct(_ count: Int) -> Int {
            var result = 0
            for _ in 0..<count {
                range >>= 1
                let isOne = code >= range
                if isOne { code -= range }
                normalize()
                result = result << 1 | (isOne ? 1 : 0)
            }
            return result
        }

        /// A number of `count` bits, highest first.
        private mutating func tree(_ start: Int, _ count: Int) -> Int {
            var node = 1
            for _ in 0..<count { node = node << 1 | bit(start + node) }
            return node - 1 << count
        }

        /// A number of `count` bits, lowest first.
        private mutating func reverseTree(_ start: Int, _ count: Int) -> Int {
            var node = 1, result = 0
            for index in 0..<count {
                let one = bit(start + node)
                node = node << 1 | one
                result |= one << index
            }
            return result
        }

        private mutating func literal(state: Int, distance: Int) -> Bool {
            let previous = out.last.map { Int($0) } ?? 0
            let context = (out.count & ((1 << lp) - 1)) << lc + previous >> (8 - lc)
            let start = Self.literals + 0x300 * context
            var symbol = 1
            if state >= 7 {
                guard distance < out.count else { return false }
                var match = Int(out[out.count - distance - 1])
                while symbol < 0x100 {
                    let expected = match >> 7 & 1
                    match <<= 1
                    let one = bit(start + (1 + expected) << 8 + symbol)
                    symbol = symbol << 1 | one
                    if one != expected { break }
                }
            }
            while symbol < 0x100 { symbol = symbol << 1 | bit(start + symbol) }
            out.append(UInt8(symbol & 0xFF))
            return true
        }

        private mutating func length(_ start: Int, _ place: Int) -> Int {
            if bit(start) == 0 { return tree(start + 2 + place << 3, 3) }
            if bit(start + 1) == 0 { return 8 + tree(start + 2 + 128 + place << 3, 3) }
            return 16 + tree(start + 2 + 256, 8)
        }

        private mutating func distance(length: Int) -> Int {
            let slot = tree(Self.slots + min(length, 3) << 6, 6)
            if slot < 4 { return slot }
            let count = slot >> 1 - 1
            let base = (2 | slot & 1) << count
            if slot < 14 { return base + reverseTree(Self.places + base - slot, count) }
            return base + direct(count - 4) << 4 + reverseTree(Self.align, 4)
        }
    }
}
