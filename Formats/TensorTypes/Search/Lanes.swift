/// Eight groups of values searched side by side, one group a lane.
///
/// A lane adds in the order in which ggml's scalar loop adds, so results are the same to the last bit; the speed comes
/// from working on eight groups at once. Operations are chosen so that each is one or two instructions of baseline
/// x86-64 or NEON, and none is fused.
typealias Lanes = SIMD8<Float>
typealias LaneMask = SIMDMask<SIMD8<Int32>>

extension SIMD8<Float> {
    @inline(__always)
    init(bits: SIMD8<UInt32>) { self = unsafeBitCast(bits, to: SIMD8<Float>.self) }

    @inline(__always)
    var bits: SIMD8<UInt32> { unsafeBitCast(self, to: SIMD8<UInt32>.self) }

    @inline(__always)
    var absolute: Self { Self(bits: bits & SIMD8<UInt32>(repeating: 0x7FFF_FFFF)) }

    /// With the other sign, also of zeros: SIMD's own `-` subtracts from zero.
    @inline(__always)
    var negated: Self { Self(bits: bits ^ SIMD8<UInt32>(repeating: 0x8000_0000)) }

    /// The lesser in each lane; `other` where one is NaN.
    @inline(__always)
    func least(_ other: Self) -> Self { other.replacing(with: self, where: self .< other) }

    @inline(__always)
    func greatest(_ other: Self) -> Self { other.replacing(with: self, where: self .> other) }

    @inline(__always)
    func clamped(_ low: Float, _ high: Float) -> Self {
        least(Self(repeating: high)).greatest(Self(repeating: low))
    }

    /// The nearest integer, ties to even, for magnitudes up to 4194303.
    @inline(__always)
    var nearestSmall: Self { self + Self(repeating: 12_582_912) - Self(repeating: 12_582_912) }

    /// As ``nearestInteger(_:)``, whatever the value: the low 23 bits of `self` + 1.5 · 2^23, as a float.
    @inline(__always)
    var nearest: Self {
        let shifted = (self + Self(repeating: 12_582_912)).bits
        let mantissa = shifted & SIMD8<UInt32>(repeating: 0x007F_FFFF)
        return Self(bits: mantissa | SIMD8<UInt32>(repeating: 0x4B00_0000)) - Self(repeating: 12_582_912)
    }
}

/// Room for vectors of lanes that a search needs, allocated once for many blocks.
struct LaneSpace {
    let values: UnsafeMutablePointer<Lanes>
    let weights: UnsafeMutablePointer<Lanes>
    let scratch: UnsafeMutablePointer<Lanes>
    /// Room for what belongs to groups instead of values.
    let groups: Groups

    struct Groups {
        /// Room for 64 floats.
        let floats: UnsafeMutablePointer<Float>
        /// Room for 64 levels.
        let levels: UnsafeMutablePointer<UInt8>

        @inline(__always)
        func store(_ lanes: Lanes, at index: Int) {
            UnsafeMutableRawPointer(floats + index).storeBytes(of: lanes, as: Lanes.self)
        }
    }

    /// Calls `body` with room for groups of up to `count` values.
    @inline(__always)
    static func with(count: Int, _ body: (LaneSpace) -> Void) {
        withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 3 &* count) { lanes in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 64) { floats in
                withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64) { levels in
                    let base = lanes.baseAddress!
                    body(
                        LaneSpace(
                            values: base, weights: base + count, scratch: base + 2 &* count,
                            groups: Groups(floats: floats.baseAddress!, levels: levels.baseAddress!)))
                }
            }
        }
    }

    /// Lays eight runs of `length` values, one behind the other at `source`, side by side: lane `g` of vector `i` is
    /// value `i` of run `g`.
    @inline(__always)
    static func transpose(_ source: UnsafePointer<Float>, length: Int, into target: UnsafeMutablePointer<Lanes>) {
        for i in 0..<length {
            let s = source + i
            target[i] = Lanes(
                s[0], s[length], s[2 &* length], s[3 &* length], s[4 &* length], s[5 &* length], s[6 &* length],
                s[7 &* length])
        }
    }

    /// The same of `runs` runs, fewer than eight; the lanes left over get zeros.
    static func transpose(
        _ source: UnsafePointer<Float>, length: Int, runs: Int, into target: UnsafeMutablePointer<Lanes>
    ) {
        guard runs < 8 else { return transpose(source, length: length, into: target) }
        for i in 0..<length {
            var lanes = Lanes.zero
            for run in 0..<runs { lanes[run] = source[run &* length &+ i] }
            target[i] = lanes
        }
    }

    /// Fills ``weights`` with `importance · √(sigma2 + value²)`, the weighting of all types that use an importance.
    ///
    /// ``weights`` holds the importance before and the weights after.
    @inline(__always)
    func weigh(count: Int, sigma2: Lanes) {
        for i in 0..<count {
            let x = values[i]
            weights[i] = weights[i] * (sigma2 + x * x).squareRoot()
        }
    }

    /// The sum of weights of each lane.
    @inline(__always)
    func weightSums(count: Int) -> Lanes {
        var sum = Lanes.zero
        for i in 0..<count { sum += weights[i] }
        return sum
    }
}

/// The sum of squares, one after the other.
@inline(__always)
func sumOfSquares(_ values: UnsafePointer<Float>, count: Int) -> Float {
    var sum: Float = 0
    for i in 0..<count { sum += values[i] * values[i] }
    return sum
}
