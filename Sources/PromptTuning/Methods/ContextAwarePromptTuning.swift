import LanguageModels
import SoftPrompts

/// Context-aware prompt tuning (arXiv 2410.17222): the embeddings of real solved examples, changed within a small ball.
///
/// The start is few-shot learning, and the ball keeps it from running off after tens of examples: each embedding moves at
/// most a tenth of its own length. For few labelled rows; with many, prefix tuning reaches more.
public enum ContextAwarePromptTuning: TuningMethod {
    public static let name = "context-aware-prompt-tuning"
    public static let summary =
        "starts from the embeddings of solved examples and changes them little; for tens of labelled rows"
    public static let placement = SoftPrompt.Placement.inputEmbeddings
    public static let defaultLearningRate = 1e-3
    public static let defaultNormBall = 0.1

    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int { tokens * shape.hiddenSize }
}
