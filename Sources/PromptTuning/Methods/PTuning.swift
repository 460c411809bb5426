import LanguageModels
import SoftPrompts

/// P-tuning (Liu et al. 2021, arXiv 2103.10385) with an MLP, in its residual form: embeddings plus what a shared network
/// makes of each. The network ties the virtual tokens together, so that fewer of them learn faster; it is folded into
/// plain embeddings when the prompt is stored.
public enum PTuning: TuningMethod {
    public static let name = "p-tuning"
    public static let summary =
        "embeddings through a shared residual MLP, folded when stored: prompt tuning that learns in fewer steps"
    public static let placement = SoftPrompt.Placement.inputEmbeddings
    public static let defaultLearningRate = 1e-3
    public static let isReparameterised = true

    private static func encoder(_ shape: DecoderShape) -> ResidualEncoder {
        ResidualEncoder(inputs: shape.hiddenSize, hidden: max(8, shape.hiddenSize / 2), outputs: shape.hiddenSize)
    }

    /// The embeddings `(token, hiddenSize)`, then the network.
    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int {
        tokens * shape.hiddenSize + encoder(shape).parameterCount
    }

    public static func parameters(
        fromVirtualTokens values: [Float], tokens: Int, shape: DecoderShape, seed: UInt64
    ) -> [Float] { values + encoder(shape).initialParameters(seed: seed) }

    public static func fold(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        let count = tokens * shape.hiddenSize
        return parameters.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return [] }
            let added = encoder(shape).forward(base, rows: tokens, base + count).output
            return (0..<count).map { base[$0] + added[$0] }
        }
    }

    public static func unfold(_ gradient: [Float], parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        let count = tokens * shape.hiddenSize
        let encoder = encoder(shape)
        var result = gradient + [Float](repeating: 0, count: encoder.parameterCount)
        parameters.withUnsafeBufferPointer { parameters in
            gradient.withUnsafeBufferPointer { dY in
                result.withUnsafeMutableBufferPointer { result in
                    guard let base = parameters.baseAddress, let out = result.baseAddress, let dY = dY.baseAddress
                    else { return }
                    let hidden = encoder.forward(base, rows: tokens, base + count).hidden
                    encoder.backward(
                        base, rows: tokens, base + count, hiddenValues: hidden, dY: dY, gradient: out + count, dX: out)
                }
            }
        }
        return result
    }
}
