import LanguageModels
import Layers
import SoftPrompts
import Tokenization

/// Prefix tuning (Li and Liang 2021, arXiv 2101.00190): trained keys and values in front of every layer's own.
///
/// Parameters: `(layer, key|value, head, token, headDimension)`, keys already rotated, in the model's pairing: the first
/// slots of a cache. Initialised from the keys and values of a real prefill (Eyuboglu et al. 2025, Cartridges, arXiv
/// 2506.06266) it starts exactly as good as the text and learns in few steps.
public enum PrefixTuning: TuningMethod {
    public static let name = "prefix-tuning"
    public static let summary =
        "trains keys and values at every layer; learns fastest and best, nothing to prefill at attach time"
    public static let placement = SoftPrompt.Placement.keysAndValues
    public static let defaultLearningRate = 1e-2

    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int {
        tokens * shape.keyValueElementsPerToken
    }

    public static func initialParameters(
        _ initialization: PromptInitialization, tokens: Int, model: any LanguageModel, tokenizer: any Tokenizer
    ) throws -> [Float] {
        let ids = try initialization.tokenIDs(
            count: tokens, tokenizer: tokenizer, vocabularySize: model.shape.vocabularySize)
        guard let ids else {
            return [Float](repeating: 0, count: parameterCount(tokens: tokens, shape: model.shape))
        }
        let cache = model.makeCache(element: .f32, capacity: tokens)
        _ = try model.forward(.tokens(ids), cache: cache, workspace: InferenceWorkspace(), logitCount: 0)
        return cache.prefix(tokens: tokens)
    }

    public static func view(_ parameters: UnsafePointer<Float>, tokens: Int) -> PromptView {
        .keysAndValues(parameters, count: tokens)
    }

    public static func freezeFirstToken(in gradient: UnsafeMutablePointer<Float>, tokens: Int, shape: DecoderShape) {
        guard tokens > 0 else { return }
        let plane = tokens * shape.headDimension
        for index in 0..<shape.layerCount * 2 * shape.keyValueHeadCount {
            (gradient + index * plane).update(repeating: 0, count: shape.headDimension)
        }
    }

    public static func storedValues(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        shape.storedPrefix(fromCache: parameters, tokens: tokens)
    }

    public static func parameters(fromStored values: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        shape.cachePrefix(fromStored: values, tokens: tokens)
    }
}
