/// IQ2_S: 256 values in 32 runs of 8, each a point of a grid of 1024 with any signs; groups of 16 have a 4-bit scale;
/// `value = d * (0.5 + scale) / 4 * ±point`.
///
///     byte  0..1    d       half
///           2..33   qs      byte r: low bits of the point of run r
///           34..65  signs   byte r: bit j is the sign of value j of run r
///           66..73  qh      bits 2l and 2l + 1 of byte g: high bits of the point of run 4g + l
///           74..81  scales  nibble g: scale of group g
enum IQ2_SFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq2s.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 82 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<16 {
                        let nibble =
                            bytes.byte(at: 74 &+ group / 2) &>> UInt8(truncatingIfNeeded: 4 &* (group & 1)) & 15
                        let scale = d * (0.5 + Float(Int32(nibble))) * 0.25
                        for run in (2 &* group)..<(2 &* group &+ 2) {
                            let high = Int(bytes.byte(at: 66 &+ run / 4)) &>> (2 &* (run & 3)) & 3
                            let point = points[Int(bytes.byte(at: 2 &+ run)) | high &<< 8]
                            Signs.store(
                                scale * point, mask: masks[Int(bytes.byte(at: 34 &+ run))],
                                at: destination + (256 &* block &+ 8 &* run))
                        }
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

    private static let search = GridSearch(
        group: 16, length: 8, topLevel: 2, epsilon: 1e-8, trials: 9, trialStep: 0.1, refinement: .thoseOff,
        hasEvenSigns: false)

    private static func encode(
        _ row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        GridSearch.Index.with(Grids.iq2sIndex) { index in
            GridSearch.Space.with { space in
                for block in 0..<blockCount {
                    let bytes = destination + 82 &* block
                    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 82)
                    let sigma2 = 2 * sumOfSquares(row + 256 &* block, count: 256) / 256
                    var scales = SIMD16<Float>.zero
                    for group in 0..<16 {
                        let start = 256 &* block &+ 16 &* group
                        search.load(row + start, into: space) { i, x in
                            guard let importance else { return 0.25 * sigma2 + x * x }
                            return importance[start &+ i] * (sigma2 + x * x).squareRoot()
                        }
                        guard let scale = search.fit(space, index) else { continue }
                        scales[group] = scale
                        for run in (2 &* group)..<(2 &* group &+ 2) {
                            let point = space.points[run & 1]
                            bytes.storeByte(UInt8(truncatingIfNeeded: point), at: 2 &+ run)
                            bytes.storeByte(space.signs[run & 1], at: 34 &+ run)
                            let high =
                                UInt8(truncatingIfNeeded: point &>> 8) &<< UInt8(truncatingIfNeeded: 2 &* (run & 3))
                            bytes.storeByte(
                                UnsafeRawPointer(bytes).byte(at: 66 &+ run / 4) | high, at: 66 &+ run / 4)
                        }
                    }
                    let greatest = scales.max()
                    guard greatest != 0 else { continue }
                    let d = greatest / 31
                    bytes.storeHalf(d * 0.9875, at: 0)
                    for pair in 0..<8 {
                        let low = GridSearch.level(scales[2 &* pair], inverse: 1 / d)
                        let high = GridSearch.level(scales[2 &* pair &+ 1], inverse: 1 / d)
                        bytes.storeByte(low | high &<< 4, at: 74 &+ pair)
                    }
                }
            }
        }
    }
}
