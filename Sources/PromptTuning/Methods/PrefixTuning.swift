import LanguageModels
import SoftPrompts

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
}
