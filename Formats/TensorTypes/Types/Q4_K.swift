/// Q4_K: 256 values of 4 bits in 8 groups of 32, each with a 6-bit scale and a 6-bit minimum;
/// `value = d * scale * q - dmin * minimum`.
///
///     byte  0..1     d       half
///           2..3     dmin    half
///           4..15    scales  8 scales and 8 minima of 6 bits, see ``SixBitScales``
///           16..143  qs      four runs of 32 bytes; run p: low nibbles are group 2p, high nibbles group 2p + 1
enum Q4_KFormat: EncodableBlockFormat, WeightedBlockFormat {
    static func decode(_ source: UnsafeRawPointer, blockCount: Int, into destination: UnsafeMutablePointer<Float>) {
        for block in 0..<blockCount {
            let bytes = source + block &* 144
            let d = bytes.half(at: 0)
            let dmin = bytes.half(at: 2)
            for pair in 0..<4 {
                let (scale, minimum) = SixBitScales.read(bytes + 4, group: 2 &* pair)
                let (upperScale, upperMinimum) = SixBitScales.read(bytes + 4, group: 2 &* pair &+ 1)
                let d1 = d * scale, m1 = dmin * minimum
                let d2 = d * upperScale, m2 = dmin * upperMinimum
                let qs = bytes + (16 &+ 32 &* pair)
                let values = destination + (block &* 256 &+ 64 &* pair)
                for l in 0..<32 {
                    let q = qs.byte(at: l)
                    values[l] = d1 * Float(Int32(q & 15)) - m1
                    values[l &+ 32] = d2 * Float(Int32(q &>> 4)) - m2
                }
            }
        }
    }

    private static let superBlock = AffineSuperBlock(
        maximum: 15,
        plain: AffineSearch(maximum: 15, firstTrial: -1, trialStep: 0.1, trials: 20, absoluteError: false))

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
                    let bytes = destination + block &* 144
                    superBlock.quantize(
                        source + block &* 256, importance: importance.map { $0 + block &* 256 }, space: space,
                        levels: levels, header: bytes)
                    for pair in 0..<4 {
                        for l in 0..<32 {
                            let low = levels[64 &* pair &+ l]
                            let high = levels[64 &* pair &+ 32 &+ l]
                            bytes.storeByte(low | high &<< 4, at: 16 &+ 32 &* pair &+ l)
                        }
                    }
                }
            }
        }
    }
}
