import LanguageModels
import SoftPrompts
import Tokenization

/// A prompt with new virtual tokens behind its old ones, which stay as they are: nothing can be forgotten (Progressive
/// Prompts, arXiv 2301.12314).
public enum AppendedTokens {
    /// Old tokens and new ones, in the placement's layout. The new ones begin as tokens drawn from the vocabulary; as keys
    /// and values they are computed behind the old ones, where they will stand.
    public static func initial(
        _ old: [Float], count: Int, adding: Int, placement: SoftPrompt.Placement, seed: UInt64,
        model: any LanguageModel, tokenizer: any Tokenizer
    ) throws -> [Float] {
        guard
            let ids = try PromptInitialization.vocabulary(seed: seed).tokenIDs(
                count: adding, tokenizer: tokenizer, vocabularySize: model.shape.vocabularySize)
        else { return old }
        switch placement {
        case .inputEmbeddings:
            let width = model.shape.hiddenSize
            var result = old + [Float](repeating: 0, count: adding * width)
            result.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                for (row, id) in ids.enumerated() { model.embedding(of: id, into: base + (count + row) * width) }
            }
            return result
        case .keysAndValues:
            let cache = model.makeCache(element: .f32, capacity: count + adding)
            old.withUnsafeBufferPointer { cache.loadPrefix($0.baseAddress!, tokens: count) }
            _ = try model.forward(.tokens(ids), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
            return cache.prefix(tokens: count + adding)
        case .adaptionPrompt:
            throw TuningError(
                code: .invalidSetting,
                message:
                    "an adaption prompt's tokens share a softmax and a gate: new ones would change what the old ones do; "
                    + "continue it without --append")
        }
    }
}
