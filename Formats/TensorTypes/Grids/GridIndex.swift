/// Which point of a grid each combination of levels is, or, for those that are none, which points lie near.
///
/// Made at first use, which takes up to a few tenths of a second, and kept: encoders only.
struct GridIndex: Sendable {
    /// Values of a point: 8 or 4.
    let length: Int
    /// Bits of a level in a combination.
    let bits: Int
    /// By combination: the number of the point; or, negative, -1 - the place in ``neighbours``.
    let places: [Int32]
    /// Lists, each their count before them, of the points nearest to a combination, nearest first.
    let neighbours: [UInt16]
    /// `2 * level + 1` of the values of each point.
    let odd: [Float]

    /// - Parameters:
    ///   - levels: how many levels occur.
    ///   - ranks: how many different distances count as near, up to 3.
    init<Point>(_ grid: Grid<Point>, levels: Int, ranks: Int) {
        let length = Point.scalarCount
        let bits = grid.bits
        let codes = grid.codes
        var places = [Int32](repeating: 0, count: 1 << (bits * length))
        var neighbours: [UInt16] = []
        var isPoint = [Bool](repeating: false, count: places.count)
        for (number, code) in codes.enumerated() {
            places[Int(code)] = Int32(number)
            isPoint[Int(code)] = true
        }
        var distances = [UInt8](repeating: 0, count: codes.count)
        var combinations = 1
        for _ in 0..<length { combinations *= levels }
        for combination in 0..<combinations {
            var rest = combination
            var code: UInt16 = 0
            for i in 0..<length {
                code |= UInt16(rest % levels) << (bits * i)
                rest /= levels
            }
            guard !isPoint[Int(code)] else { continue }
            // The three least distances that occur.
            var nearest: (UInt8, UInt8, UInt8) = (.max, .max, .max)
            for number in codes.indices {
                let distance = Self.distance(code, codes[number], bits: bits)
                distances[number] = distance
                guard distance < nearest.2, distance != nearest.0, distance != nearest.1 else { continue }
                if distance < nearest.0 {
                    nearest = (distance, nearest.0, nearest.1)
                } else if distance < nearest.1 {
                    nearest = (nearest.0, distance, nearest.1)
                } else {
                    nearest.2 = distance
                }
            }
            places[Int(code)] = Int32(-1 - neighbours.count)
            let start = neighbours.count
            neighbours.append(0)
            for rank in 0..<ranks {
                let distance = rank == 0 ? nearest.0 : rank == 1 ? nearest.1 : nearest.2
                for number in codes.indices where distances[number] == distance { neighbours.append(UInt16(number)) }
            }
            neighbours[start] = UInt16(neighbours.count - start - 1)
        }
        self.length = length
        self.bits = bits
        self.places = places
        self.neighbours = neighbours
        odd = codes.flatMap { code in
            (0..<length).map { Float(2 * (Int(code) >> (bits * $0) & (1 << bits - 1)) + 1) }
        }
    }

    /// The sum of squared differences of levels.
    private static func distance(_ first: UInt16, _ second: UInt16, bits: Int) -> UInt8 {
        if bits == 2 {
            // Levels below 3 differ by one where the low bits differ, by two where only the high bits do.
            let different = first ^ second
            let ones = different & 0x5555
            let twos = different & 0xAAAA & ~(ones << 1)
            return UInt8(ones.nonzeroBitCount + 4 * twos.nonzeroBitCount)
        }
        var sum = 0
        for shift in stride(from: 0, to: 12, by: 3) {
            let difference = Int(first >> shift & 7) - Int(second >> shift & 7)
            sum += difference * difference
        }
        return UInt8(sum)
    }
}

extension Grids {
    static let iq2xxsIndex = GridIndex(iq2xxs, levels: 3, ranks: 2)
    static let iq2xsIndex = GridIndex(iq2xs, levels: 3, ranks: 2)
    static let iq2sIndex = GridIndex(iq2s, levels: 3, ranks: 1)
    static let iq3xxsIndex = GridIndex(iq3xxs, levels: 8, ranks: 2)
    static let iq3sIndex = GridIndex(iq3s, levels: 8, ranks: 3)
    static let iq1Index = GridIndex(iq1, levels: 3, ranks: 3)
}
