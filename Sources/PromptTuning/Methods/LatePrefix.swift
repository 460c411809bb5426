import LanguageModels
import SoftPrompts

/// A prefix whose keys and values are trained in the top half of the layers only (late prompt tuning, arXiv 2210.11292).
///
/// Below, they stay those of the initial text. What the examples are there does not change either: it is computed once
/// (`CachedActivations`), and an epoch costs half as much. The result is a prefix like any other.
public enum LatePrefix: TuningMethod {
    public static let name = "late-prefix"
    public static let summary =
        "trains keys and values in the top half of the layers; the rest is computed once: half the time a step"
    public static let placement = SoftPrompt.Placement.keysAndValues
    public static let defaultLearningRate = 1e-2

    public static func firstTrainedLayer(shape: DecoderShape) -> Int { shape.layerCount / 2 }

    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int {
        tokens * shape.keyValueElementsPerToken
    }
}
