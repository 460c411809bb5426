import Foundation
import Kernels
import Synchronization

/// Rotary position embedding (Su et al. 2021, RoFormer, eq. 34): pair *i* of a head turns by `position · base^(-2i/d)`.
///
/// Cosines and sines are tabulated once per position and shared by all layers and heads. Angles are computed in `Double`,
/// because at position 8 000 a `Float` angle is already off by 5·10⁻⁴ radian.
public final class RotaryEmbedding: @unchecked Sendable {
    // Sendable: blocks of the tables are made in `prepare`, under a lock, and never move. Whoever reads a block has
    // called `prepare` for it before, and so sees it whole.

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
    /// Cosines, then sines, of `blockPositions` positions each.
    private let blocks: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>
    private let preparedBlocks = Mutex(0)
    private static let blockPositions = 512
    private static let blockLimit = 1 << 14
    /// Positions that can be rotated at all.
    public static let positionLimit = blockPositions * blockLimit

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
        blocks = .allocate(capacity: Self.blockLimit)
        blocks.initialize(repeating: nil, count: Self.blockLimit)
    }

    deinit {
        for index in 0..<Self.blockLimit { blocks[index]?.deallocate() }
        blocks.deallocate()
    }

    /// Makes the tables cover positions below `count`, which is at most `positionLimit`. From any thread.
    public func prepare(positions count: Int) {
        precondition(count <= Self.positionLimit, "RoPE tables for \(count) positions")
        let pairs = frequencies.count
        preparedBlocks.withLock { prepared in
            while prepared * Self.blockPositions < count {
                let block = UnsafeMutablePointer<Float>.allocate(capacity: max(1, 2 * Self.blockPositions * pairs))
                for index in 0..<Self.blockPositions {
                    for pair in 0..<pairs {
                        let angle = Double(prepared * Self.blockPositions + index) * frequencies[pair]
                        block[index * pairs + pair] = Float(cos(angle) * amplitude)
                        block[(Self.blockPositions + index) * pairs + pair] = Float(sin(angle) * amplitude)
                    }
                }
                blocks[prepared] = block
                prepared += 1
            }
        }
    }

    /// Turns `heads` consecutive heads of `headDimension` elements by the angles of `position`, in place.
    public func forward(_ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, position: Int) {
        rotate(row, heads: heads, headDimension: headDimension, position: position, inverse: false)
    }

    /// The gradient of `forward`: a rotation's transpose is the rotation back, by the same amplitude.
    public func backward(_ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, position: Int) {
        rotate(row, heads: heads, headDimension: headDimension, position: position, inverse: true)
    }

    /// What turns keys back by that many positions without changing their length: a key rotated for a position becomes
    /// the key of an earlier one.
    public func turnBack(by positions: Int) -> KeyTurn {
        KeyTurn(
            cosines: frequencies.map { cos(Double(positions) * $0) },
            sines: frequencies.map { -sin(Double(positions) * $0) }, isInterleaved: pairing == .interleaved)
    }

    private func rotate(
        _ row: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, position: Int, inverse: Bool
    ) {
        guard let block = blocks[position / Self.blockPositions] else {
            preconditionFailure("RoPE tables do not reach position \(position)")
        }
        let index = position % Self.blockPositions
        let cosine = UnsafePointer(block + index * frequencies.count)
        let sine = UnsafePointer(block + (Self.blockPositions + index) * frequencies.count)
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

/// One rotation of keys, the same for all of them.
public struct KeyTurn: Sendable {
    let cosines, sines: [Double]
    let isInterleaved: Bool

    /// Turns one head in place.
    public func apply(_ head: UnsafeMutablePointer<Float>) {
        let pairs = cosines.count
        for pair in 0..<pairs {
            let (first, second) = isInterleaved ? (2 * pair, 2 * pair + 1) : (pair, pair + pairs)
            let (a, b) = (Double(head[first]), Double(head[second]))
            head[first] = Float(a * cosines[pair] - b * sines[pair])
            head[second] = Float(a * sines[pair] + b * cosines[pair])
        }
    }
}
