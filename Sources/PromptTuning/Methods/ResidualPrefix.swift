import LanguageModels
import SoftPrompts

/// Prefix tuning through a network (Li and Liang 2021, section 4.3), in residual form: keys and values of the initial text
/// plus what a shared network makes of a trained vector for each virtual token. Folded into plain keys and values when
/// the prompt is stored.
public enum ResidualPrefix: TuningMethod {
    public static let name = "residual-prefix"
    public static let summary =
        "prefix tuning plus a shared network, folded when stored: steadier where a plain prefix jumps about"
    public static let placement = SoftPrompt.Placement.keysAndValues
    public static let defaultLearningRate = 3e-3
    public static let isReparameterised = true

    private static func encoder(_ shape: DecoderShape) -> ResidualEncoder {
        let width = min(128, max(8, shape.hiddenSize / 2))
        return ResidualEncoder(inputs: width, hidden: width, outputs: shape.keyValueElementsPerToken)
    }

    /// Keys and values as a cache holds them, a vector for each token `(token, inputs)`, then the network.
    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int {
        let encoder = encoder(shape)
        return tokens * (shape.keyValueElementsPerToken + encoder.inputs) + encoder.parameterCount
    }

    public static func parameters(
        fromVirtualTokens values: [Float], tokens: Int, shape: DecoderShape, seed: UInt64
    ) -> [Float] {
        let encoder = encoder(shape)
        var random = SplitMix64(seed: seed, stream: 0x7e52)
        let vectors = (0..<tokens * encoder.inputs).map { _ in Float(random.nextUniform() * 2 - 1) }
        return values + vectors + encoder.initialParameters(seed: seed)
    }

    public static func fold(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        let count = tokens * shape.keyValueElementsPerToken
        let encoder = encoder(shape)
        var result = Array(parameters[..<count])
        let added = parameters.withUnsafeBufferPointer { buffer -> [Float] in
            guard let base = buffer.baseAddress else { return [] }
            return encoder.forward(base + count, rows: tokens, base + count + tokens * encoder.inputs).output
        }
        forEachElement(tokens: tokens, shape: shape) { cached, row in result[cached] += added[row] }
        return result
    }

    public static func unfold(_ gradient: [Float], parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        let count = tokens * shape.keyValueElementsPerToken
        let encoder = encoder(shape)
        var rows = [Float](repeating: 0, count: count)
        forEachElement(tokens: tokens, shape: shape) { cached, row in rows[row] = gradient[cached] }
        var result =
            gradient + [Float](repeating: 0, count: tokens * encoder.inputs + encoder.parameterCount)
        parameters.withUnsafeBufferPointer { parameters in
            result.withUnsafeMutableBufferPointer { result in
                guard let base = parameters.baseAddress, let out = result.baseAddress else { return }
                let vectors = base + count, network = vectors + tokens * encoder.inputs
                let hidden = encoder.forward(vectors, rows: tokens, network).hidden
                encoder.backward(
                    vectors, rows: tokens, network, hiddenValues: hidden, dY: rows,
                    gradient: out + count + tokens * encoder.inputs, dX: out + count)
            }
        }
        return result
    }

    /// Pairs each place of the cache layout `(plane, token, headDimension)` with that of rows `(token, plane, headDimension)`.
    private static func forEachElement(tokens: Int, shape: DecoderShape, _ body: (_ cached: Int, _ row: Int) -> Void) {
        let d = shape.headDimension, width = shape.keyValueElementsPerToken
        for plane in 0..<width / d {
            for token in 0..<tokens {
                for dimension in 0..<d {
                    body((plane * tokens + token) * d + dimension, token * width + plane * d + dimension)
                }
            }
        }
    }
}
