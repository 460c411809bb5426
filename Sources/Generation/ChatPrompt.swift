import ChatTemplates
import Conversion
import LanguageModels
import Tokenization

/// Turns conversations into tokens by a model's own chat template.
///
/// What people write never becomes a control token, however it is spelled; what the template writes does.
///
///     let chat = try ChatPrompt(loaded)
///     let ids = try chat.tokens([ChatMessage(role: "user", content: "Hello")])
public struct ChatPrompt: Sendable {
    private let template: ChatTemplate
    private let tokenizer: any Tokenizer
    private let specialTokens: [String: String]

    /// - Parameters:
    ///   - loaded: the model, with its tokenizer and its template.
    ///   - template: a template to use in place of the model's.
    /// - Throws: `ModelError.invalidInput` when the model brings no template, `TemplateError` when it cannot be parsed.
    public init(_ loaded: LoadedModel, template: String? = nil) throws {
        guard let source = try template ?? loaded.source.metadata.stringIfPresent("tokenizer.chat_template") else {
            throw ModelError(
                .invalidInput,
                "the model has no chat template (tokenizer.chat_template); run it without --chat, or give one with "
                    + "--chat-template FILE", path: loaded.path)
        }
        self.template = try ChatTemplate(source)
        tokenizer = loaded.tokenizer
        var tokens: [String: String] = [:]
        let roles: [(String, Int?)] = [
            ("bos_token", tokenizer.special.beginningOfSequence), ("eos_token", tokenizer.special.endOfSequence),
            ("unk_token", tokenizer.special.unknown), ("pad_token", tokenizer.special.padding),
        ]
        for (name, id) in roles {
            guard let id else { continue }
            tokens[name] = String(decoding: tokenizer.bytes(of: id), as: UTF8.self)
        }
        specialTokens = tokens
    }

    /// The text the template makes.
    ///
    /// - Throws: `TemplateError` with the place in the template.
    public func rendered(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true
    ) throws(TemplateError) -> RenderedText {
        try template.render(
            messages: messages, addGenerationPrompt: addGenerationPrompt, specialTokens: specialTokens)
    }

    /// The tokens a model reads for a conversation.
    ///
    /// - Throws: `TemplateError` with the place in the template.
    public func tokens(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true
    ) throws(TemplateError) -> [Int] {
        Self.tokens(try rendered(messages, addGenerationPrompt: addGenerationPrompt), tokenizer: tokenizer)
    }

    /// Encodes the whole text at once, as transformers does, if no text that came in spells a control token; else every
    /// segment by itself.
    static func tokens(_ rendered: RenderedText, tokenizer: any Tokenizer) -> [Int] {
        let whole = tokenizer.encode(rendered.text, parseSpecial: true, addSpecial: false)
        let parts = rendered.segments.map { segment in
            tokenizer.encode(segment.text, parseSpecial: segment.isTemplateText, addSpecial: false)
        }
        func controls(_ ids: some Sequence<Int>) -> [Int] { ids.filter { tokenizer.isControl($0) } }
        return controls(whole) == controls(parts.joined()) ? whole : Array(parts.joined())
    }
}
