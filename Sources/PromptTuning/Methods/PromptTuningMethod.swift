import LanguageModels
import SoftPrompts

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
}
