/// What an optimizer must remember to go on exactly where it stopped.
public struct OptimizerState: Sendable, Equatable {
    /// The optimizer's name.
    public var optimizer: String
    /// Steps taken.
    public var step: Int
    /// One array for each moment, each as long as the parameters.
    public var moments: [[Float]]

    public init(optimizer: String, step: Int, moments: [[Float]]) {
        self.optimizer = optimizer
        self.step = step
        self.moments = moments
    }
}

/// Changes parameters so that the loss falls.
public protocol Optimizer: Sendable {
    /// The name in checkpoints.
    static var name: String { get }
    /// The number of parameters it was made for.
    var parameterCount: Int { get }
    /// All that must be saved. Setting it up again with `restore(_:)` continues bit for bit.
    var state: OptimizerState { get }
    /// - Throws: `TuningError.Code.incompatibleState` if it was saved by another optimizer or for another count.
    mutating func restore(_ state: OptimizerState) throws
    /// One step. Both buffers hold `parameterCount` numbers and do not overlap.
    mutating func step(
        parameters: UnsafeMutableBufferPointer<Float>, gradients: UnsafeBufferPointer<Float>, learningRate: Double)
}

extension Optimizer {
    /// One step on arrays.
    public mutating func step(parameters: inout [Float], gradients: [Float], learningRate: Double) {
        parameters.withUnsafeMutableBufferPointer { parameters in
            gradients.withUnsafeBufferPointer {
                step(parameters: parameters, gradients: $0, learningRate: learningRate)
            }
        }
    }

    func check(_ state: OptimizerState, momentCount: Int) throws {
        guard state.optimizer == Self.name else {
            throw TuningError(
                code: .incompatibleState,
                message: "the saved state belongs to the optimizer '\(state.optimizer)', not '\(Self.name)'")
        }
        guard state.step >= 0, state.moments.count == momentCount,
            state.moments.allSatisfy({ $0.count == parameterCount })
        else {
            throw TuningError(
                code: .incompatibleState,
                message: "the saved state has \(state.moments.map(\.count)) moments at step \(state.step); "
                    + "\(momentCount) of \(parameterCount) numbers each are needed")
        }
    }
}

/// Limits on gradients.
public enum GradientClipping {
    /// The Euclidean norm of all gradients, summed in double precision.
    public static func norm(_ gradients: UnsafeBufferPointer<Float>) -> Double {
        var sum = 0.0
        for value in gradients { sum += Double(value) * Double(value) }
        return sum.squareRoot()
    }

    /// Scales the gradients down so that their norm is at most `maximum`, as PyTorch's `clip_grad_norm_` does.
    ///
    /// A norm that is infinite or not a number leaves them as they are: look at the result before stepping.
    /// - Returns: the norm before.
    public static func clip(_ gradients: UnsafeMutableBufferPointer<Float>, toNorm maximum: Double) -> Double {
        let norm = norm(UnsafeBufferPointer(gradients))
        let scale = maximum / (norm + 1e-6)
        guard norm.isFinite, scale < 1 else { return norm }
        let factor = Float(scale)
        for index in gradients.indices { gradients[index] *= factor }
        return norm
    }
}
