import Foundation
import Layers

/// How positions become angles: base, number of rotated elements, and what stretches the context.
public struct RotarySettings: Sendable {
    public enum Scaling: Sendable, Hashable {
        /// Angles divided by a factor; 1: none.
        case linear(factor: Double)
        /// YaRN (Peng et al. 2023, arXiv 2309.00071): high frequencies stay, low ones are divided by `factor`, with a
        /// ramp between the pairs that turn `fast` and `slow` times over the original context.
        case yarn(
            factor: Double, original: Int, fast: Double, slow: Double, extrapolation: Double, amplitude: Double)
        /// LongRoPE (Ding et al. 2024, arXiv 2402.13753): one divisor a pair out of the file, one set for sequences
        /// within the original context and one for longer ones.
        case longRope(original: Int, amplitude: Double)
    }

    public var dimension: Int
    public var base: Double
    public var scaling: Scaling
    /// Whether a tensor `rope_freqs.weight` (Llama 3) applies.
    public var usesFrequencyTensor = true

    public init(dimension: Int, base: Double, scaling: Scaling, usesFrequencyTensor: Bool = true) {
        self.dimension = dimension
        self.base = base
        self.scaling = scaling
        self.usesFrequencyTensor = usesFrequencyTensor
    }

    /// Reads `rope.*`.
    public init(_ parameters: Hyperparameters, headDimension: Int) throws {
        let dimension = try parameters.count("rope.dimension_count", default: headDimension, limit: 1 << 12)
        guard dimension % 2 == 0, dimension <= headDimension else {
            throw parameters.failure("rope.dimension_count \(dimension) must be even and at most \(headDimension)")
        }
        let base = Double(try parameters.positive("rope.freq_base", default: 10000))
        let factor = Double(
            try parameters.positive(
                "rope.scaling.factor",
                default: parameters.positive("rope.scale_linear", default: 1, zeroIsMissing: true),
                zeroIsMissing: true))
        func original() throws -> Int {
            try parameters.count(
                "rope.scaling.original_context_length",
                default: parameters.count("context_length", limit: 1 << 30), limit: 1 << 30)
        }
        func amplitude() throws -> Double { Double(try parameters.positive("rope.scaling.attn_factor", default: 1)) }
        let scaling: Scaling
        switch try parameters.text("rope.scaling.type") ?? "linear" {
        case "none": scaling = .linear(factor: 1)
        case "linear": scaling = .linear(factor: factor)
        case "yarn":
            let extrapolation = Double(try parameters.number("rope.scaling.yarn_ext_factor", default: 1))
            scaling = .yarn(
                factor: factor, original: try original(),
                fast: Double(try parameters.positive("rope.scaling.yarn_beta_fast", default: 32)),
                slow: Double(try parameters.positive("rope.scaling.yarn_beta_slow", default: 1)),
                extrapolation: extrapolation < 0 ? 1 : extrapolation,
                amplitude: try amplitude()
                    * Double(try parameters.positive("rope.scaling.yarn_attn_factor", default: 1)))
        case "longrope", "su": scaling = .longRope(original: try original(), amplitude: try amplitude())
        case let other:
            throw parameters.failure(
                "RoPE scaling “\(other)” is not supported; none, linear, yarn and longrope are")
        }
        self.init(dimension: dimension, base: base, scaling: scaling)
    }

    /// The angles of each pair a position, without divisors out of a file, and what turned elements are multiplied by.
    func frequencies() -> (values: [Double], amplitude: Double) {
        let pairs = 0..<dimension / 2
        let plain = pairs.map { pow(base, -2 * Double($0) / Double(dimension)) }
        switch scaling {
        case .linear(let factor):
            let scale = 1 / factor
            return (plain.map { $0 * scale }, 1)
        case .yarn(let factor, let original, let fast, let slow, let extrapolation, let amplitude):
            func pair(turning times: Double) -> Double {
                Double(dimension) * log(Double(original) / (2 * .pi * times)) / (2 * log(base))
            }
            let low = max(0, floor(pair(turning: fast)))
            let high = min(Double(dimension - 1), ceil(pair(turning: slow)))
            let values = pairs.map { index in
                let ramp = 1 - min(1, max(0, (Double(index) - low) / max(0.001, high - low)))
                let kept = ramp * extrapolation
                return plain[index] / factor * (1 - kept) + plain[index] * kept
            }
            return (values, amplitude * (factor > 1 ? 1 + 0.1 * log(factor) : 1))
        case .longRope(_, let amplitude): return (plain, amplitude)
        }
    }
}

/// The tables of one kind of layer. With LongRoPE there are two, for short and for long sequences.
struct LayerRotation: Sendable {
    let short: RotaryEmbedding
    let long: RotaryEmbedding?
    /// Positions from which `long` is used.
    let limit: Int

    /// - Parameter divisors: reads a tensor of one number a pair, nil when the file has none.
    init(
        _ settings: RotarySettings, pairing: RotaryEmbedding.Pairing,
        divisors: (_ name: String, _ count: Int) throws -> [Float]?
    ) throws {
        let (values, amplitude) = settings.frequencies()
        let pairs = settings.dimension / 2
        func table(_ divisors: [Float]?) -> RotaryEmbedding {
            let frequencies = divisors.map { zip(values, $0).map { $0 / Double($1) } } ?? values
            return RotaryEmbedding(frequencies: frequencies, amplitude: amplitude, pairing: pairing)
        }
        guard case .longRope(let original, _) = settings.scaling else {
            short = table(settings.usesFrequencyTensor ? try divisors(DecoderTensorNames.ropeFrequencies, pairs) : nil)
            long = nil
            limit = .max
            return
        }
        short = table(try divisors(DecoderTensorNames.ropeFactorsShort, pairs))
        long = table(try divisors(DecoderTensorNames.ropeFactorsLong, pairs))
        limit = original
    }

    /// The table for a sequence that now has `length` positions, prepared for them.
    ///
    /// As in transformers, keys that were cached while a sequence was short stay as they were rotated then.
    func table(length: Int) -> RotaryEmbedding {
        let chosen = length > limit ? long ?? short : short
        chosen.prepare(positions: length)
        return chosen
    }
}
