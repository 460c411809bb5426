import Foundation

/// How the learning rate moves over training: a straight warm-up to the peak, then a decay.
public struct LearningRateSchedule: Sendable {
    /// How the rate falls after the warm-up: a value between 1 (at progress 0) and 0 (at progress 1).
    public struct Decay: Sendable {
        public let name: String
        let factor: @Sendable (_ progress: Double) -> Double

        public static let constant = Decay(name: "constant") { _ in 1 }
        public static let linear = Decay(name: "linear") { 1 - $0 }
        /// Half a cosine wave.
        public static let cosine = Decay(name: "cosine") { 0.5 * (1 + cos(.pi * $0)) }
        public static let all = [constant, linear, cosine]

        public init?(name: String) {
            guard let found = Self.all.first(where: { $0.name == name }) else { return nil }
            self = found
        }

        init(name: String, factor: @escaping @Sendable (Double) -> Double) {
            self.name = name
            self.factor = factor
        }
    }

    public let decay: Decay
    public let peak: Double
    public let warmUpSteps: Int
    public let totalSteps: Int
    /// The rate never falls below this fraction of the peak after the warm-up.
    public let floorFraction: Double

    /// - Throws: `TuningError.Code.invalidSetting` if the peak or floor is out of range or the warm-up too long.
    public init(
        decay: Decay = .cosine, peak: Double, warmUpSteps: Int, totalSteps: Int, floorFraction: Double = 0
    ) throws {
        guard peak.isFinite, peak >= 0 else {
            throw TuningError(code: .invalidSetting, message: "the learning rate is \(peak), but must be at least 0")
        }
        guard totalSteps >= 1, warmUpSteps >= 0, warmUpSteps <= totalSteps else {
            throw TuningError(
                code: .invalidSetting,
                message: "\(warmUpSteps) warm-up steps do not fit into \(totalSteps) steps of training")
        }
        guard (0...1).contains(floorFraction) else {
            throw TuningError(
                code: .invalidSetting, message: "the learning rate's floor is \(floorFraction), but must be in 0...1")
        }
        self.decay = decay
        self.peak = peak
        self.warmUpSteps = warmUpSteps
        self.totalSteps = totalSteps
        self.floorFraction = floorFraction
    }

    /// The rate of a step, counted from 0. The last warm-up step runs at the peak; steps past the end run at the floor's end.
    public func rate(at step: Int) -> Double {
        if step < warmUpSteps { return peak * Double(max(step, 0) + 1) / Double(warmUpSteps) }
        let length = totalSteps - warmUpSteps
        let progress = length > 0 ? min(Double(step - warmUpSteps) / Double(length), 1) : 1
        return peak * (floorFraction + (1 - floorFraction) * decay.factor(progress))
    }
}
