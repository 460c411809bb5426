import LanguageModels
import SoftPrompts

/// Multitask prompt tuning (Wang et al. 2023, arXiv 2303.02861): one prompt learned on several data sets at once, which each
/// task multiplies by a matrix of low rank of its own.
///
/// What tasks have in common is learned from all of their rows. Each task's prompt is folded into a plain one when it is
/// stored. The shared prompt with the mean of the tasks' matrices is a start for a new task that has few rows
/// (`MultitaskPrompt.average`). `TaskFactors` has the arithmetic; here is the case of one task and rank 1.
public enum MultitaskPromptTuning: TuningMethod {
    public static let name = "multitask-prompt-tuning"
    public static let summary =
        "one shared prompt, a low-rank matrix for each data set; for several small tasks, or a new one like them"
    public static let placement = SoftPrompt.Placement.inputEmbeddings
    public static let defaultLearningRate = 5e-3
    public static let isReparameterised = true

    public static func taskFactors(tokens: Int, tasks: Int, rank: Int, shape: DecoderShape) -> TaskFactors? {
        TaskFactors(tokens: tokens, width: shape.hiddenSize, tasks: tasks, rank: rank)
    }

    private static func single(_ tokens: Int, _ shape: DecoderShape) -> TaskFactors {
        TaskFactors(tokens: tokens, width: shape.hiddenSize, tasks: 1, rank: 1)
    }

    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int { single(tokens, shape).parameterCount }

    public static func parameters(
        fromVirtualTokens values: [Float], tokens: Int, shape: DecoderShape, seed: UInt64
    ) -> [Float] { single(tokens, shape).parameters(from: values, seed: seed) }

    public static func fold(_ parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        single(tokens, shape).prompts(parameters)
    }

    public static func unfold(_ gradient: [Float], parameters: [Float], tokens: Int, shape: DecoderShape) -> [Float] {
        single(tokens, shape).gradient(gradient, parameters: parameters)
    }
}
