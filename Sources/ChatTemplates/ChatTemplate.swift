import Foundation

/// A parsed chat template, ready to render conversations.
///
/// ```swift
/// let template = try ChatTemplate(source)
/// let prompt = try template.render(messages: [ChatMessage(role: "user", content: "Hello")], addGenerationPrompt: true)
/// ```
///
/// What comes out equals what Python's jinja2 makes in the settings of transformers' `apply_chat_template`. A template is
/// not trusted: nesting, steps and sizes are bounded (``TemplateLimits``), and it can reach nothing but its variables.
public struct ChatTemplate: Sendable {
    private let statements: [Statement]
    private let scalars: [UInt32]
    private let limits: TemplateLimits
    /// Seconds since 1970 that `strftime_now` takes for now.
    public var now: @Sendable () -> Double = { Date().timeIntervalSince1970 }

    /// Parses a template.
    ///
    /// - Throws: ``TemplateError`` with line and column, for what is not a template, and for tags, filters and tests that
    ///   do not exist, unless a condition guards them.
    public init(_ source: String, limits: TemplateLimits = .standard) throws(TemplateError) {
        scalars = Lexer.normalized(source)
        self.limits = limits
        var parser = try Parser(scalars, limits: limits)
        statements = try parser.parse()
    }

    /// Renders with these variables and nothing else, except Jinja's functions.
    ///
    /// Text in the variables counts as the template's own unless it is marked: see ``TemplateValue/markedAsInput()``.
    ///
    /// - Throws: ``TemplateError``, with the place in the template where it happened.
    public func render(_ variables: [String: TemplateValue]) throws(TemplateError) -> RenderedText {
        let budget = Budget(limits)
        for (name, value) in variables where value.depth > limits.nesting {
            throw TemplateError(.limit, "The value of '\(name)' is nested more than \(limits.nesting) levels deep.")
        }
        let evaluator = Evaluator(variables: variables, budget: budget, now: now)
        do {
            return RenderedText(try evaluator.render(statements))
        } catch {
            throw error.located(in: scalars, at: evaluator.offset)
        }
    }

    /// Renders a conversation.
    ///
    /// Text of messages, tools, documents and further variables is marked as input, so that what a user writes cannot
    /// become a control token (``RenderedText/segments``). Common names of roles are not: templates build tokens of them.
    ///
    /// - Parameters:
    ///   - messages: the conversation, in order.
    ///   - tools: descriptions of functions, as JSON Schema in OpenAI's form.
    ///   - documents: what to answer from, each usually with `title` and `text`.
    ///   - addGenerationPrompt: whether to end with the beginning of an answer.
    ///   - specialTokens: `bos_token`, `eos_token` and others by their names; the template's own text.
    ///   - extra: further variables, such as `enable_thinking`.
    public func render(
        messages: [ChatMessage], tools: [TemplateValue]? = nil, documents: [TemplateValue]? = nil,
        addGenerationPrompt: Bool = false, specialTokens: [String: String] = [:], extra: [String: TemplateValue] = [:]
    ) throws(TemplateError) -> RenderedText {
        var variables: [String: TemplateValue] = [:]
        for (name, token) in specialTokens { variables[name] = .string(token) }
        for (name, value) in extra { variables[name] = value.markedAsInput() }
        variables["messages"] = .list(messages.map(\.value))
        variables["tools"] = tools.map { .list($0.map { $0.markedAsInput() }) } ?? TemplateValue.none
        variables["documents"] = documents.map { .list($0.map { $0.markedAsInput() }) } ?? TemplateValue.none
        variables["add_generation_prompt"] = .bool(addGenerationPrompt)
        return try render(variables)
    }
}
