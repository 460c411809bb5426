/// IQ2_XS: 256 values in 32 runs of 8, each a point of a grid of 512 with an even number of minus signs; groups of 16
/// have a 4-bit scale; `value = d * (0.5 + scale) / 4 * ±point`.
///
///     byte  0..1    d       half
///           2..65   qs      16 bits a run: 0 to 8 number of its point, 9 to 15 signs (see ``Signs``)
///           66..73  scales  nibble g: scale of group g
enum IQ2_XSFormat: WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq2xs.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 74 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<16 {
                        let nibble =
                            bytes.byte(at: 66 &+ group / 2) &>> UInt8(truncatingIfNeeded: 4 &* (group & 1)) & 15
                        let scale = d * (0.5 + Float(Int32(nibble))) * 0.25
                        for run in (2 &* group)..<(2 &* group &+ 2) {
                            let packed = UInt32(bytes.short(at: 2 &+ 2 &* run))
                            let point = points[Int(packed & 511)]
                            Signs.store(
                                scale * point, mask: masks[Signs.even(packed &>> 9)],
                                at: destination + (256 &* block &+ 8 &* run))
                        }
                    }
                }
            }
        }
    }

    private static let search = GridSearch(
        group: 16, length: 8, topLevel: 2, epsilon: 1e-15, trials: 9, trialStep: 0.1, refinement: .thoseOff,
        hasEvenSigns: true)

    static func encode(
        row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        into destination: UnsafeMutableRawPointer
    ) {
        GridSearch.Index.with(Grids.iq2xsIndex) { index in
            GridSearch.Space.with { space in
                for block in 0..<blockCount {
                    let bytes = destination + 74 &* block
                    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 74)
                    let sigma2 = sumOfSquares(row + 256 &* block, count: 256) / 256
                    var scales = SIMD16<Float>.zero
                    for group in 0..<16 {
                        let start = 256 &* block &+ 16 &* group
                        search.load(row + start, into: space) { i, x in
                            importance[start &+ i] * (sigma2 + x * x).squareRoot()
                        }
                        guard let scale = search.fit(space, index) else { continue }
                        scales[group] = scale
                        for k in 0..<2 {
                            let packed = space.points[k] | UInt16(space.signs[k] & 127) &<< 9
                            bytes.storeBytes(
                                of: packed.littleEndian, toByteOffset: 2 &+ 4 &* group &+ 2 &* k, as: UInt16.self)
                        }
                    }
                    let greatest = scales.max()
                    guard greatest != 0 else {
                        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 74)
                        continue
                    }
                    let d = greatest / 31
                    bytes.storeHalf(d, at: 0)
                    for pair in 0..<8 {
                        let low = GridSearch.level(scales[2 &* pair], inverse: 1 / d)
                        let high = GridSearch.level(scales[2 &* pair &+ 1], inverse: 1 / d)
                        bytes.storeByte(low | high &<< 4, at: 66 &+ pair)
                    }
                }
            }
        }
    }
}
