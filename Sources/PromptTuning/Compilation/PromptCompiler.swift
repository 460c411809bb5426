import LanguageModels
import Tokenization

/// Makes a text into a few virtual tokens in seconds, without gradients: prefills it and shortens its keys and values.
public struct PromptCompiler {
    private let model: any LanguageModel
    private let tokenizer: any Tokenizer
    private let graph: any DifferentiableModel
    public var matching = AttentionMatching()
    /// At most this many tokens of samples; more cost time and change little.
    public var sampleTokens = 640

    public init(model: any LanguageModel, tokenizer: any Tokenizer, graph: any DifferentiableModel) {
        self.model = model
        self.tokenizer = tokenizer
        self.graph = graph
    }

    /// The text's tokens as a prefix holds them, with the token that begins sequences where the model wants one.
    public func tokens(of text: String) -> [Int] {
        tokenizer.encode(text, parseSpecial: true, addSpecial: true)
    }

    /// - Parameters:
    ///   - text: tokens as from `tokens(of:)`.
    ///   - count: virtual tokens.
    ///   - samples: token sequences as they will follow; none takes pieces of the text itself.
    /// - Returns: `(layer, key|value, head, token, headDimension)`.
    /// - Throws: `TuningError.invalidSetting` when the text is shorter than `count` or too long for the model.
    public func compile(text: [Int], to count: Int, samples: [[Int]]) throws -> [Float] {
        guard text.count < model.shape.contextLength else {
            throw TuningError(
                code: .invalidSetting,
                message: "the text has \(text.count) tokens; the model has room for \(model.shape.contextLength)")
        }
        let cache = model.makeCache(element: .f32, capacity: text.count)
        _ = try model.forward(.tokens(text), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
        let prefix = cache.prefix(tokens: text.count)
        return try matching.shorten(
            prefix, tokens: text.count, to: count, samples: examples(samples, text: text), model: model, graph: graph)
    }

    private func examples(_ samples: [[Int]], text: [Int]) -> [TrainingBatch.Example] {
        let lead = tokenizer.addsBeginning ? tokenizer.special.beginningOfSequence.map { [$0] } ?? [] : []
        let room = model.shape.contextLength - text.count
        var sequences = samples.filter { $0.count > 1 }
        if sequences.isEmpty {
            // The text read a second time asks much of what may be asked of it.
            sequences = stride(from: 0, to: text.count, by: 64).map { Array(text[$0..<min($0 + 64, text.count)]) }
                .filter { $0.count > 1 }
        }
        var left = sampleTokens
        var result: [TrainingBatch.Example] = []
        for sequence in sequences where left > 1 {
            let tokens = Array((lead + sequence).prefix(min(left, room)))
            guard tokens.count > 1 else { continue }
            left -= tokens.count
            // A target everywhere: the last layer computes queries only where there is one.
            result.append(TrainingBatch.Example(tokens: tokens, targetStart: 1))
        }
        return result
    }
}
