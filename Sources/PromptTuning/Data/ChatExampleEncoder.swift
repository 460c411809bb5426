import ChatTemplates
import LanguageModels
import Tokenization

/// Turns conversations into token sequences in which only what the assistant says carries loss, its end-of-turn token
/// included.
///
/// A template does not say where a turn begins. Each assistant turn is found by rendering twice: the conversation before it
/// with the beginning of an answer, and the conversation up to it. The first is the beginning of the second, and the rest is
/// what the assistant says. A template for which that does not hold is refused.
public struct ChatExampleEncoder: Sendable {
    private let template: ChatTemplate
    private let tokenizer: any Tokenizer
    private let specialTokens: [String: String]

    /// - Parameter specialTokens: as the template names them (`bos_token`, `eos_token`).
    public init(template: ChatTemplate, tokenizer: any Tokenizer, specialTokens: [String: String]) {
        self.template = template
        self.tokenizer = tokenizer
        self.specialTokens = specialTokens
    }

    /// - Throws: `TemplateError` of the template; `TuningError.invalidData` when turns cannot be told apart.
    public func encode(_ chat: ChatExample) throws -> TrainingBatch.Example {
        var tokens: [Int] = []
        var targets: [TrainingBatch.PositionedTarget] = []
        var done = ""
        for (index, message) in chat.messages.enumerated() where message.role == "assistant" {
            let before = try render(Array(chat.messages[..<index]), answers: true)
            let after = try render(Array(chat.messages[...index]), answers: false)
            guard before.text.hasPrefix(done), after.text.hasPrefix(before.text) else {
                throw TuningError(
                    code: .invalidData,
                    message:
                        "the model's chat template changes earlier turns when later ones come, so what the assistant says "
                        + "cannot be told apart; use rows of input and target")
            }
            tokens += encode(before, from: done.count)
            let spoken = encode(after, from: before.text.count)
            // A line break behind the end of a turn is the template's, not the assistant's.
            let end = spoken.lastIndex { tokenizer.endOfGeneration.contains($0) } ?? spoken.count - 1
            targets += (0..<end + 1).map { .init(position: tokens.count + $0, target: .token(spoken[$0])) }
            tokens += spoken
            done = after.text
        }
        guard let last = targets.last, targets.contains(where: { $0.position > 0 }) else {
            throw TuningError(code: .invalidData, message: "the assistant says nothing in a chat")
        }
        return TrainingBatch.Example(tokens: Array(tokens[...last.position]), targets: targets)
    }

    private func render(_ messages: [ChatMessage], answers: Bool) throws -> RenderedText {
        try template.render(messages: messages, addGenerationPrompt: answers, specialTokens: specialTokens)
    }

    /// Tokens of what stands behind the first `start` characters. Only the template's own text becomes control tokens.
    private func encode(_ rendered: RenderedText, from start: Int) -> [Int] {
        var skipped = start
        var tokens: [Int] = []
        for segment in rendered.segments {
            let own = segment.text.dropFirst(skipped)
            skipped = max(0, skipped - segment.text.count)
            guard !own.isEmpty else { continue }
            tokens += tokenizer.encode(String(own), parseSpecial: segment.isTemplateText, addSpecial: false)
        }
        return tokens
    }
}
