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
    @inline(__always)
    private static func fit(_ space: TernarySearch.Space) -> TernarySearch.Fit {
        space.sort(count: 16)
        let products = (space.products, space.otherProducts), weights = (space.weights, space.otherWeights)
        products.0[0] = Lanes.zero
        products.1[0] = Lanes.zero
        weights.0[0] = Lanes.zero
        weights.1[0] = Lanes.zero
        for rank in 0..<16 {
            for lane in 0..<8 {
                let i = Int(space.order[rank][lane])
                let w = space.lanes.weights[i][lane]
                let product = w * space.lanes.values[i][lane]
                let first = products.0[rank][lane], second = products.1[rank][lane]
                products.0[rank &+ 1][lane] = i < 8 ? first + product : first
                products.1[rank &+ 1][lane] = i < 8 ? second : second + product
                let firstW = weights.0[rank][lane], secondW = weights.1[rank][lane]
                weights.0[rank &+ 1][lane] = i < 8 ? firstW + w : firstW
                weights.1[rank &+ 1][lane] = i < 8 ? secondW : secondW + w
            }
        }
        var fit = TernarySearch.Fit()
        for i1 in 0...16 {
            for i2 in i1...16 {
                let first = half(products.0, weights.0, i1, i2)
                let second = half(products.1, weights.1, i1, i2)
                let low = Int32(truncatingIfNeeded: i1), high = Int32(truncatingIfNeeded: i2)
                fit.consider(first.upX + second.upX, first.up2 + second.up2, low, high, variant: 0)
                fit.consider(first.upX + second.downX, first.up2 + second.down2, low, high, variant: 1)
                fit.consider(first.downX + second.upX, first.down2 + second.up2, low, high, variant: 2)
                fit.consider(first.downX + second.downX, first.down2 + second.down2, low, high, variant: 3)
            }
        }
        return fit
    }

    /// The sums of one half of the groups for two borders, with the shift up and down. Levels are one apart, so sums
    /// up to a border are all that is needed beside the whole; of squares, differences of the squares of levels.
    @inline(__always)
    private static func half(
        _ products: UnsafePointer<Lanes>, _ weights: UnsafePointer<Lanes>, _ i1: Int, _ i2: Int
    ) -> (upX: Lanes, downX: Lanes, up2: Lanes, down2: Lanes) {
        let up = Lanes(repeating: 1.125), down = Lanes(repeating: 0.875)
        let sum = products[i1] + products[i2]
        let allX = products[16], allW = weights[16]
        let more = Lanes(repeating: 1.25), less = Lanes(repeating: 0.75)
        return (
            allX * up - sum, allX * down - sum, allW * up * up + weights[i1] * less - weights[i2] * more,
            allW * down * down + weights[i1] * more - weights[i2] * less
        )
    }
}
