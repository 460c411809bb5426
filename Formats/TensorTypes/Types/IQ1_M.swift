/// IQ1_M: 256 values in 32 runs of 8, each a point of a grid of 2048 levels -1, 0 and 1 with a shift; groups of 16 have a
/// 3-bit scale; `value = d * (2 * scale + 1) * (point ± 1/8)`.
///
///     byte  0..31   qs      byte r: low bits of the point of run r
///           32..47  qh      nibble r: high 3 bits of the point of run r, bit 3 set when its shift is -1/8
///           48..55  scales  four words of 16 bits; 3l to 3l + 2 of word w: scale of group 4w + l;
///                           the top nibbles of the words, from the first up, are the bits of d, a half
enum IQ1_MFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq1.points.withUnsafeBufferPointer { points in
            for block in 0..<blockCount {
                let bytes = source + 56 &* block
                var bits: UInt16 = 0
                for word in 0..<4 {
                    bits |= (bytes.short(at: 48 &+ 2 &* word) &>> 12) &<< UInt16(truncatingIfNeeded: 4 &* word)
                }
                let d = Half.float(bits)
                for group in 0..<16 {
                    let word = Int32(bytes.short(at: 48 &+ 2 &* (group / 4)))
                    let stored = word &>> Int32(truncatingIfNeeded: 3 &* (group & 3)) & 7
                    let scale = d * Float(2 &* stored &+ 1)
                    for run in (2 &* group)..<(2 &* group &+ 2) {
                        let nibble = Int(bytes.byte(at: 32 &+ group)) &>> (4 &* (run & 1)) & 15
                        let shift: Float = nibble & 8 != 0 ? -0.125 : 0.125
                        let point = points[Int(bytes.byte(at: run)) | (nibble & 7) &<< 8]
                        UnsafeMutableRawPointer(destination + (256 &* block &+ 8 &* run))
                            .storeBytes(of: scale * (point + shift), as: SIMD8<Float>.self)
                    }
                }
            }
        }
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
        _ row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        GridSearch.Index.with(Grids.iq1Index) { index in
            TernarySearch.Space.with { space in
                for block in 0..<blockCount {
                    encodeBlock(
                        row + 256 &* block, importance.map { $0 + 256 &* block }, space, index,
                        into: destination + 56 &* block)
                }
            }
        }
    }

    private static func encodeBlock(
        _ values: UnsafePointer<Float>, _ importance: UnsafePointer<Float>?, _ space: TernarySearch.Space,
        _ index: GridSearch.Index, into bytes: UnsafeMutableRawPointer
    ) {
        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 56)
        let sigma2 = 2 * sumOfSquares(values, count: 256) / 256
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 272) { floats in
            let weights = floats.baseAddress!, scales = weights + 256
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { levels in
                let variants = levels.baseAddress! + 16
                for i in 0..<256 {
                    let square = values[i] * values[i]
                    weights[i] = importance.map { $0[i] * (sigma2 + square).squareRoot() } ?? square
                }
                for part in 0..<2 {
                    LaneSpace.transpose(values + 128 &* part, length: 16, into: space.lanes.values)
                    LaneSpace.transpose(weights + 128 &* part, length: 16, into: space.lanes.weights)
                    let isZero = TernarySearch.greatest(space, count: 16) .< Lanes(repeating: 1e-7)
                    let fit = fit(space)
                    for lane in 0..<8 {
                        let group = 8 &* part &+ lane
                        scales[group] = 0
                        variants[group] = 0
                        guard !isZero[lane], fit.variant[lane] >= 0 else { continue }
                        TernarySearch.levels(space, fit, lane: lane, count: 16, into: levels.baseAddress!)
                        // Turning the levels around turns both shifts around.
                        let variant = fit.scale[lane] < 0 ? 3 &- fit.variant[lane] : fit.variant[lane]
                        variants[group] = UInt8(truncatingIfNeeded: variant)
                        scales[group] = write(
                            group, values + 16 &* group, weights + 16 &* group, levels.baseAddress!,
                            fit.scale[lane].magnitude, variants[group], index, into: bytes)
                    }
                }
                var greatest: Float = 0
                for group in 0..<16 where scales[group] > greatest { greatest = scales[group] }
                guard greatest != 0 else { return }
                writeScales(greatest / 15, scales, variants, values, weights, index, into: bytes)
            }
        }
    }

    /// Writes the points of a group and gives its scale.
    private static func write(
        _ group: Int, _ values: UnsafePointer<Float>, _ weights: UnsafePointer<Float>, _ levels: UnsafePointer<UInt8>,
        _ scale: Float, _ variant: UInt8, _ index: GridSearch.Index, into bytes: UnsafeMutableRawPointer
    ) -> Float {
        var sumQX: Float = 0
        var sumQ2: Float = 0
        var isOff = false
        var high = 0
        for k in 0..<2 {
            let x = values + 8 &* k, w = weights + 8 &* k
            let snapped = TernarySearch.snap(
                TernarySearch.code(levels + 8 &* k), values: x, weights: w, scale: scale, shift: shift(variant, k),
                index)
            isOff = isOff || snapped.isOff
            TernarySearch.add(
                point: snapped.point, values: x, weights: w, shift: shift(variant, k), index, to: &sumQX, &sumQ2)
            bytes.storeByte(UInt8(truncatingIfNeeded: snapped.point), at: 2 &* group &+ k)
            high |= (snapped.point &>> 8) &<< (4 &* k)
        }
        bytes.storeByte(UInt8(truncatingIfNeeded: high), at: 32 &+ group)
        return isOff && sumQX > 0 && sumQ2 > 0 ? sumQX / sumQ2 : scale
    }

    /// Writes the scales, shifts and, fitted to all that was rounded, d.
    private static func writeScales(
        _ unit: Float, _ scales: UnsafePointer<Float>, _ variants: UnsafePointer<UInt8>,
        _ values: UnsafePointer<Float>, _ weights: UnsafePointer<Float>, _ index: GridSearch.Index,
        into bytes: UnsafeMutableRawPointer
    ) {
        let source = UnsafeRawPointer(bytes)
        var words = SIMD4<UInt16>.zero
        var sumQX: Float = 0
        var sumQ2: Float = 0
        for group in 0..<16 {
            let level = TernarySearch.level(scales[group], inverse: 1 / unit)
            words[group / 4] |= UInt16(truncatingIfNeeded: level) &<< UInt16(truncatingIfNeeded: 3 &* (group & 3))
            let high = Int(source.byte(at: 32 &+ group))
            for k in 0..<2 {
                let point = Int(source.byte(at: 2 &* group &+ k)) | (high &>> (4 &* k) & 7) &<< 8
                TernarySearch.add(
                    point: point, values: values + (16 &* group &+ 8 &* k), weights: weights + (16 &* group &+ 8 &* k),
                    shift: shift(variants[group], k), factor: Float(2 &* level &+ 1), index, to: &sumQX, &sumQ2)
            }
            let signs: UInt8 = (variants[group] & 1) &<< 7 | (variants[group] & 2) &<< 2
            bytes.storeByte(UInt8(truncatingIfNeeded: high) | signs, at: 32 &+ group)
        }
        let d = Half.bits((sumQ2 > 0 ? sumQX / sumQ2 : unit) * 1.1125)
        for word in 0..<4 {
            let nibble = (d &>> UInt16(truncatingIfNeeded: 4 &* word) & 15) &<< 12
            bytes.storeShort(words[word] | nibble, at: 48 &+ 2 &* word)
        }
    }

    /// The shift of half `k` of a group: bit 1 of the variant turns the first half's down, bit 0 the second's.
    @inline(__always)
    private static func shift(_ variant: UInt8, _ k: Int) -> Float {
        variant &>> UInt8(truncatingIfNeeded: 1 &- k) & 1 == 0 ? TernarySearch.shift : -TernarySearch.shift
    }

    /// Tries all pairs of borders with the shifts of both halves up and down.
    ///
    /// Each sum runs over the ranks in order, as it did in ggml until 2026; later versions take differences of prefix
    /// sums, which may round to another pair of borders.
    @inline(__always)
    private static func fit(_ space: TernarySearch.Space) -> TernarySearch.Fit {
        space.sort(count: 16)
        var fit = TernarySearch.Fit()
        withUnsafeTemporaryAllocation(of: VariantSums.self, capacity: 48) { terms in
            let terms = terms.baseAddress!
            for rank in 0..<16 {
                var x = Lanes.zero
                var w = Lanes.zero
                var isSecond = SIMD8<Int32>.zero
                for lane in 0..<8 {
                    let i = Int(space.order[rank][lane])
                    x[lane] = space.lanes.values[i][lane]
                    w[lane] = space.lanes.weights[i][lane]
                    isSecond[lane] = i < 8 ? 0 : 1
                }
                for level in 0..<3 {
                    terms[16 &* level &+ rank] = VariantSums(
                        value: x, weight: w, level: Float(Int32(truncatingIfNeeded: level &- 1)),
                        isSecondHalf: isSecond .!= SIMD8<Int32>.zero)
                }
            }
            var low = VariantSums()
            for i1 in 0...16 {
                var middle = low
                for i2 in i1...16 {
                    var sums = middle
                    for rank in i2..<16 { sums.add(terms[32 &+ rank]) }
                    let first = Int32(truncatingIfNeeded: i1), second = Int32(truncatingIfNeeded: i2)
                    fit.consider(sums.x.0, sums.w.0, first, second, variant: 0)
                    fit.consider(sums.x.1, sums.w.1, first, second, variant: 1)
                    fit.consider(sums.x.2, sums.w.2, first, second, variant: 2)
                    fit.consider(sums.x.3, sums.w.3, first, second, variant: 3)
                    if i2 < 16 { middle.add(terms[16 &+ i2]) }
                }
                if i1 < 16 { low.add(terms[i1]) }
            }
        }
        return fit
    }

    /// For each of the four variants of shifts what values contribute to the least-squares scale: weight · level ·
    /// value, and weight · level².
    private struct VariantSums {
        var x = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var w = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)

        init() {}

        /// The contribution of one value of each group at a level.
        @inline(__always)
        init(value: Lanes, weight: Lanes, level: Float, isSecondHalf: LaneMask) {
            let up = Lanes(repeating: level + TernarySearch.shift), down = Lanes(repeating: level - TernarySearch.shift)
            let upX = weight * up * value, downX = weight * down * value
            let upW = weight * up * up, downW = weight * down * down
            x = (
                upX, upX.replacing(with: downX, where: isSecondHalf),
                downX.replacing(with: upX, where: isSecondHalf), downX
            )
            w = (
                upW, upW.replacing(with: downW, where: isSecondHalf),
                downW.replacing(with: upW, where: isSecondHalf), downW
            )
        }

        @inline(__always)
        mutating func add(_ other: VariantSums) {
            x = (x.0 + other.x.0, x.1 + other.x.1, x.2 + other.x.2, x.3 + other.x.3)
            w = (w.0 + other.w.0, w.1 + other.w.1, w.2 + other.w.2, w.3 + other.w.3)
        }
    }
}
