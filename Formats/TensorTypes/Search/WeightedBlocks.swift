/// Blocks of 32 values (Q4_0, Q4_1, Q5_0, Q5_1) searched eight at a time with an importance.
enum WeightedBlocks {
    /// Calls `body` with the values and weights of up to eight blocks laid side by side, the first block's number and
    /// how many they are.
    @inline(__always)
    static func forEachEight(
        _ row: UnsafePointer<Float>, blockCount: Int, importance: UnsafePointer<Float>,
        _ body: (_ space: LaneSpace, _ first: Int, _ count: Int) -> Void
    ) {
        // The mean square is the row's, so rows have to be encoded whole.
        let sigma2 = Lanes(repeating: sumOfSquares(row, count: 32 &* blockCount) / Float(32 &* blockCount))
        LaneSpace.with(count: 32) { space in
            for first in stride(from: 0, to: blockCount, by: 8) {
                let count = min(8, blockCount &- first)
                LaneSpace.transpose(row + 32 &* first, length: 32, runs: count, into: space.values)
                LaneSpace.transpose(importance + 32 &* first, length: 32, runs: count, into: space.weights)
                space.weigh(count: 32, sigma2: sigma2)
                body(space, first, count)
            }
        }
    }
}
