/// Q2_K: 256 values of 2 bits in 16 groups of 16, each with a 4-bit scale and a 4-bit minimum;
/// `value = d * scale * q - dmin * minimum`.
///
///     byte  0..15   scales  byte g: scale of group g in the low nibble, minimum in the high nibble
///           16..79  qs      two runs of 32 bytes, see ``TwoBitLevels``
///           80..81  d       half
///           82..83  dmin    half
enum Q2_KFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 84
            let d = bytes.half(at: 80)
            let dmin = bytes.half(at: 82)
            for group in 0..<16 {
                let packed = bytes.byte(at: group)
                let scale = d * Float(Int32(packed & 15))
                let minimum = dmin * Float(Int32(packed &>> 4))
                let (run, shift) = TwoBitLevels.place(group: group)
                let qs = bytes + (16 &+ run)
                let values = destination + (256 &* block &+ 16 &* group)
                for l in 0..<16 { values[l] = scale * Float(Int32(qs.byte(at: l) &>> shift & 3)) - minimum }
            }
        }
    }

    private static let plain = AffineSearch(
        maximum: 3, firstTrial: -0.5, trialStep: 0.1, trials: 15, absoluteError: true)
    private static let weighted = AffineSearch(
        maximum: 3, firstTrial: -0.9, trialStep: 0.05, trials: 36, absoluteError: false)

    static func encode(_ source: UnsafePointer<Float>, blockCount: Int, into destination: UnsafeMutableRawPointer) {
        LaneSpace.with(count: 16) { space in
            for block in 0..<blockCount {
                let values = source + 256 &* block
                let bytes = destination + 84 &* block
                var fits = (AffineSearch.Fit(), AffineSearch.Fit())
                for part in 0..<2 {
                    LaneSpace.transpose(values + 128 &* part, length: 16, into: space.values)
                    for i in 0..<16 { space.weights[i] = space.values[i].absolute }
                    let fit = plain.fit(space, count: 16)
                    if part == 0 { fits.0 = fit } else { fits.1 = fit }
                }
                storeScales(fits, space: space, into: bytes)
                write(values, fits, search: plain, into: bytes)
            }
        }
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        LaneSpace.with(count: 16) { space in
            for block in 0..<blockCount {
                let values = row + 256 &* block
                let bytes = destination + 84 &* block
                let sigma2 = Lanes(repeating: sumOfSquares(values, count: 256) / 256)
                var fits = (AffineSearch.Fit(), AffineSearch.Fit())
                var sums = (Lanes.zero, Lanes.zero)
                for part in 0..<2 {
                    LaneSpace.transpose(values + 128 &* part, length: 16, into: space.values)
                    LaneSpace.transpose(importance + (256 &* block &+ 128 &* part), length: 16, into: space.weights)
                    space.weigh(count: 16, sigma2: sigma2)
                    let sum = space.weightSums(count: 16)
                    let fit = weighted.fit(space, count: 16)
                    if part == 0 { (fits.0, sums.0) = (fit, sum) } else { (fits.1, sums.1) = (fit, sum) }
                }
                storeScales(fits, weights: sums, space: space, into: bytes)
                write(values, fits, search: weighted, into: bytes)
            }
        }
    }

    /// Scales and minima as multiples of a 15th of the largest.
    private static func storeScales(
        _ fits: (AffineSearch.Fit, AffineSearch.Fit), space: LaneSpace, into bytes: UnsafeMutableRawPointer
    ) {
        let groups = space.groups
        groups.store(fits.0.scale, at: 0)
        groups.store(fits.1.scale, at: 8)
        groups.store(fits.0.minimum, at: 16)
        groups.store(fits.1.minimum, at: 24)
        var largestScale: Float = 0
        var largestMinimum: Float = 0
        for group in 0..<16 {
            if groups.floats[group] > largestScale { largestScale = groups.floats[group] }
            if groups.floats[16 &+ group] > largestMinimum { largestMinimum = groups.floats[16 &+ group] }
        }
        let inverseScale = largestScale > 0 ? 15 / largestScale : 0
        let inverseMinimum = largestMinimum > 0 ? 15 / largestMinimum : 0
        for group in 0..<16 {
            let scale = UInt8(truncatingIfNeeded: nearestInteger(inverseScale * groups.floats[group]))
            let minimum = UInt8(truncatingIfNeeded: nearestInteger(inverseMinimum * groups.floats[16 &+ group]))
            bytes.storeByte(scale | minimum &<< 4, at: group)
        }
        bytes.storeHalf(largestScale / 15, at: 80)
        bytes.storeHalf(largestMinimum / 15, at: 82)
    }

    /// Scales and minima as multiples of what fits them best, each group counting by the sum of its weights.
    private static func storeScales(
        _ fits: (AffineSearch.Fit, AffineSearch.Fit), weights: (Lanes, Lanes), space: LaneSpace,
        into bytes: UnsafeMutableRawPointer
    ) {
        let groups = space.groups
        groups.store(fits.0.scale, at: 0)
        groups.store(fits.1.scale, at: 8)
        groups.store(fits.0.minimum, at: 16)
        groups.store(fits.1.minimum, at: 24)
        groups.store(weights.0, at: 32)
        groups.store(weights.1, at: 40)
        let scaleLevels = groups.levels, minimumLevels = groups.levels + 16
        let d = ScaleSearch.positive(
            groups.floats, weights: groups.floats + 32, count: 16, maximum: 15, levels: scaleLevels)
        let dmin = ScaleSearch.positive(
            groups.floats + 16, weights: groups.floats + 32, count: 16, maximum: 15, levels: minimumLevels)
        for group in 0..<16 { bytes.storeByte(scaleLevels[group] | minimumLevels[group] &<< 4, at: group) }
        bytes.storeHalf(d, at: 80)
        bytes.storeHalf(dmin, at: 82)
    }

    /// Rounds the values with the scales as they were stored.
    private static func write(
        _ values: UnsafePointer<Float>, _ fits: (AffineSearch.Fit, AffineSearch.Fit), search: AffineSearch,
        into bytes: UnsafeMutableRawPointer
    ) {
        let d = UnsafeRawPointer(bytes).half(at: 80)
        let dmin = UnsafeRawPointer(bytes).half(at: 82)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { levels in
            let levels = levels.baseAddress!
            for group in 0..<16 {
                let packed = UnsafeRawPointer(bytes).byte(at: group)
                let range = (16 &* group)..<(16 &* group &+ 16)
                let step = d * Float(Int32(packed & 15))
                guard step != 0 else {
                    let fit = group < 8 ? fits.0 : fits.1
                    for l in range { levels[l] = search.level(values[l], fit, lane: group & 7) }
                    continue
                }
                let shift = dmin * Float(Int32(packed &>> 4))
                for l in range {
                    levels[l] = UInt8(truncatingIfNeeded: max(0, min(3, nearestInteger((values[l] + shift) / step))))
                }
            }
            TwoBitLevels.pack(levels, into: bytes + 16)
        }
    }
}

/// 256 levels of 2 bits in 64 bytes, as in Q2_K and Q3_K: each half of 128 values has a run of 32 bytes; bits 2k and
/// 2k + 1 of byte l are value 32k + l of the half.
enum TwoBitLevels {
    /// Where the 16 levels of a group lie: their first byte, and the shift that brings them to the low bits.
    @inline(__always)
    static func place(group: Int) -> (byte: Int, shift: UInt8) {
        (32 &* (group &>> 3) &+ 16 &* (group & 1), UInt8(truncatingIfNeeded: group & 6))
    }

    /// Packs levels below 4.
    @inline(__always)
    static func pack(_ levels: UnsafePointer<UInt8>, into bytes: UnsafeMutableRawPointer) {
        for half in 0..<2 {
            let levels = levels + 128 &* half
            for l in 0..<32 {
                let low = levels[l] | levels[l &+ 32] &<< 2
                let high = levels[l &+ 64] &<< 4 | levels[l &+ 96] &<< 6
                bytes.storeByte(low | high, at: 32 &* half &+ l)
            }
        }
    }
}
