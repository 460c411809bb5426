/// One message of a conversation: what templates see as `message`.
public struct ChatMessage: Sendable {
    /// The fields in order: `role`, usually `content`, and others such as `tool_calls`, `name`, `reasoning_content`.
    public private(set) var fields: TemplateDictionary

    /// A message with text.
    public init(role: String, content: String, fields: [(String, TemplateValue)] = []) {
        self.init(role: role, content: .string(content), fields: fields)
    }

    /// A message with text, a list of parts, or `.none`, as when it only calls tools.
    public init(role: String, content: TemplateValue, fields: [(String, TemplateValue)] = []) {
        self.fields = TemplateDictionary([("role", .string(role)), ("content", content)] + fields)
    }

    /// A message as it comes in JSON: an object with a `role`.
    public init(_ value: TemplateValue) throws(TemplateError) {
        guard case .dictionary(let fields) = value, fields["role"]?.text != nil else {
            throw TemplateError(.type, "A message is an object with a 'role' that is text.")
        }
        self.fields = fields
    }

    /// `system`, `user`, `assistant`, `tool`, …
    public var role: String { fields["role"]?.text?.string ?? "" }

    /// Roles that templates make control tokens of, as in `'<|' + message.role + '|>'`.
    static let knownRoles: Set<String> = [
        "assistant", "control", "developer", "documents", "environment", "function", "gpt", "human", "ipython", "model",
        "observation", "system", "tool", "tool_response", "user",
    ]

    /// Names under which a message's reasoning goes; transformers fills the first from the others, and `thinking` too.
    private static let reasoningFields = ["reasoning_content", "thinking", "reasoning"]

    /// The message as templates see it, its text marked as input, but for the role if that is a common one.
    var value: TemplateValue {
        var pairs: [(TemplateValue, TemplateValue)] = []
        for (key, value) in fields.pairs {
            let isKnownRole = key == "role" && ChatMessage.knownRoles.contains(role)
            pairs.append((key, isKnownRole ? value : value.markedAsInput()))
        }
        let reasoning = ChatMessage.reasoningFields.lazy.compactMap { name in
            fields[name].flatMap { $0 == .none ? nil : $0 }
        }.first
        if let reasoning = reasoning?.markedAsInput() {
            pairs.insert(("thinking", reasoning), at: 0)
            pairs.append(("reasoning_content", reasoning))
        }
        return .dictionary(TemplateDictionary(pairs: pairs))
    }
}
