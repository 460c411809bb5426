import Foundation

/// An entropy coder for the exponents of a matrix, by the range variant of asymmetric numeral systems (Duda, "Asymmetric
/// numeral systems", 2013) with static tables.
///
/// The rows of a prompt are alike: what is large in one token's vector is large, in the same dimension, in the others'. So
/// a symbol is coded by a table that depends on the mean level of the symbols above it in its column. The means are cut
/// into up to 64 groups; how many is what makes the result smallest, tables included.
///
/// Little-endian layout:
///
///     size     field
///     1        number of groups − 1
///     2 each   the least mean of each group but the first, ascending
///     …        a table for each group: number of symbols − 1 (1 byte), then for each symbol, ascending,
///              the symbol (1 byte) and its frequency of 4096 (1 byte below 128, else 2: low 7 bits with the top bit set)
///     4        the decoder's first state
///     …        bytes that fill up the state
enum ContextCoder {
    /// What of a symbol says how large the number is that it belongs to.
    enum Level: UInt8, Sendable {
        /// The symbol is an exponent.
        case whole = 1
        /// The symbol has an exponent of 5 bits on top.
        case upperFive = 2
        /// The symbol is a signed code.
        case magnitude = 3

        @inline(__always) func of(_ symbol: UInt8) -> UInt32 {
            switch self {
            case .whole: UInt32(symbol)
            case .upperFive: UInt32(symbol >> 3)
            case .magnitude: UInt32(Int8(bitPattern: symbol).magnitude >> 2)
            }
        }
    }

    private static let scaleBits: UInt32 = 12
    private static let scale = 1 << 12
    /// States lie in `lowest ..< lowest << 8`.
    private static let lowest: UInt32 = 1 << 23
    /// Means in halves, from 1; 0 is the first row's.
    private static let meanCount = 512
    private static let largestGroupCount = 64
    /// Fewer symbols are not worth the tables, nor the time to find them.
    static let leastCount = 2048

    /// The mean of `sum` over the `row` rows above.
    @inline(__always) private static func mean(_ sum: UInt32, _ row: UInt32) -> Int {
        row == 0 ? 0 : 1 + Int((2 * sum + row / 2) / row)
    }

    // MARK: - Encoding

    /// The coded form; nil when it would not be smaller.
    ///
    /// - Parameter columns: symbols in a row; at least 1.
    static func encode(_ symbols: [UInt8], columns: Int, level: Level) -> [UInt8]? {
        guard symbols.count >= leastCount, columns > 0, symbols.count / columns < 1 << 20 else { return nil }
        let means = means(symbols, columns: columns, level: level)
        var counts = [UInt32](repeating: 0, count: meanCount * 256)
        for (mean, symbol) in zip(means, symbols) { counts[Int(mean) * 256 + Int(symbol)] += 1 }
        let used = (0..<meanCount).filter { mean in
            counts[(mean * 256)..<(mean * 256 + 256)].contains { $0 > 0 }
        }
        let bounds = bestBounds(counts, used, total: symbols.count)
        let groups = groupOfMean(bounds)
        var out: [UInt8] = [UInt8(bounds.count)]
        for bound in bounds { append(UInt32(bound), bytes: 2, to: &out) }
        var tables: [Table] = []
        for group in merged(counts, used, bounds) {
            let table = Table(counts: group)
            table.write(to: &out)
            tables.append(table)
        }
        guard out.count < symbols.count else { return nil }
        var state = lowest
        var reversed: [UInt8] = []
        for index in symbols.indices.reversed() {
            let table = tables[Int(groups[Int(means[index])])]
            let symbol = Int(symbols[index])
            let frequency = UInt32(table.frequencies[symbol])
            let limit = ((lowest >> scaleBits) << 8) * frequency
            while state >= limit {
                reversed.append(UInt8(truncatingIfNeeded: state))
                state >>= 8
            }
            state = (state / frequency) << scaleBits + state % frequency + UInt32(table.starts[symbol])
        }
        append(state, bytes: 4, to: &out)
        out += reversed.reversed()
        return out.count < symbols.count ? out : nil
    }

    private static func means(_ symbols: [UInt8], columns: Int, level: Level) -> [UInt16] {
        var sums = [UInt32](repeating: 0, count: columns)
        var row: UInt32 = 0
        var column = 0
        return symbols.map { symbol in
            let mean = UInt16(mean(sums[column], row))
            sums[column] += level.of(symbol)
            column += 1
            if column == columns { (column, row) = (0, row + 1) }
            return mean
        }
    }

    /// The cuts that make groups of about equal size, for the number of groups with the smallest result.
    ///
    /// - Parameter used: the means that occur, ascending.
    private static func bestBounds(_ counts: [UInt32], _ used: [Int], total: Int) -> [Int] {
        let populations = used.map { mean in
            counts[(mean * 256)..<(mean * 256 + 256)].reduce(0) { $0 + Int($1) }
        }
        var best: (bounds: [Int], cost: Double) = ([], .infinity)
        var wanted = 1
        while wanted <= largestGroupCount {
            var bounds: [Int] = []
            var (passed, next) = (0, total / wanted)
            for (mean, population) in zip(used, populations) {
                if passed >= next, passed > 0, bounds.count < largestGroupCount - 1 {
                    bounds.append(mean)
                    next = passed + total / wanted
                }
                passed += population
            }
            let cost = merged(counts, used, bounds).reduce(0.0) { $0 + Self.cost($1) }
            if cost < best.cost { best = (bounds, cost) }
            wanted *= 2
        }
        return best.bounds
    }

    /// Bytes that a group takes, its table included.
    private static func cost(_ counts: [UInt32]) -> Double {
        let total = counts.reduce(0.0) { $0 + Double($1) }
        return counts.reduce(1.0) { sum, count in
            count == 0 ? sum : sum + 2.4 - Double(count) * log2(Double(count) / total) / 8
        }
    }

    /// Counts of each group, none of which is empty.
    private static func merged(_ counts: [UInt32], _ used: [Int], _ bounds: [Int]) -> [[UInt32]] {
        var groups = [[UInt32](repeating: 0, count: 256)]
        for mean in used {
            if groups.count <= bounds.count, mean >= bounds[groups.count - 1] {
                groups.append([UInt32](repeating: 0, count: 256))
            }
            for symbol in 0..<256 { groups[groups.count - 1][symbol] += counts[mean * 256 + symbol] }
        }
        return groups
    }

    private static func groupOfMean(_ bounds: [Int]) -> [UInt8] {
        var groups = [UInt8](repeating: 0, count: meanCount)
        for (index, bound) in bounds.enumerated() {
            for mean in bound..<meanCount { groups[mean] = UInt8(index + 1) }
        }
        return groups
    }

    private static func append(_ value: UInt32, bytes count: Int, to out: inout [UInt8]) {
        for index in 0..<count { out.append(UInt8(truncatingIfNeeded: value >> (8 * UInt32(index)))) }
    }

    // MARK: - Decoding

    /// Exactly `count` symbols, nil when the bytes are damaged. Takes `count` bytes and at most 400 KB.
    static func decode(_ bytes: ArraySlice<UInt8>, count: Int, columns: Int, level: Level) -> [UInt8]? {
        guard count > 0, columns > 0, count / columns < 1 << 20 else { return nil }
        var rest = bytes
        func number(_ width: Int) -> Int? {
            guard rest.count >= width else { return nil }
            defer { rest = rest.dropFirst(width) }
            return rest.prefix(width).reversed().reduce(0) { $0 << 8 | Int($1) }
        }
        guard let boundCount = number(1), boundCount < largestGroupCount else { return nil }
        var bounds: [Int] = []
        for _ in 0..<boundCount {
            guard let bound = number(2), bound > bounds.last ?? 0, bound < meanCount else { return nil }
            bounds.append(bound)
        }
        // For each group the symbol of each of the 4096 slots, and frequencies and starts of its symbols.
        var slots = [UInt8](repeating: 0, count: (boundCount + 1) * scale)
        var ranges = [UInt32](repeating: 0, count: (boundCount + 1) * 256)
        for group in 0...boundCount {
            guard let table = Table(reading: &rest) else { return nil }
            for symbol in 0..<256 where table.frequencies[symbol] > 0 {
                let (start, frequency) = (Int(table.starts[symbol]), Int(table.frequencies[symbol]))
                ranges[group * 256 + symbol] = UInt32(start) << 16 | UInt32(frequency)
                for slot in start..<(start + frequency) { slots[group * scale + slot] = UInt8(symbol) }
            }
        }
        guard let first = number(4), var state = UInt32(exactly: first), state >= lowest, state < lowest << 8 else {
            return nil
        }
        let groups = groupOfMean(bounds)
        var sums = [UInt32](repeating: 0, count: min(columns, count))
        var isSound = true
        let result = [UInt8](unsafeUninitializedCapacity: count) { out, written in
            written = count
            sums.withUnsafeMutableBufferPointer { sums in
                slots.withUnsafeBufferPointer { slots in
                    ranges.withUnsafeBufferPointer { ranges in
                        groups.withUnsafeBufferPointer { groups in
                            rest.withUnsafeBufferPointer { source in
                                var (next, column) = (0, 0)
                                var row: UInt32 = 0
                                for index in 0..<count {
                                    let group = Int(groups[mean(sums[column], row)])
                                    let slot = state & UInt32(scale - 1)
                                    let symbol = slots[group * scale + Int(slot)]
                                    let range = ranges[group * 256 + Int(symbol)]
                                    // Cannot overflow: the state is below 2^31, a frequency at most 2^12.
                                    state = (range & 0xffff) * (state >> scaleBits) + slot - range >> 16
                                    while state < lowest {
                                        guard next < source.count else {
                                            isSound = false
                                            state = lowest
                                            break
                                        }
                                        state = state << 8 | UInt32(source[next])
                                        next += 1
                                    }
                                    out[index] = symbol
                                    sums[column] += level.of(symbol)
                                    column += 1
                                    if column == sums.count { (column, row) = (0, row + 1) }
                                }
                                isSound = isSound && next == source.count && state == lowest
                            }
                        }
                    }
                }
            }
        }
        return isSound ? result : nil
    }

    /// The frequencies of a group's symbols, which add up to 4096.
    private struct Table {
        var frequencies = [UInt16](repeating: 0, count: 256)
        var starts = [UInt16](repeating: 0, count: 256)

        /// - Parameter counts: how often each symbol occurs; some do.
        init(counts: [UInt32]) {
            let total = counts.reduce(0) { $0 + Int($1) }
            var sum = 0
            for symbol in 0..<256 where counts[symbol] > 0 {
                let share = max(1, (Int(counts[symbol]) * scale + total / 2) / total)
                frequencies[symbol] = UInt16(share)
                sum += share
            }
            // Rounding leaves a few too many or too few; the most frequent symbols mind it least.
            while sum != scale {
                let step = sum > scale ? -1 : 1
                guard let largest = frequencies.indices.max(by: { frequencies[$0] < frequencies[$1] }) else { break }
                frequencies[largest] = UInt16(Int(frequencies[largest]) + step)
                sum += step
            }
            setStarts()
        }

        init?(reading rest: inout ArraySlice<UInt8>) {
            guard let count = rest.popFirst() else { return nil }
            var (sum, last) = (0, -1)
            for _ in 0...Int(count) {
                guard let symbol = rest.popFirst(), Int(symbol) > last, let low = rest.popFirst() else { return nil }
                last = Int(symbol)
                var frequency = Int(low)
                if low >= 128 {
                    guard let high = rest.popFirst() else { return nil }
                    frequency = Int(low & 127) | Int(high) << 7
                }
                guard frequency >= 1, frequency <= scale - sum else { return nil }
                frequencies[last] = UInt16(frequency)
                sum += frequency
            }
            guard sum == scale else { return nil }
            setStarts()
        }

        private mutating func setStarts() {
            var start = 0
            for symbol in 0..<256 {
                starts[symbol] = UInt16(start)
                start += Int(frequencies[symbol])
            }
        }

        func write(to out: inout [UInt8]) {
            let used = (0..<256).filter { frequencies[$0] > 0 }
            out.append(UInt8(used.count - 1))
            for symbol in used {
                let frequency = frequencies[symbol]
                out.append(UInt8(symbol))
                if frequency < 128 {
                    out.append(UInt8(frequency))
                } else {
                    out += [UInt8(frequency & 127) | 128, UInt8(frequency >> 7)]
                }
            }
        }
    }
}
