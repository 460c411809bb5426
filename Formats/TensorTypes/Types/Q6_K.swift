/// Q6_K: 256 values of 6 bits in 16 groups of 16, each with a signed 8-bit scale; `value = d * scale * (q - 32)`.
///
///     byte  0..127    ql      low 4 bits
///           128..191  qh      high 2 bits
///           192..207  scales  signed bytes
///           208..209  d       half
///
/// Each half of 128 values has 64 bytes of ql and 32 of qh. For l in 0..<32 the values l and l + 32 have the low
/// nibbles of ql[l] and ql[l + 32], the values l + 64 and l + 96 their high nibbles; qh[l] holds the four pairs of
/// high bits.
enum Q6_KFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 210
            let d = bytes.half(at: 208)
            for half in 0..<2 {
                let ql = bytes + 64 &* half
                let qh = bytes + (128 &+ 32 &* half)
                let scales = bytes + (192 &+ 8 &* half)
                let values = destination + (block &* 256 &+ 128 &* half)
                for group in 0..<2 {
                    let d1 = d * scale(scales, group)
                    let d2 = d * scale(scales, group &+ 2)
                    let d3 = d * scale(scales, group &+ 4)
                    let d4 = d * scale(scales, group &+ 6)
                    for l in (16 &* group)..<(16 &* group &+ 16) {
                        let low = ql.byte(at: l)
                        let lowUpper = ql.byte(at: l &+ 32)
                        let high = qh.byte(at: l)
                        values[l] = d1 * Float(Int32(low & 15 | (high & 3) &<< 4) &- 32)
                        values[l &+ 32] = d2 * Float(Int32(lowUpper & 15 | (high &>> 2 & 3) &<< 4) &- 32)
                        values[l &+ 64] = d3 * Float(Int32(low &>> 4 | (high &>> 4 & 3) &<< 4) &- 32)
                        values[l &+ 96] = d4 * Float(Int32(lowUpper &>> 4 | (high &>> 6) &<< 4) &- 32)
                    }
                }
            }
        }
    }

    @inline(__always)
    private static func scale(_ scales: UnsafeRawPointer, _ group: Int) -> Float {
        Float(Int32(Int8(bitPattern: scales.byte(at: group))))
    }

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        encode(source, blockCount: blockCount, importance: nil, into: destination)
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        encode(row, blockCount: blockCount, importance: importance, into: destination)
    }

    private static func encode(
        _ source: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        LaneSpace.with(count: 16) { space in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { levels in
                for block in 0..<blockCount {
                    encodeBlock(
                        source + block &* 256, importance: importance.map { $0 + block &* 256 }, space: space,
                        levels: levels.baseAddress!, into: destination + block &* 210)
                }
            }
        }
    }

    private static let search = SymmetricSearch(maximum: 32)

    @inline(__always)
    private static func encodeBlock(
        _ values: UnsafePointer<Float>, importance: UnsafePointer<Float>?, space: LaneSpace,
        levels: UnsafeMutablePointer<UInt8>, into bytes: UnsafeMutableRawPointer
    ) {
        var fits = (SymmetricSearch.Fit(), SymmetricSearch.Fit())
        for part in 0..<2 {
            LaneSpace.transpose(values + 128 &* part, length: 16, into: space.values)
            if let importance {
                LaneSpace.transpose(importance + 128 &* part, length: 16, into: space.weights)
            } else {
                for i in 0..<16 { space.weights[i] = space.values[i] * space.values[i] }
            }
            let fit = search.fit(space, count: 16)
            if part == 0 { fits.0 = fit } else { fits.1 = fit }
        }
        let scales = space.groups
        scales.store(fits.0.scale, at: 0)
        scales.store(fits.1.scale, at: 8)
        let largest = extreme(of: scales.floats, count: 16)
        guard largest.magnitude >= 1e-15 else {
            bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 210)
            return
        }
        let inverse = -128 / largest
        bytes.storeHalf(1 / inverse, at: 208)
        let d = UnsafeRawPointer(bytes).half(at: 208)
        for group in 0..<16 {
            let stored = Int8(truncatingIfNeeded: min(127, nearestInteger(inverse * scales.floats[group])))
            bytes.storeByte(UInt8(bitPattern: stored), at: 192 &+ group)
            let step = d * Float(stored)
            let range = (16 &* group)..<(16 &* group &+ 16)
            guard step != 0 else {
                let fit = group < 8 ? fits.0 : fits.1
                for l in range { levels[l] = search.level(values[l], fit, lane: group & 7) }
                continue
            }
            for l in range {
                let q = max(-32, min(31, nearestInteger(values[l] / step)))
                levels[l] = UInt8(truncatingIfNeeded: q &+ 32)
            }
        }
        for half in 0..<2 {
            let levels = levels + 128 &* half
            for l in 0..<32 {
                let q1 = levels[l], q2 = levels[l &+ 32], q3 = levels[l &+ 64], q4 = levels[l &+ 96]
                bytes.storeByte(q1 & 15 | q3 &<< 4, at: 64 &* half &+ l)
                bytes.storeByte(q2 & 15 | q4 &<< 4, at: 64 &* half &+ 32 &+ l)
                let high = q1 &>> 4 | (q2 &>> 4) &<< 2 | (q3 &>> 4) &<< 4 | (q4 &>> 4) &<< 6
                bytes.storeByte(high, at: 128 &+ 32 &* half &+ l)
            }
        }
    }
}
