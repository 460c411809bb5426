import LanguageModels
import SoftPrompts
import Tokenization

/// Prompt tuning (Lester, Al-Rfou and Constant 2021, arXiv 2104.08691): trained rows in front of the input embeddings.
///
/// Parameters: `(token, hiddenSize)`. The smallest artifact, portable across quantizations of one base; needs the most
/// steps and reaches the least on small models.
public enum PromptTuningMethod: TuningMethod {
    public static let name = "prompt-tuning"
    public static let summary =
        "trains embeddings at the input; smallest artifact (4·hidden bytes a token), slowest to learn"
    public static let placement = SoftPrompt.Placement.inputEmbeddings
    public static let defaultLearningRate = 5e-3

    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int { tokens * shape.hiddenSize }

    public static func initialParameters(
        _ initialization: PromptInitialization, tokens: Int, model: any LanguageModel, tokenizer: any Tokenizer
    ) throws -> [Float] {
        let width = model.shape.hiddenSize
        var result = [Float](repeating: 0, count: tokens * width)
        let ids = try initialization.tokenIDs(
            count: tokens, tokenizer: tokenizer, vocabularySize: model.shape.vocabularySize)
        guard let ids else { return result }
        result.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            for (row, id) in ids.enumerated() { model.embedding(of: id, into: base + row * width) }
        }
        return result
    }

    public static func view(_ parameters: UnsafePointer<Float>, tokens: Int) -> PromptView {
        .embeddings(parameters, count: tokens)
    }

    public static func freezeFirstToken(in gradient: UnsafeMutablePointer<Float>, tokens: Int, shape: DecoderShape) {
        gradient.update(repeating: 0, count: min(tokens, 1) * shape.hiddenSize)
    }

    public static func storedValues(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] { parameters }

    public static func parameters(fromStored values: [Float], tokens: Int, shape: DecoderShape) -> [Float] { values }
}
