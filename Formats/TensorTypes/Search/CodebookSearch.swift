/// The 16 values that four bits stand for in IQ4_NL and IQ4_XS: finer near zero.
enum Codebook {
    static let values: [Float] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

    /// `values` for the index given by ``position(_:)``. The borders between values are halves of integers, so half
    /// steps from -128 decide.
    static let byPosition: [Float] = indexByPosition.map { values[Int($0)] }

    static let indexByPosition: [UInt8] = (0..<512).map { position in
        let value = Float(position) / 2 - 128
        return UInt8(zip(values, values.dropFirst()).count { value >= ($0 + $1) / 2 })
    }

    /// Half steps from -128 up to and not beyond the value, in 0..<512. Not a number counts as the greatest, as it
    /// does in ggml's comparisons.
    @inline(__always)
    static func position(_ value: Lanes) -> SIMD8<UInt32> {
        let bounded = value.replacing(with: 127.5, where: .!(value .< Lanes(repeating: 127.5)))
            .greatest(Lanes(repeating: -128))
        let doubled = bounded + bounded
        // Round to nearest, then one down where that went up.
        let shifted = doubled + Lanes(repeating: 12_582_912)
        let isAbove = (shifted - Lanes(repeating: 12_582_912)) .> doubled
        let floor = shifted.bits &+ SIMD8<UInt32>.zero.replacing(with: UInt32.max, where: isAbove)
        return (floor &- SIMD8<UInt32>(repeating: 0x4B40_0000 &- 256))
    }

    @inline(__always)
    static func withTables(_ body: (UnsafePointer<Float>, UnsafePointer<UInt8>) -> Void) {
        byPosition.withUnsafeBufferPointer { values in
            indexByPosition.withUnsafeBufferPointer { body(values.baseAddress!, $0.baseAddress!) }
        }
    }

    /// Decodes 32 values from 16 bytes: low nibbles, then high nibbles.
    @inline(__always)
    static func decode(
        _ bytes: UnsafeRawPointer, scale: Float, codebook: UnsafePointer<Float>,
        into values: UnsafeMutablePointer<Float>
    ) {
        for j in 0..<16 {
            let q = bytes.byte(at: j)
            values[j] = scale * codebook[Int(q & 15)]
            values[j &+ 16] = scale * codebook[Int(q &>> 4)]
        }
    }
}

/// The search for a scale under which values lie closest to the ``Codebook``, for eight groups of 32 at once.
enum CodebookSearch {
    /// Tries the scale that puts the value of largest magnitude on -127 and 15 around it; the one of least weighted
    /// error wins. Groups whose values are all below 1e-15 get 0.
    @inline(__always)
    static func fit(_ space: LaneSpace, byPosition: UnsafePointer<Float>) -> Lanes {
        let x = space.values, weights = space.weights
        let largest = SymmetricSearch.extreme(x, count: 32)
        var scale = Lanes.zero
        var best = Lanes.zero
        for trial in -8..<8 {
            // First the plain scale, whose inverse ggml rounds twice.
            let inverse =
                trial == -8
                ? Lanes(repeating: 1) / (largest.negated / Lanes(repeating: -127))
                : Lanes(repeating: Float(trial) - 127) / largest
            var sumQX = Lanes.zero
            var sumQ2 = Lanes.zero
            for i in 0..<32 {
                let position = Codebook.position(inverse * x[i])
                let q = Lanes(
                    byPosition[Int(position[0])], byPosition[Int(position[1])], byPosition[Int(position[2])],
                    byPosition[Int(position[3])], byPosition[Int(position[4])], byPosition[Int(position[5])],
                    byPosition[Int(position[6])], byPosition[Int(position[7])])
                let weighted = weights[i] * q
                sumQX += weighted * x[i]
                sumQ2 += weighted * q
            }
            let trialScale = sumQX / sumQ2
            let isPositive = sumQ2 .> Lanes.zero
            if trial == -8 {
                scale = Lanes.zero.replacing(with: trialScale, where: isPositive)
                best = scale * sumQX
            } else {
                let isBetter = isPositive .& (sumQX * sumQX .> best * sumQ2)
                scale.replace(with: trialScale, where: isBetter)
                best.replace(with: trialScale * sumQX, where: isBetter)
            }
        }
        return scale.replacing(with: 0, where: largest.absolute .< Lanes(repeating: 1e-15))
    }

    /// Writes the 16 bytes of a group: of `values[j]` and `values[j + 16]`, times `inverse`, the nearest in the
    /// codebook, in low and high nibble.
    @inline(__always)
    static func pack(
        _ values: UnsafePointer<Float>, inverse: Float, indexByPosition: UnsafePointer<UInt8>,
        into bytes: UnsafeMutableRawPointer
    ) {
        let inverse = Lanes(repeating: inverse)
        for j in stride(from: 0, to: 16, by: 8) {
            let source = UnsafeRawPointer(values + j)
            let low = Codebook.position(source.loadUnaligned(as: Lanes.self) * inverse)
            let high = Codebook.position(source.loadUnaligned(fromByteOffset: 64, as: Lanes.self) * inverse)
            for k in 0..<8 {
                let byte = indexByPosition[Int(low[k])] | indexByPosition[Int(high[k])] &<< 4
                bytes.storeByte(byte, at: j &+ k)
            }
        }
    }
}
