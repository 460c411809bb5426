/// Q5_K: 256 values of 5 bits in 8 groups of 32, each with a 6-bit scale and a 6-bit minimum;
/// `value = d * scale * q - dmin * minimum`.
///
///     byte  0..1     d       half
///           2..3     dmin    half
///           4..15    scales  8 scales and 8 minima of 6 bits, see ``SixBitScales``
///           16..47   qh      byte l: bit g is the fifth bit of value l of group g
///           48..175  qs      four runs of 32 bytes; run p: low nibbles are group 2p, high nibbles group 2p + 1
enum Q5_KFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 176
            let d = bytes.half(at: 0)
            let dmin = bytes.half(at: 2)
            let high = bytes + 16
            for pair in 0..<4 {
                let (scale, minimum) = SixBitScales.read(bytes + 4, group: 2 &* pair)
                let (upperScale, upperMinimum) = SixBitScales.read(bytes + 4, group: 2 &* pair &+ 1)
                let d1 = d * scale, m1 = dmin * minimum
                let d2 = d * upperScale, m2 = dmin * upperMinimum
                let qs = bytes + (48 &+ 32 &* pair)
                let values = destination + (block &* 256 &+ 64 &* pair)
                let shift = UInt8(truncatingIfNeeded: 2 &* pair)
                for l in 0..<32 {
                    let q = qs.byte(at: l)
                    let fifths = high.byte(at: l) &>> shift
                    values[l] = d1 * Float(Int32(q & 15 | (fifths & 1) &<< 4)) - m1
                    values[l &+ 32] = d2 * Float(Int32(q &>> 4 | (fifths & 2) &<< 3)) - m2
                }
            }
        }
    }

    private static let superBlock = AffineSuperBlock(
        maximum: 31,
        plain: AffineSearch(maximum: 31, firstTrial: -0.5, trialStep: 0.1, trials: 15, absoluteError: false))

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
        _ source: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>?,
        into destination: UnsafeMutableRawPointer
    ) {
        LaneSpace.with(count: 32) { space in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { levels in
                let levels = levels.baseAddress!
                for block in 0..<blockCount {
                    let bytes = destination + block &* 176
                    superBlock.quantize(
                        source + block &* 256, importance: importance.map { $0 + block &* 256 }, space: space,
                        levels: levels, header: bytes)
                    for l in 0..<32 {
                        var fifths: UInt8 = 0
                        for group in 0..<8 { fifths |= (levels[32 &* group &+ l] &>> 4) &<< UInt8(group) }
                        bytes.storeByte(fifths, at: 16 &+ l)
                    }
                    for pair in 0..<4 {
                        for l in 0..<32 {
                            let low = levels[64 &* pair &+ l] & 15
                            let high = levels[64 &* pair &+ 32 &+ l] & 15
                            bytes.storeByte(low | high &<< 4, at: 48 &+ 32 &* pair &+ l)
                        }
                    }
                }
            }
        }
    }
}
