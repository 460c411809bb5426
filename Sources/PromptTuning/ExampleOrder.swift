/// Which example comes when: every epoch visits each example once, in an order of its own.
///
/// A pure function of seed, example count and position, so training that resumes at any step sees exactly the examples
/// it would have seen.
public struct ExampleOrder: Sendable {
    public let seed: UInt64
    public let exampleCount: Int
    private var epoch = -1
    private var permutation: [Int] = []

    /// - Parameter exampleCount: at least 1.
    public init(seed: UInt64, exampleCount: Int) {
        precondition(exampleCount > 0, "an example order needs at least one example")
        self.seed = seed
        self.exampleCount = exampleCount
    }

    /// The index of the example at `position`, counted from the start of training over all epochs.
    ///
    /// Going forward costs O(1) on average; jumping costs one shuffle.
    public mutating func example(at position: Int) -> Int {
        precondition(position >= 0, "positions start at 0")
        if position / exampleCount != epoch {
            epoch = position / exampleCount
            permutation = Self.permutation(seed: seed, epoch: epoch, count: exampleCount)
        }
        return permutation[position % exampleCount]
    }

    /// The examples of the batch at `step`: positions `step * batchSize ..< (step + 1) * batchSize`.
    public mutating func batch(step: Int, batchSize: Int) -> [Int] {
        (step * batchSize..<(step + 1) * batchSize).map { example(at: $0) }
    }

    /// Fisher and Yates' shuffle of `0..<count` for one epoch.
    static func permutation(seed: UInt64, epoch: Int, count: Int) -> [Int] {
        var random = SplitMix64(seed: seed, stream: UInt64(epoch))
        var result = Array(0..<count)
        for index in stride(from: count - 1, to: 0, by: -1) {
            result.swapAt(index, random.next(below: index + 1))
        }
        return result
    }
}
