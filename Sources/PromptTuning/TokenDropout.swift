import LanguageModels

/// Leaves out some of an example's own input tokens, others each time it is seen.
///
/// What all examples share, the template around the input, always stays, and so does the target. So does a short input,
/// which has nothing to spare: half of a verb is another verb. Which tokens go is a function of seed, step and place in the
/// batch, so a resumed run sees the same.
struct TokenDropout {
    /// Tokens of the shortest input that loses any.
    private static let shortestInput = 6
    private let rate: Double
    private let seed: UInt64
    /// Tokens that every context begins and ends with.
    private let sharedPrefix: Int
    private let sharedSuffix: Int

    init(examples: [TrainingBatch.Example], rate: Double, seed: UInt64) {
        self.rate = rate
        self.seed = seed
        let contexts = examples.map { $0.tokens.prefix($0.targetStart) }
        let first = contexts.first ?? []
        var prefix = first.count
        var suffix = first.count
        for context in contexts.dropFirst() {
            prefix = min(prefix, zip(first, context).prefix { $0 == $1 }.count)
            suffix = min(suffix, zip(first.reversed(), context.reversed()).prefix { $0 == $1 }.count)
        }
        sharedPrefix = prefix
        sharedSuffix = suffix
    }

    /// The example without some of its input; at least one input token stays if there was one.
    func apply(to example: TrainingBatch.Example, step: Int, place: Int) -> TrainingBatch.Example {
        let own = sharedPrefix..<max(sharedPrefix, example.targetStart - sharedSuffix)
        guard rate > 0, own.count >= Self.shortestInput else { return example }
        var generator = SplitMix64(
            seed: seed ^ (UInt64(step) &* 0x9E37_79B9_7F4A_7C15) ^ (UInt64(place) &* 0xD1B5_4A32_D192_ED03))
        var kept: [Int] = []
        kept.reserveCapacity(own.count)
        for index in own where Double(generator.next() >> 11) * 0x1p-53 >= rate { kept.append(example.tokens[index]) }
        if kept.isEmpty { kept = [example.tokens[own.lowerBound]] }
        let removed = own.count - kept.count
        return TrainingBatch.Example(
            tokens: Array(example.tokens[..<own.lowerBound]) + kept + Array(example.tokens[own.upperBound...]),
            targets: example.targets.map {
                .init(position: $0.position - removed, target: $0.target, weight: $0.weight)
            })
    }
}
