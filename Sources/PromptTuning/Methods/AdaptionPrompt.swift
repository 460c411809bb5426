import LanguageModels
import SoftPrompts

/// Gated adaption prompts (LLaMA-Adapter, Zhang and others 2023, arXiv 2303.16199; PEFT's ADAPTION_PROMPT).
///
/// Each layer has rows of its own, as wide as the residual stream, which its frozen projections turn into keys and values.
/// Queries attend to them in a softmax apart from the context's; the result is added times the layer's gate. Gates begin at
/// 0: the first step starts from exactly the bare base.
///
/// Parameters: `(token, layer, hiddenSize + 1)`. The last of a row is the layer's gate in the first token, and without use
/// in the others, where it stays 0.
public enum AdaptionPrompt: TuningMethod {
    public static let name = "adaption-prompt"
    public static let summary =
        "gated rows beside each layer's attention; takes no positions, starts as the bare model, a little work a token"
    public static let placement = SoftPrompt.Placement.adaptionPrompt
    public static let defaultLearningRate = 1e-2

    public static func parameterCount(tokens: Int, shape: DecoderShape) -> Int {
        tokens * shape.valuesPerVirtualToken(placement)
    }

    public static func vectorWidth(shape: DecoderShape) -> Int { shape.hiddenSize + 1 }
}
