import Foundation
import Kernels
import LanguageModels
import SoftPrompts

/// P-tuning as first published (Liu et al. 2021, arXiv 2103.10385): embeddings through a bidirectional LSTM, so that each
/// virtual token depends on its neighbours. In residual form: the LSTM's linear output layer begins at zero.
///
/// Parameters: embeddings `(token, d)`; for each direction input weights `(4h, d)`, recurrent weights `(4h, h)` and
/// biases `(4h)`, gates in the order input, forget, cell, output; then the output layer `(d, 2h)`.
public enum PTuningLSTM: TuningMethod {
    public static let name = "p-tuning-lstm"
    public static let summary = "P-tuning with a bidirectional LSTM in place of the MLP; slower a step, order matters"
    public static let placement = SoftPrompt.Placement.inputEmbeddings
    public static let defaultLearningRate = 1e-3
    public static let isReparameterised = true

    private struct Layout {
        let d, h, tokens: Int
        init(_ shape: DecoderShape, tokens: Int) {
            d = shape.hiddenSize
            h = min(128, max(4, shape.hiddenSize / 4))
            self.tokens = tokens
        }
        var embeddings: Int { tokens * d }
        var direction: Int { 4 * h * (d + h + 1) }
        var output: Int { embeddings + 2 * direction }
        var count: Int { output + d * 2 * h }
        func start(_ direction: Int) -> Int { embeddings + direction * self.direction }
    }

    /// One direction's states, in the order in which it reads.
    private struct Trace {
        var gates: [Float]  // (step, 4h), after their functions
        var cells: [Float]  // (step, h)
        var outputs: [Float]  // (step, h)
    }

    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int { Layout(shape, tokens: tokens).count }

    public static func parameters(
        fromVirtualTokens values: [Float], tokens: Int, shape: DecoderShape, seed: UInt64
    ) -> [Float] {
        let layout = Layout(shape, tokens: tokens)
        var random = SplitMix64(seed: seed, stream: 0x1517)
        let scale = 1 / Double(layout.h).squareRoot()
        let recurrent = (0..<2 * layout.direction).map { _ in Float((random.nextUniform() * 2 - 1) * scale) }
        return values + recurrent + [Float](repeating: 0, count: layout.d * 2 * layout.h)
    }

    public static func fold(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        let layout = Layout(shape, tokens: tokens)
        let traces = (0..<2).map { run($0, parameters, layout) }
        var result = Array(parameters[..<layout.embeddings])
        for token in 0..<tokens {
            let joined = joined(traces, token, layout)
            for column in 0..<layout.d {
                let row = layout.output + column * 2 * layout.h
                for unit in 0..<2 * layout.h {
                    result[token * layout.d + column] += parameters[row + unit] * joined[unit]
                }
            }
        }
        return result
    }

    public static func unfold(_ gradient: [Float], parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        let layout = Layout(shape, tokens: tokens)
        let d = layout.d, h = layout.h
        let traces = (0..<2).map { run($0, parameters, layout) }
        var result = [Float](repeating: 0, count: layout.count)
        for index in 0..<layout.embeddings { result[index] = gradient[index] }
        var dJoined = [Float](repeating: 0, count: tokens * 2 * h)
        for token in 0..<tokens {
            let joined = joined(traces, token, layout)
            for column in 0..<d {
                let slope = gradient[token * d + column], row = layout.output + column * 2 * h
                for unit in 0..<2 * h {
                    result[row + unit] += slope * joined[unit]
                    dJoined[token * 2 * h + unit] += slope * parameters[row + unit]
                }
            }
        }
        for direction in 0..<2 { backward(direction, parameters, layout, traces[direction], dJoined, &result) }
        return result
    }

    private static func joined(_ traces: [Trace], _ token: Int, _ layout: Layout) -> [Float] {
        let h = layout.h, last = layout.tokens - 1
        return Array(traces[0].outputs[token * h..<(token + 1) * h])
            + Array(traces[1].outputs[(last - token) * h..<(last - token + 1) * h])
    }

    private static func run(_ direction: Int, _ parameters: [Float], _ layout: Layout) -> Trace {
        let d = layout.d, h = layout.h, start = layout.start(direction)
        var trace = Trace(
            gates: [Float](repeating: 0, count: layout.tokens * 4 * h),
            cells: [Float](repeating: 0, count: layout.tokens * h),
            outputs: [Float](repeating: 0, count: layout.tokens * h))
        parameters.withUnsafeBufferPointer { parameters in
            guard let base = parameters.baseAddress else { return }
            let input = base + start, recurrent = input + 4 * h * d, bias = recurrent + 4 * h * h
            for step in 0..<layout.tokens {
                let token = direction == 0 ? step : layout.tokens - 1 - step
                for unit in 0..<4 * h {
                    var value = bias[unit] + VectorMath.dot(input + unit * d, base + token * d, count: d)
                    if step > 0 {
                        trace.outputs.withUnsafeBufferPointer {
                            value += VectorMath.dot(recurrent + unit * h, $0.baseAddress! + (step - 1) * h, count: h)
                        }
                    }
                    trace.gates[step * 4 * h + unit] = unit / h == 2 ? tanh(value) : 1 / (1 + exp(-value))
                }
                for unit in 0..<h {
                    let gate = step * 4 * h + unit
                    let before = step > 0 ? trace.cells[(step - 1) * h + unit] : 0
                    let cell = trace.gates[gate + h] * before + trace.gates[gate] * trace.gates[gate + 2 * h]
                    trace.cells[step * h + unit] = cell
                    trace.outputs[step * h + unit] = trace.gates[gate + 3 * h] * tanh(cell)
                }
            }
        }
        return trace
    }

    /// Back-propagation through time, adding to the gradients of embeddings and weights.
    private static func backward(
        _ direction: Int, _ parameters: [Float], _ layout: Layout, _ trace: Trace, _ dJoined: [Float],
        _ result: inout [Float]
    ) {
        let d = layout.d, h = layout.h, start = layout.start(direction)
        let recurrentStart = start + 4 * h * d, biasStart = recurrentStart + 4 * h * h
        var dCell = [Float](repeating: 0, count: h)
        var dNext = [Float](repeating: 0, count: h)
        var dGates = [Float](repeating: 0, count: 4 * h)
        parameters.withUnsafeBufferPointer { parameters in
            result.withUnsafeMutableBufferPointer { result in
                guard let base = parameters.baseAddress, let out = result.baseAddress else { return }
                for step in stride(from: layout.tokens - 1, through: 0, by: -1) {
                    let token = direction == 0 ? step : layout.tokens - 1 - step
                    for unit in 0..<h {
                        let gate = step * 4 * h + unit
                        let i = trace.gates[gate], f = trace.gates[gate + h]
                        let g = trace.gates[gate + 2 * h], o = trace.gates[gate + 3 * h]
                        let bent = tanh(trace.cells[step * h + unit])
                        let dOutput = dJoined[token * 2 * h + direction * h + unit] + dNext[unit]
                        let before = step > 0 ? trace.cells[(step - 1) * h + unit] : 0
                        let dC = dCell[unit] + dOutput * o * (1 - bent * bent)
                        dGates[unit] = dC * g * i * (1 - i)
                        dGates[h + unit] = dC * before * f * (1 - f)
                        dGates[2 * h + unit] = dC * i * (1 - g * g)
                        dGates[3 * h + unit] = dOutput * bent * o * (1 - o)
                        dCell[unit] = dC * f
                        dNext[unit] = 0
                    }
                    for unit in 0..<4 * h {
                        let slope = dGates[unit]
                        out[biasStart + unit] += slope
                        VectorMath.axpy(slope, base + token * d, into: out + start + unit * d, count: d)
                        VectorMath.axpy(slope, base + start + unit * d, into: out + token * d, count: d)
                        guard step > 0 else { continue }
                        trace.outputs.withUnsafeBufferPointer {
                            VectorMath.axpy(
                                slope, $0.baseAddress! + (step - 1) * h, into: out + recurrentStart + unit * h, count: h
                            )
                        }
                        dNext.withUnsafeMutableBufferPointer {
                            VectorMath.axpy(slope, base + recurrentStart + unit * h, into: $0.baseAddress!, count: h)
                        }
                    }
                }
            }
        }
    }
}
