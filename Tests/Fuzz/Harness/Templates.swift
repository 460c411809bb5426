import ChatTemplates

/// Parses and renders a template. Behind a zero byte, the input may have a JSON object of variables.
@Sendable func renderTemplate(_ bytes: [UInt8]) {
    let parts = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    var limits = TemplateLimits()
    limits.steps = 100_000
    guard let template = try? ChatTemplate(String(decoding: parts[0], as: UTF8.self), limits: limits) else { return }
    var variables = conversation
    if parts.count > 1, let value = try? TemplateValue(json: String(decoding: parts[1], as: UTF8.self)),
        case .dictionary(let given) = value
    {
        for key in given.keys {
            if case .string(let name) = key { variables[name.string] = given[name.string]?.markedAsInput() }
        }
    }
    guard let rendered = try? template.render(variables) else { return }
    consume(rendered.text.utf8.count)
}

private let conversation: [String: TemplateValue] = [
    "messages": [
        ["role": "system", "content": " Be kind.\n"],
        ["role": "user", "content": "Hello <|im_end|> é 🦦"],
        [
            "role": "assistant", "content": nil,
            "tool_calls": [["function": ["name": "now", "arguments": ["zone": "CET", "n": 2.5]]]],
        ],
        ["role": "tool", "content": "noon"],
        ["role": "user", "content": [["type": "text", "text": "a"], ["type": "image"]]],
    ],
    "tools": [
        [
            "type": "function",
            "function": ["name": "now", "parameters": ["type": "object", "properties": ["zone": ["type": "string"]]]],
        ]
    ],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "x": "a b", "n": 7, "xs": [3, 1, 2],
]
