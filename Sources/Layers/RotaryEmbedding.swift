import Foundation
import Kernels

/// Rotary position embedding (Su et al. 2021, RoFormer, eq. 34): pair *i* of a head turns by `position · base^(-2i/d)`.
///
/// Cosines and sines are tabulated once per position and shared by all layers and heads. Angles are computed in `Double`,
/// because at position 8 000 a `Float` angle is already off by 5·10⁻⁴ radian.
public final class RotaryEmbedding: @unchecked Sendable {
    // Sendable: tables only grow, in `prepare`, which callers invoke before any parallel section reads them.

    /// Which elements of a head form a pair.
    public enum Pairing: Sendable {
        /// Elements 2i and 2i+1: llama-family GGUF files.
        case interleaved
        /// Elements i and i + d/2: Hugging Face's "rotate half".
        case halves
    }

    /// Number of leading elements of a head that turn; the rest pass unchanged.
    public let dimension: Int
    public let pairing: Pairing
    private let frequencies: [Double]
    /// What turned elements are multiplied by besides; 1 for a plain rotation.
    public let amplitude: Double
    private var cosines = FloatBuffer(count: 0)
    private var sines = FloatBuffer(count: 0)
    private var preparedPositions = 0

    /// - Parameters:
    ///   - dimension: rotated elements of a head, even.
    ///   - base: the frequency base (`rope.freq_base`).
    ///   - scale: all angles are multiplied by this (1/factor of linear scaling).
    ///   - divisors: one per pair (`rope_freqs.weight` of Llama 3), or nil.
    public convenience init(dimension: Int, base: Double, scale: Double, divisors: [Float]?, pairing: Pairing) {
        self.init(
            frequencies: (0..<dimension / 2).map { pair in
                let plain = pow(base, -2 * Double(pair) / Double(dimension)) * scale
                return plain / Double(divisors?[pair] ?? 1)
            }, amplitude: 1, pairing: pairing)
    }

    /// - Parameters:
    ///   - frequencies: radians per position of each pair.
    ///   - amplitude: what rotated elements are multiplied by besides (YaRN and LongRoPE); 1 for a plain rotation.
    public init(frequencies: [Double], amplitude: Double, pairing: Pairing) {
        dimension = 2 * frequencies.count
        self.pairing = pairing
        self.frequencies = frequencies
        self.amplitude = amplitude
    }

    /// Makes the tables cover positions below `count`.
    public func prepare(positions count: Int) {
        guard count > preparedPositions else { return }
        let capacity = max(count, preparedPositions * 2, 256)
        let pairs = frequencies.count
        let newCosines = FloatBuffer(count: capacity * pairs)
        let newSines = FloatBuffer(count: capacity * pairs)
        for position in 0..<capacity {
            for pair in 0..<pairs {
                let angle = Double(position) * frequencies[pair]
                newCosines.pointer[position * pairs + pair] = Float(cos(angle) * amplitude)
                newSines.pointer[position * pairs + pair] = Float(sin(angle) * amplitude)
            }
        }
        cosines = newCosines
        sines = newSines
        preparedPositions = capacity
    }

    /// Turns `heads` consecutive heads of `headDimension` elements by the angles of `position`, in place.
    public func forward(_ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, position: Int) {
        rotate(row, heads: heads, headDimension: headDimension, position: position, inverse: false)
    }

    /// The gradient of `forward`: a rotation's transpose is the rotation back, by the same amplitude.
    public func backward(_ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, position: Int) {
        rotate(row, heads: heads, headDimension: headDimension, position: position, inverse: true)
    }

    private func rotate(
        _ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, position: Int, inverse: Bool
    ) {
        precondition(position < preparedPositions, "RoPE tables do not reach position \(position)")
        let offset = position * frequencies.count
        let cosine = UnsafePointer(cosines.pointer + offset)
        let sine = UnsafePointer(sines.pointer + offset)
        switch pairing {
        case .interleaved:
            VectorMath.ropeInterleaved(
                row, heads: heads, headDimension: headDimension, ropeDimension: dimension, cos: cosine, sin: sine,
                inverse: inverse)
        case .halves:
            VectorMath.ropeHalf(
                row, heads: heads, headDimension: headDimension, ropeDimension: dimension, cos: cosine, sin: sine,
                inverse: inverse)
        }
    }
}
