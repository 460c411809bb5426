/// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), in PyTorch's arithmetic.
///
/// With `g` the gradient and `t` the step from 1:
/// `p ← p(1 − lr·decay)`, `m ← m + (1−β₁)(g − m)`, `v ← β₂v + (1−β₂)g²`,
/// `p ← p − lr/(1−β₁ᵗ) · m / (√v / √(1−β₂ᵗ) + ε)`. Moments are single precision, factors are computed in double.
public struct AdamW: Optimizer {
    public static let name = "adamw"
    public let parameterCount: Int
    public let beta1: Double
    public let beta2: Double
    public let epsilon: Double
    public let weightDecay: Double
    private var stepCount = 0
    private var first: [Float]
    private var second: [Float]

    /// - Throws: `TuningError.Code.invalidSetting` for betas outside `0..<1` or negative numbers.
    public init(
        parameterCount: Int, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0
    ) throws {
        guard (0..<1).contains(beta1), (0..<1).contains(beta2) else {
            throw TuningError(
                code: .invalidSetting, message: "AdamW's betas are \(beta1) and \(beta2), but must be in 0..<1")
        }
        guard epsilon >= 0, epsilon.isFinite, weightDecay >= 0, weightDecay.isFinite else {
            throw TuningError(
                code: .invalidSetting,
                message: "AdamW's epsilon (\(epsilon)) and weight decay (\(weightDecay)) must be at least 0")
        }
        self.parameterCount = parameterCount
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        first = [Float](repeating: 0, count: parameterCount)
        second = [Float](repeating: 0, count: parameterCount)
    }

    public var state: OptimizerState {
        OptimizerState(optimizer: Self.name, step: stepCount, moments: [first, second])
    }

    public mutating func restore(_ state: OptimizerState) throws {
        try check(state, momentCount: 2)
        stepCount = state.step
        first = state.moments[0]
        second = state.moments[1]
    }

    public mutating func step(
        parameters: UnsafeMutableBufferPointer<Float>, gradients: UnsafeBufferPointer<Float>, learningRate: Double
    ) {
        precondition(
            parameters.count == parameterCount && gradients.count == parameterCount,
            "AdamW was made for \(parameterCount) parameters")
        stepCount += 1
        let decay = Float(1 - learningRate * weightDecay)
        let stepSize = Float(learningRate / (1 - power(beta1, stepCount)))
        let correction = Float((1 - power(beta2, stepCount)).squareRoot())
        let oneMinusBeta1 = Float(1 - beta1)
        let beta2 = Float(beta2)
        let oneMinusBeta2 = Float(1 - self.beta2)
        let epsilon = Float(epsilon)
        first.withUnsafeMutableBufferPointer { first in
            second.withUnsafeMutableBufferPointer { second in
                for index in 0..<parameters.count {
                    let gradient = gradients[index]
                    let m = first[index] + oneMinusBeta1 * (gradient - first[index])
                    let v = second[index] * beta2 + oneMinusBeta2 * (gradient * gradient)
                    first[index] = m
                    second[index] = v
                    let denominator = v.squareRoot() / correction + epsilon
                    parameters[index] = parameters[index] * decay - stepSize * (m / denominator)
                }
            }
        }
    }

    /// `base` to the power of `exponent`, by squaring: the same on every machine.
    private func power(_ base: Double, _ exponent: Int) -> Double {
        var result = 1.0
        var factor = base
        var left = exponent
        while left > 0 {
            if left & 1 == 1 { result *= factor }
            factor *= factor
            left >>= 1
        }
        return result
    }
}

/// Plain gradient descent, with momentum if asked, in PyTorch's arithmetic: `g ← g + decay·p`, `b ← μb + g` (at first
/// `b = g`), `p ← p − lr·b`.
public struct StochasticGradientDescent: Optimizer {
    public static let name = "sgd"
    public let parameterCount: Int
    public let momentum: Double
    public let weightDecay: Double
    private var stepCount = 0
    private var buffer: [Float]

    /// - Throws: `TuningError.Code.invalidSetting` for negative settings.
    public init(parameterCount: Int, momentum: Double = 0, weightDecay: Double = 0) throws {
        guard momentum >= 0, momentum.isFinite, weightDecay >= 0, weightDecay.isFinite else {
            throw TuningError(
                code: .invalidSetting,
                message: "the momentum (\(momentum)) and weight decay (\(weightDecay)) must be at least 0")
        }
        self.parameterCount = parameterCount
        self.momentum = momentum
        self.weightDecay = weightDecay
        buffer = [Float](repeating: 0, count: momentum > 0 ? parameterCount : 0)
    }

    public var state: OptimizerState {
        OptimizerState(optimizer: Self.name, step: stepCount, moments: momentum > 0 ? [buffer] : [])
    }

    public mutating func restore(_ state: OptimizerState) throws {
        try check(state, momentCount: momentum > 0 ? 1 : 0)
        stepCount = state.step
        if momentum > 0 { buffer = state.moments[0] }
    }

    public mutating func step(
        parameters: UnsafeMutableBufferPointer<Float>, gradients: UnsafeBufferPointer<Float>, learningRate: Double
    ) {
        precondition(
            parameters.count == parameterCount && gradients.count == parameterCount,
            "the optimizer was made for \(parameterCount) parameters")
        stepCount += 1
        let rate = Float(learningRate)
        let decay = Float(weightDecay)
        let momentum = Float(momentum)
        for index in 0..<parameters.count {
            var gradient = gradients[index]
            if decay != 0 { gradient += decay * parameters[index] }
            if momentum > 0 {
                gradient = stepCount == 1 ? gradient : momentum * buffer[index] + gradient
                buffer[index] = gradient
            }
            parameters[index] -= rate * gradient
        }
    }
}

/// Every optimizer there is. A new one is a line here.
public enum OptimizerCatalog {
    private static let makers:
        [(name: String, make: @Sendable (_ parameterCount: Int, _ weightDecay: Double) throws -> any Optimizer)] = [
            (AdamW.name, { try AdamW(parameterCount: $0, weightDecay: $1) }),
            (
                StochasticGradientDescent.name,
                { try StochasticGradientDescent(parameterCount: $0, weightDecay: $1) }
            ),
        ]

    public static var names: [String] { makers.map(\.name) }

    /// - Throws: `TuningError.Code.invalidSetting`, listing those there are.
    public static func make(_ name: String, parameterCount: Int, weightDecay: Double) throws -> any Optimizer {
        guard let maker = makers.first(where: { $0.name == name }) else {
            throw TuningError(
                code: .invalidSetting,
                message: "there is no optimizer “\(name)”; those there are: \(names.joined(separator: ", "))")
        }
        return try maker.make(parameterCount, weightDecay)
    }
}
