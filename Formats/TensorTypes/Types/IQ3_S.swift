/// IQ3_S: 256 values in 64 runs of 4, each a point of a grid of 512 with any signs; groups of 32 have a 4-bit scale;
/// `value = d * (1 + 2 * scale) * ±point`.
///
///     byte  0..1      d       half
///           2..65     qs      byte r: low bits of the point of run r
///           66..73    qh      bit r: ninth bit of the point of run r
///           74..105   signs   byte p: bit j is the sign of value j of runs 2p and 2p + 1
///           106..109  scales  nibble g: scale of group g
enum IQ3_SFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        Grids.iq3s.points.withUnsafeBufferPointer { points in
            Signs.masks.withUnsafeBufferPointer { masks in
                for block in 0..<blockCount {
                    let bytes = source + 110 &* block
                    let d = bytes.half(at: 0)
                    for group in 0..<8 {
                        let nibble =
                            bytes.byte(at: 106 &+ group / 2) &>> UInt8(truncatingIfNeeded: 4 &* (group & 1)) & 15
                        let scale = d * Float(1 &+ 2 &* Int32(nibble))
                        let high = Int(bytes.byte(at: 66 &+ group))
                        for l in 0..<4 {
                            let pair = 4 &* group &+ l
                            let first = Int(bytes.byte(at: 2 &+ 2 &* pair)) | (high &>> (2 &* l) & 1) &<< 8
                            let second = Int(bytes.byte(at: 3 &+ 2 &* pair)) | (high &>> (2 &* l &+ 1) & 1) &<< 8
                            Signs.store(
                                scale * SIMD8(lowHalf: points[first], highHalf: points[second]),
                                mask: masks[Int(bytes.byte(at: 74 &+ pair))],
                                at: destination + (256 &* block &+ 8 &* pair))
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
        group: 32, length: 4, topLevel: 7, epsilon: 0, trials: 9, trialStep: 0.2, refinement: .ifAnyIsOff,
        hasEvenSigns: false)

    private static func encode(
        _ row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        GridSearch.Index.with(Grids.iq3sIndex) { index in
            GridSearch.Space.with { space in
                for block in 0..<blockCount {
                    let bytes = destination + 110 &* block
                    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 110)
                    let sigma2 = 2 * sumOfSquares(row + 256 &* block, count: 256) / 256
                    var scales = Lanes.zero
                    // ggml does not move on in qs and signs for a group of zeros, so that those behind it land too
                    // early. We write the same bytes.
                    var written = 0
                    for group in 0..<8 {
                        let start = 256 &* block &+ 32 &* group
                        search.load(row + start, into: space) { i, x in
                            guard let importance else { return x * x }
                            return importance[start &+ i] * (sigma2 + x * x).squareRoot()
                        }
                        guard let scale = search.fit(space, index) else { continue }
                        scales[group] = scale
                        var high: UInt8 = 0
                        for k in 0..<8 {
                            let point = space.points[k]
                            bytes.storeByte(UInt8(truncatingIfNeeded: point), at: 2 &+ 8 &* written &+ k)
                            high |= UInt8(truncatingIfNeeded: point &>> 8) &<< UInt8(truncatingIfNeeded: k)
                        }
                        bytes.storeByte(high, at: 66 &+ group)
                        for l in 0..<4 { bytes.storeByte(space.signs[l], at: 74 &+ 4 &* written &+ l) }
                        written &+= 1
                    }
                    let greatest = scales.max()
                    guard greatest != 0 else { continue }
                    let d = greatest / 31
                    bytes.storeHalf(d * 1.033, at: 0)
                    for pair in 0..<4 {
                        let low = GridSearch.level(scales[2 &* pair], inverse: 1 / d)
                        let high = GridSearch.level(scales[2 &* pair &+ 1], inverse: 1 / d)
                        bytes.storeByte(low | high &<< 4, at: 106 &+ pair)
                    }
                }
            }
        }
    }
}
