import Foundation
import Kernels

/// A small network whose output is added to what goes in: y = W₂·tanh(W₁·x + b₁) + b₂.
///
/// W₂ and b₂ begin at zero, so that a reparameterised prompt begins as the prompt itself (residual prompt tuning,
/// Razdaibiedina et al. 2023, arXiv 2305.03937). Parameters in order: W₁ `(hidden, inputs)`, b₁ `(hidden)`,
/// W₂ `(outputs, hidden)`, b₂ `(outputs)`.
struct ResidualEncoder {
    let inputs, hidden, outputs: Int

    var parameterCount: Int { hidden * inputs + hidden + outputs * hidden + outputs }

    private var firstBias: Int { hidden * inputs }
    private var second: Int { firstBias + hidden }
    private var secondBias: Int { second + outputs * hidden }

    func initialParameters(seed: UInt64) -> [Float] {
        var random = SplitMix64(seed: seed, stream: 0x7e51)
        let scale = 1 / Double(inputs).squareRoot()
        var result = [Float](repeating: 0, count: parameterCount)
        for index in 0..<hidden * inputs { result[index] = Float((random.nextUniform() * 2 - 1) * scale) }
        return result
    }

    /// - Parameter x: `(rows, inputs)`.
    /// - Returns: hidden activations `(rows, hidden)` and outputs `(rows, outputs)`.
    func forward(_ x: UnsafePointer<Float>, rows: Int, _ parameters: UnsafePointer<Float>) -> (
        hidden: [Float], output: [Float]
    ) {
        var h = [Float](repeating: 0, count: rows * hidden)
        var y = [Float](repeating: 0, count: rows * outputs)
        h.withUnsafeMutableBufferPointer { buffer in
            guard let h = buffer.baseAddress else { return }
            FloatProduct.sgemm(false, true, rows, hidden, inputs, 1, x, inputs, parameters, inputs, 0, h, hidden)
            for row in 0..<rows {
                for unit in 0..<hidden {
                    h[row * hidden + unit] = tanh(h[row * hidden + unit] + parameters[firstBias + unit])
                }
            }
            y.withUnsafeMutableBufferPointer { out in
                guard let y = out.baseAddress else { return }
                FloatProduct.sgemm(
                    false, true, rows, outputs, hidden, 1, h, hidden, parameters + second, hidden, 0, y, outputs)
                for row in 0..<rows {
                    VectorMath.add(parameters + secondBias, into: y + row * outputs, count: outputs)
                }
            }
        }
        return (h, y)
    }

    /// Adds gradients of the parameters to `gradient` and of `x` to `dX`.
    func backward(
        _ x: UnsafePointer<Float>, rows: Int, _ parameters: UnsafePointer<Float>, hiddenValues h: [Float],
        dY: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>, dX: UnsafeMutablePointer<Float>
    ) {
        var dH = [Float](repeating: 0, count: rows * hidden)
        h.withUnsafeBufferPointer { h in
            dH.withUnsafeMutableBufferPointer { dH in
                guard let h = h.baseAddress, let dH = dH.baseAddress else { return }
                FloatProduct.sgemm(
                    true, false, outputs, hidden, rows, 1, dY, outputs, h, hidden, 1, gradient + second, hidden)
                for row in 0..<rows {
                    VectorMath.add(dY + row * outputs, into: gradient + secondBias, count: outputs)
                }
                FloatProduct.sgemm(
                    false, false, rows, hidden, outputs, 1, dY, outputs, parameters + second, hidden, 0, dH, hidden)
                for index in 0..<rows * hidden { dH[index] *= 1 - h[index] * h[index] }
                FloatProduct.sgemm(true, false, hidden, inputs, rows, 1, dH, hidden, x, inputs, 1, gradient, inputs)
                for row in 0..<rows { VectorMath.add(dH + row * hidden, into: gradient + firstBias, count: hidden) }
                FloatProduct.sgemm(false, false, rows, inputs, hidden, 1, dH, hidden, parameters, inputs, 1, dX, inputs)
            }
        }
    }
}
