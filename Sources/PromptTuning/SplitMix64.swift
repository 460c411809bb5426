/// SplitMix64 (Steele, Lea and Flood, 2014): a small random generator whose state is one number.
///
/// The same seed gives the same numbers on every machine and in every version. Not for cryptography.
public struct SplitMix64: RandomNumberGenerator, Sendable, Hashable {
    public private(set) var state: UInt64

    public init(seed: UInt64) { state = seed }

    /// A generator for one of many streams of a seed, such as an epoch.
    public init(seed: UInt64, stream: UInt64) {
        var mixer = SplitMix64(seed: seed)
        let first = mixer.next()
        mixer = SplitMix64(seed: first ^ (stream &* 0xD6E8_FEB8_6659_FD93))
        state = mixer.next()
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number in `0..<bound`, each equally likely; our own, so that results do not hang on the standard library's.
    public mutating func next(below bound: Int) -> Int {
        precondition(bound > 0, "a random number needs a positive bound")
        let range = UInt64(bound)
        let threshold = (0 &- range) % range  // 2^64 mod range: what would favour the low numbers (Lemire, 2019)
        while true {
            let product = next().multipliedFullWidth(by: range)
            if product.low >= threshold { return Int(product.high) }
        }
    }

    /// A number in `0..<1`, a multiple of 2^-53.
    public mutating func nextUniform() -> Double { Double(next() >> 11) * 0x1p-53 }
}
