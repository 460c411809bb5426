/// IQ1_S: 256 values in 32 runs of 8, each a point of a grid of 2048 levels -1, 0 and 1; groups of 32 have a 3-bit scale
/// and a shift; `value = d * (2 * scale + 1) * (point ± 1/8)`.
///
///     byte  0..1    d   half
///           2..33   qs  byte r: low bits of the point of run r
///           34..49  qh  16 bits a group: 3l to 3l + 2 high bits of the point of its run l, 12 to 14 scale,
///                       15 set when the shift is -1/8
enum IQ1_SFormat: WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq1.points.withUnsafeBufferPointer { points in
            for block in 0..<blockCount {
                let bytes = source + 50 &* block
                let d = bytes.half(at: 0)
                for group in 0..<8 {
                    let packed = Int(bytes.short(at: 34 &+ 2 &* group))
                    let scale = d * Float(Int32(truncatingIfNeeded: 2 &* (packed &>> 12 & 7) &+ 1))
                    let shift: Float = packed & 0x8000 != 0 ? -0.125 : 0.125
                    for l in 0..<4 {
                        let run = 4 &* group &+ l
                        let point = points[Int(bytes.byte(at: 2 &+ run)) | (packed &>> (3 &* l) & 7) &<< 8]
                        UnsafeMutableRawPointer(destination + (256 &* block &+ 8 &* run))
                            .storeBytes(of: scale * (point + shift), as: SIMD8<Float>.self)
                    }
                }
            }
        }
    }

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        GridSearch.Index.with(Grids.iq1Index) { index in
            TernarySearch.Space.with { space in
                for block in 0..<blockCount {
                    encodeBlock(
                        row + 256 &* block, importance + 256 &* block, space, index, into: destination + 50 &* block)
                }
            }
        }
    }

    private static func encodeBlock(
        _ values: UnsafePointer<Float>, _ importance: UnsafePointer<Float>, _ space: TernarySearch.Space,
        _ index: GridSearch.Index, into bytes: UnsafeMutableRawPointer
    ) {
        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 50)
        let sigma2 = 2 * sumOfSquares(values, count: 256) / 256
        LaneSpace.transpose(values, length: 32, into: space.lanes.values)
        LaneSpace.transpose(importance, length: 32, into: space.lanes.weights)
        space.lanes.weigh(count: 32, sigma2: Lanes(repeating: sigma2))
        let isZero = TernarySearch.greatest(space, count: 32) .< Lanes(repeating: 1e-12)
        let fit = fit(space)
        var scales = Lanes.zero
        var shifts = SIMD8<Float>(repeating: TernarySearch.shift)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 32) { weights in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { levels in
                let weights = weights.baseAddress!, levels = levels.baseAddress!
                for group in 0..<8 where !isZero[group] && fit.variant[group] >= 0 {
                    let x = values + 32 &* group
                    for i in 0..<32 { weights[i] = space.lanes.weights[i][group] }
                    TernarySearch.levels(space, fit, lane: group, count: 32, into: levels)
                    // Turning the levels around turns the shift around.
                    let isMinus = (fit.variant[group] == 1) != (fit.scale[group] < 0)
                    let shift = isMinus ? -TernarySearch.shift : TernarySearch.shift
                    var scale = fit.scale[group].magnitude
                    var sumQX: Float = 0
                    var sumQ2: Float = 0
                    var isOff = false
                    var high: UInt16 = 0
                    for l in 0..<4 {
                        let snapped = TernarySearch.snap(
                            TernarySearch.code(levels + 8 &* l), values: x + 8 &* l, weights: weights + 8 &* l,
                            scale: scale, shift: shift, index)
                        isOff = isOff || snapped.isOff
                        TernarySearch.add(
                            point: snapped.point, values: x + 8 &* l, weights: weights + 8 &* l, shift: shift, index,
                            to: &sumQX, &sumQ2)
                        bytes.storeByte(UInt8(truncatingIfNeeded: snapped.point), at: 2 &+ 4 &* group &+ l)
                        high |= UInt16(truncatingIfNeeded: snapped.point &>> 8) &<< UInt16(truncatingIfNeeded: 3 &* l)
                    }
                    if isOff, sumQX > 0, sumQ2 > 0 { scale = sumQX / sumQ2 }
                    bytes.storeShort(high, at: 34 &+ 2 &* group)
                    scales[group] = scale
                    shifts[group] = shift
                }
            }
        }
        let greatest = scales.max()
        guard greatest != 0 else { return }
        let d = greatest / 15
        bytes.storeHalf(d * 1.125, at: 0)
        for group in 0..<8 {
            let level = TernarySearch.level(scales[group], inverse: 1 / d) | (shifts[group] < 0 ? 8 : 0)
            let high = UnsafeRawPointer(bytes).short(at: 34 &+ 2 &* group)
            bytes.storeShort(high | UInt16(truncatingIfNeeded: level) &<< 12, at: 34 &+ 2 &* group)
        }
    }

    /// Tries all pairs of borders with the shift up (variant 0) and down (variant 1).
    @inline(__always)
    private static func fit(_ space: TernarySearch.Space) -> TernarySearch.Fit {
        space.sort(count: 32)
        space.products[0] = Lanes.zero
        space.weights[0] = Lanes.zero
        for rank in 0..<32 {
            var x = Lanes.zero
            var w = Lanes.zero
            for lane in 0..<8 {
                let i = Int(space.order[rank][lane])
                x[lane] = space.lanes.values[i][lane]
                w[lane] = space.lanes.weights[i][lane]
            }
            space.products[rank &+ 1] = space.products[rank] + w * x
            space.weights[rank &+ 1] = space.weights[rank] + w
        }
        var fit = TernarySearch.Fit()
        let allX = space.products[32], allW = space.weights[32]
        for i1 in 0...32 {
            let lowX = space.products[i1], lowW = space.weights[i1]
            for i2 in i1...32 {
                let midX = space.products[i2] - lowX, highX = allX - space.products[i2]
                let midW = space.weights[i2] - lowW, highW = allW - space.weights[i2]
                for variant in 0..<2 {
                    let shift = variant == 0 ? TernarySearch.shift : -TernarySearch.shift
                    let low = Lanes(repeating: shift - 1), mid = Lanes(repeating: shift)
                    let high = Lanes(repeating: shift + 1)
                    fit.consider(
                        lowX * low + midX * mid + highX * high,
                        lowW * low * low + midW * mid * mid + highW * high * high, Int32(truncatingIfNeeded: i1),
                        Int32(truncatingIfNeeded: i2), variant: Int32(truncatingIfNeeded: variant))
                }
            }
        }
        return fit
    }
}
