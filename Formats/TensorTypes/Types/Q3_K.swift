/// Q3_K: 256 values of 3 bits in 16 groups of 16, each with a 6-bit scale; `value = d * (scale - 32) * (q - 4)`.
///
///     byte  0..31    hmask   bit 4h + k of byte l: third bit of value 32k + l of half h
///           32..95   qs      low 2 bits, see ``TwoBitLevels``
///           96..107  scales  low nibbles of bytes 0..7: low bits of groups 0..7; high nibbles: of groups 8..15;
///                            bits 2n and 2n + 1 of byte 8 + m: high bits of group 4n + m
///           108..109 d       half
enum Q3_KFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 110
            let d = bytes.half(at: 108)
            for group in 0..<16 {
                let scale = d * Float(Int32(readScale(bytes + 96, group: group)) &- 32)
                let (run, shift) = TwoBitLevels.place(group: group)
                let qs = bytes + (32 &+ run)
                let high = bytes + 16 &* (group & 1)
                let mask = UInt8(truncatingIfNeeded: group &>> 1)
                let values = destination + (256 &* block &+ 16 &* group)
                for l in 0..<16 {
                    let q = qs.byte(at: l) &>> shift & 3 | (high.byte(at: l) &>> mask & 1) &<< 2
                    values[l] = scale * Float(Int32(q) &- 4)
                }
            }
        }
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        LaneSpace.with(count: 16) { space in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { levels in
                let levels = levels.baseAddress!
                for block in 0..<blockCount {
                    let values = source + 256 &* block
                    let bytes = destination + 110 &* block
                    var scales = (Lanes.zero, Lanes.zero)
                    for part in 0..<2 {
                        LaneSpace.transpose(values + 128 &* part, length: 16, into: space.values)
                        let fit = DescentSearch.fit(space, count: 16)
                        if part == 0 { scales.0 = fit.scale } else { scales.1 = fit.scale }
                        for group in 0..<8 {
                            for i in 0..<16 {
                                levels[128 &* part &+ 16 &* group &+ i] = DescentSearch.level(
                                    space, fit, index: i, lane: group)
                            }
                        }
                    }
                    storeScales(scales, space: space, into: bytes)
                    write(values, levels: levels, into: bytes)
                }
            }
        }
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        let search = SymmetricSearch(maximum: 4)
        LaneSpace.with(count: 16) { space in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { levels in
                let levels = levels.baseAddress!
                for block in 0..<blockCount {
                    let values = row + 256 &* block
                    let bytes = destination + 110 &* block
                    let sigma2 = Lanes(repeating: 2 * sumOfSquares(values, count: 256) / 256)
                    var scales = (Lanes.zero, Lanes.zero)
                    var sums = (Lanes.zero, Lanes.zero)
                    for part in 0..<2 {
                        let start = 256 &* block &+ 128 &* part
                        LaneSpace.transpose(row + start, length: 16, into: space.values)
                        LaneSpace.transpose(importance + start, length: 16, into: space.weights)
                        space.weigh(count: 16, sigma2: sigma2)
                        let sum = space.weightSums(count: 16)
                        let fit = search.fit(space, count: 16)
                        if part == 0 {
                            (scales.0, sums.0) = (fit.scale, sum)
                        } else {
                            (scales.1, sums.1) = (fit.scale, sum)
                        }
                        for l in 0..<128 {
                            levels[128 &* part &+ l] = search.level(values[128 &* part &+ l], fit, lane: l / 16)
                        }
                    }
                    let groups = space.groups
                    groups.store(scales.0, at: 0)
                    groups.store(scales.1, at: 8)
                    groups.store(sums.0, at: 16)
                    groups.store(sums.1, at: 24)
                    let d = ScaleSearch.symmetric(
                        groups.floats, weights: groups.floats + 16, count: 16, maximum: 32, levels: groups.levels)
                    writeScales(groups.levels, d: d, into: bytes)
                    write(values, levels: levels, into: bytes)
                }
            }
        }
    }

    // MARK: Scales

    @inline(__always)
    private static func readScale(_ scales: UnsafeRawPointer, group: Int) -> UInt8 {
        let byte = scales.byte(at: group & 7)
        let low = group < 8 ? byte & 15 : byte &>> 4
        let high = scales.byte(at: 8 &+ group & 3) &>> UInt8(truncatingIfNeeded: 2 &* (group &>> 2)) & 3
        return low | high &<< 4
    }

    /// Scales as multiples of a 32nd of the largest.
    private static func storeScales(
        _ scales: (Lanes, Lanes), space: LaneSpace, into bytes: UnsafeMutableRawPointer
    ) {
        let groups = space.groups
        groups.store(scales.0, at: 0)
        groups.store(scales.1, at: 8)
        let largest = extreme(of: groups.floats, count: 16)
        guard largest != 0 else {
            for group in 0..<16 { groups.levels[group] = 0 }
            writeScales(groups.levels, d: 0, into: bytes)
            return
        }
        let inverse = -32 / largest
        for group in 0..<16 {
            let level = Int8(truncatingIfNeeded: nearestInteger(inverse * groups.floats[group]))
            groups.levels[group] = UInt8(bitPattern: max(-32, min(31, level)) &+ 32)
        }
        writeScales(groups.levels, d: 1 / inverse, into: bytes)
    }

    private static func writeScales(
        _ levels: UnsafePointer<UInt8>, d: Float, into bytes: UnsafeMutableRawPointer
    ) {
        for group in 0..<8 { bytes.storeByte(levels[group] & 15 | levels[group &+ 8] &<< 4, at: 96 &+ group) }
        for m in 0..<4 {
            let first = levels[m] &>> 4 | (levels[m &+ 4] &>> 4) &<< 2
            let second = (levels[m &+ 8] &>> 4) &<< 4 | (levels[m &+ 12] &>> 4) &<< 6
            bytes.storeByte(first | second, at: 104 &+ m)
        }
        bytes.storeHalf(d, at: 108)
    }

    /// Rounds the values with the scales as they were stored; `levels` comes with what the search found and is used
    /// where a scale was rounded to zero.
    private static func write(
        _ values: UnsafePointer<Float>, levels: UnsafeMutablePointer<UInt8>, into bytes: UnsafeMutableRawPointer
    ) {
        let d = UnsafeRawPointer(bytes).half(at: 108)
        for group in 0..<16 {
            let step = d * Float(Int32(readScale(UnsafeRawPointer(bytes) + 96, group: group)) &- 32)
            guard step != 0 else { continue }
            for l in (16 &* group)..<(16 &* group &+ 16) {
                levels[l] = UInt8(truncatingIfNeeded: max(-4, min(3, nearestInteger(values[l] / step))) &+ 4)
            }
        }
        for l in 0..<32 {
            var high: UInt8 = 0
            for k in 0..<8 { high |= (levels[32 &* k &+ l] &>> 2) &<< UInt8(truncatingIfNeeded: k) }
            bytes.storeByte(high, at: l)
        }
        for l in 0..<256 { levels[l] &= 3 }
        TwoBitLevels.pack(levels, into: bytes + 32)
    }
}
