/// Character classes as automata over bytes: how UTF-8 spells the code points of a set.
///
/// A node is a list of byte ranges, each leading to another node or to the end of the character. Because the grammar
/// works on bytes, a token may end in the middle of a character, and the next one goes on there.
struct CharacterAutomaton: Sendable {
    struct Edge: Sendable, Hashable {
        let lower, upper: UInt8
        /// The next node; `CharacterAutomaton.end` after a character's last byte.
        let next: Int32
    }

    static let end: Int32 = -1

    private(set) var nodes: [[Edge]] = []
    private var known: [[Edge]: Int32] = [:]
    private var classes: [[ClosedRange<UInt32>]: Int32] = [:]

    /// The node that begins a character of the set.
    mutating func node(for ranges: [ClosedRange<UInt32>]) -> Int32 {
        if let node = classes[ranges] { return node }
        let node = node(sequences: ranges.flatMap(Self.sequences)[...])
        classes[ranges] = node
        return node
    }

    /// The node for one byte.
    mutating func node(byte: UInt8) -> Int32 { intern([Edge(lower: byte, upper: byte, next: Self.end)]) }

    /// Which bytes no node tells apart: the class of each byte, and the number of classes.
    func byteClasses() -> (classes: [UInt8], count: Int) {
        var begins = [Bool](repeating: false, count: 257)
        for node in nodes {
            for edge in node {
                begins[Int(edge.lower)] = true
                begins[Int(edge.upper) + 1] = true
            }
        }
        var classes = [UInt8](repeating: 0, count: 256)
        var number = 0
        for byte in 1..<256 {
            if begins[byte] { number += 1 }
            classes[byte] = UInt8(number)
        }
        return (classes, number + 1)
    }

    private mutating func intern(_ edges: [Edge]) -> Int32 {
        if let node = known[edges] { return node }
        let node = Int32(nodes.count)
        nodes.append(edges)
        known[edges] = node
        return node
    }

    /// The node for byte sequences, those that share their first range following each other.
    private mutating func node(sequences: ArraySlice<[ClosedRange<UInt8>]>) -> Int32 {
        var edges: [Edge] = []
        var index = sequences.startIndex
        while index < sequences.endIndex {
            let first = sequences[index][0]
            var rest: [[ClosedRange<UInt8>]] = []
            while index < sequences.endIndex, sequences[index][0] == first {
                rest.append(Array(sequences[index].dropFirst()))
                index += 1
            }
            let next = rest.contains { $0.isEmpty } ? Self.end : node(sequences: rest[...])
            edges.append(Edge(lower: first.lowerBound, upper: first.upperBound, next: next))
        }
        return intern(edges)
    }

    /// The byte sequences of a range of code points: products of byte ranges that together spell exactly these.
    private static func sequences(_ range: ClosedRange<UInt32>) -> [[ClosedRange<UInt8>]] {
        var result: [[ClosedRange<UInt8>]] = []
        var pending = [range]
        while let next = pending.popLast() {
            let (low, high) = (next.lowerBound, next.upperBound)
            // At the lengths of UTF-8, and where a part of the continuation bytes is not covered fully, the range is cut.
            if let border = ([0x7F, 0x7FF, 0xFFFF] as [UInt32]).first(where: { low <= $0 && $0 < high }) {
                pending.append(border + 1...high)
                pending.append(low...border)
                continue
            }
            if high > 0x7F {
                var cut: UInt32?
                for bits in [6, 12, 18] as [UInt32] {
                    let mask: UInt32 = (1 << bits) - 1
                    guard low & ~mask != high & ~mask else { continue }
                    if low & mask != 0 {
                        cut = low | mask
                    } else if high & mask != mask {
                        cut = (high & ~mask) - 1
                    }
                    if cut != nil { break }
                }
                if let cut {
                    pending.append(cut + 1...high)
                    pending.append(low...cut)
                    continue
                }
            }
            result.append(zip(bytes(low), bytes(high)).map { $0...$1 })
        }
        return result
    }

    private static func bytes(_ value: UInt32) -> [UInt8] {
        func tail(_ shift: UInt32) -> UInt8 { 0x80 | UInt8(value >> shift & 0x3F) }
        switch value {
        case ..<0x80: return [UInt8(value)]
        case ..<0x800: return [0xC0 | UInt8(value >> 6), tail(0)]
        case ..<0x10000: return [0xE0 | UInt8(value >> 12), tail(6), tail(0)]
        default: return [0xF0 | UInt8(value >> 18), tail(12), tail(6), tail(0)]
        }
    }
}
