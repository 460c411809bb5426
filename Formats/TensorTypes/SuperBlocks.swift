/// The 12 bytes that hold 8 scales and 8 minima of 6 bits in Q4_K and Q5_K.
///
/// Groups 0 to 3 have scale and minimum in the low 6 bits of bytes `j` and `j + 4`. Groups 4 to 7 have their low 4
/// bits in the nibbles of byte `j + 4` and their high 2 bits in the top of bytes `j - 4` and `j`.
enum SixBitScales {
    @inline(__always)
    static func read(_ bytes: UnsafeRawPointer, group: Int) -> (scale: Float, minimum: Float) {
        let scale: UInt8
        let minimum: UInt8
        if group < 4 {
            scale = bytes.byte(at: group) & 63
            minimum = bytes.byte(at: group &+ 4) & 63
        } else {
            let low = bytes.byte(at: group &+ 4)
            scale = low & 15 | (bytes.byte(at: group &- 4) &>> 6) &<< 4
            minimum = low &>> 4 | (bytes.byte(at: group) &>> 6) &<< 4
        }
        return (Float(Int32(scale)), Float(Int32(minimum)))
    }

    /// Writes one group's pair of values below 64. Groups must be written in order.
    @inline(__always)
    static func write(_ bytes: UnsafeMutableRawPointer, group: Int, scale: UInt8, minimum: UInt8) {
        if group < 4 {
            bytes.storeByte(scale, at: group)
            bytes.storeByte(minimum, at: group &+ 4)
        } else {
            bytes.storeByte(scale & 15 | minimum &<< 4, at: group &+ 4)
            let first = bytes.load(fromByteOffset: group &- 4, as: UInt8.self)
            bytes.storeByte(first | (scale &>> 4) &<< 6, at: group &- 4)
            let second = bytes.load(fromByteOffset: group, as: UInt8.self)
            bytes.storeByte(second | (minimum &>> 4) &<< 6, at: group)
        }
    }
}

/// The encoder shared by Q4_K and Q5_K: 8 groups of 32 values, each with a scale and a minimum of 6 bits.
struct AffineSuperBlock {
    /// The highest level.
    let maximum: Int32
    /// How scales are tried when columns count the same.
    let plain: AffineSearch
    /// How scales are tried with an importance.
    var weighted: AffineSearch {
        AffineSearch(maximum: Float(maximum), firstTrial: -0.9, trialStep: 0.05, trials: 36, absoluteError: false)
    }

    /// Quantizes 256 values: writes d, dmin and the scales to the first 16 bytes of `header`, and a level of at most
    /// ``maximum`` for each value.
    @inline(__always)
    func quantize(
        _ values: UnsafePointer<Float>, importance: UnsafePointer<Float>?, space: LaneSpace,
        levels: UnsafeMutablePointer<UInt8>, header: UnsafeMutableRawPointer
    ) {
        LaneSpace.transpose(values, length: 32, into: space.values)
        let fit: AffineSearch.Fit
        let search: AffineSearch
        if let importance {
            LaneSpace.transpose(importance, length: 32, into: space.weights)
            space.weigh(count: 32, sigma2: Lanes(repeating: 2 * sumOfSquares(values, count: 256) / 256))
            let sums = space.weightSums(count: 32)
            search = weighted
            fit = weighted.fit(space, count: 32)
            storeScales(fit, weights: sums, space: space, into: header)
        } else {
            var squares = Lanes.zero
            for i in 0..<32 { squares += space.values[i] * space.values[i] }
            let mean = (squares / Lanes(repeating: 32)).squareRoot()
            for i in 0..<32 { space.weights[i] = mean + space.values[i].absolute }
            search = plain
            fit = plain.fit(space, count: 32)
            storeScales(fit, into: header)
        }
        // Once more, with the scales as they were rounded.
        let d = UnsafeRawPointer(header).half(at: 0)
        let dmin = UnsafeRawPointer(header).half(at: 2)
        for group in 0..<8 {
            let (scale, minimum) = SixBitScales.read(UnsafeRawPointer(header) + 4, group: group)
            let range = (32 &* group)..<(32 &* group &+ 32)
            let step = d * scale
            guard step != 0 else {
                for l in range { levels[l] = search.level(values[l], fit, lane: group) }
                continue
            }
            let shift = dmin * minimum
            for l in range {
                let q = nearestInteger((values[l] + shift) / step)
                levels[l] = UInt8(truncatingIfNeeded: max(0, min(maximum, q)))
            }
        }
    }

    /// Scales and minima as multiples of a 63rd of the largest.
    private func storeScales(_ fit: AffineSearch.Fit, into header: UnsafeMutableRawPointer) {
        var largestScale: Float = 0
        var largestMinimum: Float = 0
        for group in 0..<8 {
            if fit.scale[group] > largestScale { largestScale = fit.scale[group] }
            if fit.minimum[group] > largestMinimum { largestMinimum = fit.minimum[group] }
        }
        let inverseScale = largestScale > 0 ? 63 / largestScale : 0
        let inverseMinimum = largestMinimum > 0 ? 63 / largestMinimum : 0
        for group in 0..<8 {
            let scale = UInt8(truncatingIfNeeded: nearestInteger(inverseScale * fit.scale[group]))
            let minimum = UInt8(truncatingIfNeeded: nearestInteger(inverseMinimum * fit.minimum[group]))
            SixBitScales.write(header + 4, group: group, scale: min(63, scale), minimum: min(63, minimum))
        }
        header.storeHalf(largestScale / 63, at: 0)
        header.storeHalf(largestMinimum / 63, at: 2)
    }

    /// Scales and minima as multiples of what fits them best, each group counting by the sum of its weights.
    @inline(__always)
    private func storeScales(
        _ fit: AffineSearch.Fit, weights: Lanes, space: LaneSpace, into header: UnsafeMutableRawPointer
    ) {
        let groups = space.groups
        groups.store(fit.scale, at: 0)
        groups.store(fit.minimum, at: 8)
        groups.store(weights, at: 16)
        let scaleLevels = groups.levels, minimumLevels = groups.levels + 8
        let d = ScaleSearch.positive(
            groups.floats, weights: groups.floats + 16, count: 8, maximum: 63, levels: scaleLevels)
        let dmin = ScaleSearch.positive(
            groups.floats + 8, weights: groups.floats + 16, count: 8, maximum: 63, levels: minimumLevels)
        for group in 0..<8 {
            // Only in Q5_K does ggml bound what a negative scale has wrapped around to.
            let bound: UInt8 = maximum > 15 ? 63 : 255
            SixBitScales.write(
                header + 4, group: group, scale: min(bound, scaleLevels[group]),
                minimum: min(bound, minimumLevels[group]))
        }
        header.storeHalf(d, at: 0)
        header.storeHalf(dmin, at: 2)
    }
}
