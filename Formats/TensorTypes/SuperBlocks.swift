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

/// The search for scale and minimum shared by Q4_K and Q5_K.
///
/// Sums run in plain order in F32 and without fused operations: the result is meant to equal ggml's byte for byte.
enum AffineSuperBlock {
    /// Quantizes 256 values: writes d, dmin and the scales to the first 16 bytes of `header`, and a level below
    /// `maximum + 1` for each value.
    static func quantize(
        _ values: UnsafePointer<Float>, levels: UnsafeMutablePointer<UInt8>, header: UnsafeMutableRawPointer,
        maximum: Int32, firstTrial: Float, trialStep: Float, trials: Int
    ) {
        var scales = InlineArray<8, Float>(repeating: 0)
        var minima = InlineArray<8, Float>(repeating: 0)
        var largestScale: Float = 0
        var largestMinimum: Float = 0
        for group in 0..<8 {
            let (scale, minimum) = search(
                values + 32 &* group, levels: levels + 32 &* group, maximum: maximum, firstTrial: firstTrial,
                trialStep: trialStep, trials: trials)
            scales[group] = scale
            minima[group] = minimum
            if scale > largestScale { largestScale = scale }
            if minimum > largestMinimum { largestMinimum = minimum }
        }
        let inverseScale = largestScale > 0 ? 63 / largestScale : 0
        let inverseMinimum = largestMinimum > 0 ? 63 / largestMinimum : 0
        for group in 0..<8 {
            let scale = UInt8(truncatingIfNeeded: nearestInteger(inverseScale * scales[group]))
            let minimum = UInt8(truncatingIfNeeded: nearestInteger(inverseMinimum * minima[group]))
            SixBitScales.write(header + 4, group: group, scale: min(63, scale), minimum: min(63, minimum))
        }
        header.storeHalf(largestScale / 63, at: 0)
        header.storeHalf(largestMinimum / 63, at: 2)
        // Once more, with the scales as they were rounded.
        let d = UnsafeRawPointer(header).half(at: 0)
        let dmin = UnsafeRawPointer(header).half(at: 2)
        for group in 0..<8 {
            let (scale, minimum) = SixBitScales.read(UnsafeRawPointer(header) + 4, group: group)
            let step = d * scale
            guard step != 0 else { continue }
            let shift = dmin * minimum
            for l in (32 &* group)..<(32 &* group &+ 32) {
                let q = nearestInteger((values[l] + shift) / step)
                levels[l] = UInt8(truncatingIfNeeded: max(0, min(maximum, q)))
            }
        }
    }

    /// Finds scale and (negated) minimum of one group of 32 by trying scales around the plain one, solving weighted
    /// least squares for each and keeping the one of least error.
    private static func search(
        _ x: UnsafePointer<Float>, levels: UnsafeMutablePointer<UInt8>, maximum: Int32, firstTrial: Float,
        trialStep: Float, trials: Int
    ) -> (scale: Float, minimum: Float) {
        let count = 32
        var weights = InlineArray<32, Float>(repeating: 0)
        var trial = InlineArray<32, UInt8>(repeating: 0)
        var squares: Float = 0
        for i in 0..<count { squares += x[i] * x[i] }
        let level = (squares / 32).squareRoot()
        for i in 0..<count { weights[i] = level + x[i].magnitude }

        var (least, greatest) = bounds(of: x, count: count)
        var sumW = weights[0]
        var sumX = sumW * x[0]
        for i in 1..<count {
            let w = weights[i]
            sumW += w
            sumX += w * x[i]
        }
        if least > 0 { least = 0 }
        if greatest == least {
            for i in 0..<count { levels[i] = 0 }
            return (0, -least)
        }
        let top = Float(maximum)
        var inverse = top / (greatest - least)
        var scale = 1 / inverse
        var minimum = least
        var bestError: Float = 0
        for i in 0..<count {
            let q = max(0, min(maximum, nearestInteger(inverse * (x[i] - least))))
            levels[i] = UInt8(truncatingIfNeeded: q)
            let difference = scale * Float(q) + least - x[i]
            bestError += weights[i] * (difference * difference)
        }
        for step in 0...trials {
            // The trials start from the best minimum so far, as ggml's do.
            inverse = (firstTrial + trialStep * Float(step) + top) / (greatest - minimum)
            var sumL: Float = 0
            var sumL2: Float = 0
            var sumXL: Float = 0
            for i in 0..<count {
                let q = max(0, min(maximum, nearestInteger(inverse * (x[i] - minimum))))
                trial[i] = UInt8(truncatingIfNeeded: q)
                let w = weights[i]
                let l = Float(q)
                sumL += w * l
                sumL2 += w * l * l
                sumXL += w * l * x[i]
            }
            let determinant = sumW * sumL2 - sumL * sumL
            guard determinant > 0 else { continue }
            var trialScale = (sumW * sumXL - sumX * sumL) / determinant
            var trialMinimum = (sumL2 * sumX - sumL * sumXL) / determinant
            if trialMinimum > 0 {
                trialMinimum = 0
                trialScale = sumXL / sumL2
            }
            var error: Float = 0
            for i in 0..<count {
                let difference = trialScale * Float(Int32(trial[i])) + trialMinimum - x[i]
                error += weights[i] * (difference * difference)
            }
            if error < bestError {
                for i in 0..<count { levels[i] = trial[i] }
                bestError = error
                scale = trialScale
                minimum = trialMinimum
            }
        }
        return (scale, -minimum)
    }
}

/// The search for the scale of values without a minimum, as in Q6_K.
enum SymmetricGroup {
    /// Writes `count` levels in `0 ..< 2 * maximum` (the value 0 is level `maximum`) and gives their scale, which may
    /// be negative: the value of largest magnitude lands near `-maximum`. Each value weighs its square.
    static func quantize(
        _ x: UnsafePointer<Float>, levels: UnsafeMutablePointer<UInt8>, count: Int, maximum: Int32
    ) -> Float {
        let largest = extreme(of: x, count: count)
        guard largest.magnitude >= 1e-15 else {
            for i in 0..<count { levels[i] = 0 }
            return 0
        }
        let top = Float(maximum)
        var scale: Float = 0
        var best: Float = 0
        for trial in -1..<18 {
            // First the plain scale, then 18 others from below and above.
            let step: Float = trial < 0 ? 0 : Float(trial < 9 ? trial &- 9 : trial &- 8)
            let inverse = -(top + 0.1 * step) / largest
            var sumLX: Float = 0
            var sumL2: Float = 0
            for i in 0..<count {
                let l = Float(level(x[i], inverse, maximum))
                let w = x[i] * x[i]
                sumLX += w * x[i] * l
                sumL2 += w * l * l
            }
            let isBetter = trial < 0 || (sumL2 > 0 && sumLX * sumLX > best * sumL2)
            guard isBetter else { continue }
            for i in 0..<count { levels[i] = UInt8(truncatingIfNeeded: level(x[i], inverse, maximum) &+ maximum) }
            scale = sumL2 != 0 ? sumLX / sumL2 : 0
            best = scale * sumLX
        }
        return scale
    }

    @inline(__always)
    private static func level(_ value: Float, _ inverse: Float, _ maximum: Int32) -> Int32 {
        max(-maximum, min(maximum &- 1, nearestInteger(inverse * value)))
    }
}
