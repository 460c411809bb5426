import Testing

@testable import ChatTemplates

struct ChatTemplateTests {
    private let source = """
        {{ bos_token }}{% for m in messages %}<|{{ m.role }}|>
        {{ m.content | trim }}<|end|>
        {% endfor %}{% if add_generation_prompt %}<|assistant|>
        {% endif %}
        """

    @Test("A conversation renders, and text of users is told from the template's own") func marksInput() throws {
        let rendered = try ChatTemplate(source).render(
            messages: [ChatMessage(role: "user", content: " a<|end|>b ")], addGenerationPrompt: true,
            specialTokens: ["bos_token": "<s>"])
        #expect(rendered.text == "<s><|user|>\na<|end|>b<|end|>\n<|assistant|>\n")
        #expect(
            rendered.segments == [
                .init(text: "<s><|user|>\n", isTemplateText: true), .init(text: "a<|end|>b", isTemplateText: false),
                .init(text: "<|end|>\n<|assistant|>\n", isTemplateText: true),
            ])
    }

    @Test("A role that is none of the common ones is input") func marksStrangeRoles() throws {
        let rendered = try ChatTemplate("{{ messages[0].role }}").render(
            messages: [ChatMessage(role: "<|end|>", content: "")])
        #expect(rendered.segments == [.init(text: "<|end|>", isTemplateText: false)])
    }

    @Test(
        "The mark of input goes through every operation on text",
        arguments: [
            "x.upper()", "x|lower", "x[1:]", "x[::-1]", "x.split('b')|join", "x|replace('b', '')", "x * 2",
            "x ~ ''", "x|title", "x.strip('<')", "(x|tojson)[1:-1]", "'%s' % x", "'{}'.format(x)", "x|list|join",
            "[x]|first", "x|string", "x.center(3)", "x|e", "dict(a=x).a", "x.partition('b')|join", "x|safe",
            "[x, x]|unique|join", "(x, 1)|first", "x.splitlines()[0]", "x if true", "x or 'a'",
            "{x: 1}|items|first|first",
        ])
    func keepsMarks(_ expression: String) throws {
        let rendered = try ChatTemplate("{{ \(expression) }}").render(["x": TemplateValue.string("<b>").markedAsInput()]
        )
        #expect(!rendered.segments.isEmpty)
        #expect(rendered.segments.allSatisfy { !$0.isTemplateText })
    }

    @Test("What is around input stays the template's") func keepsTemplateText() throws {
        let rendered = try ChatTemplate("{{ '<' + x|trim + '>' }}{{ [x]|tojson }}").render([
            "x": TemplateValue.string(" q ").markedAsInput()
        ])
        #expect(rendered.segments.map(\.text) == ["<", "q", ">[\"", " q ", "\"]"])
    }

    @Test("Tools, documents and absent ones are as transformers passes them") func passesTools() throws {
        let template = try ChatTemplate("{{ tools|tojson }} {{ documents is none }} {{ enable_thinking }}")
        let tool = try TemplateValue(json: #"{"type": "function", "function": {"name": "f", "n": 1.0}}"#)
        #expect(
            try template.render(messages: [], tools: [tool], extra: ["enable_thinking": false]).text
                == #"[{"type": "function", "function": {"name": "f", "n": 1.0}}] True False"#)
        #expect(try template.render(messages: [], documents: []).text == "null False ")
    }

    @Test("Reasoning is given under the names that templates read") func namesReasoning() throws {
        let template = try ChatTemplate("{{ messages[0]|tojson }}")
        let message = ChatMessage(role: "assistant", content: "4", fields: [("reasoning", "2+2")])
        #expect(
            try template.render(messages: [message]).text
                == #"{"thinking": "2+2", "role": "assistant", "content": "4", "reasoning": "2+2", "reasoning_content": "2+2"}"#
        )
    }

    @Test("A message out of JSON needs a role") func checksMessages() throws {
        let message = try ChatMessage(TemplateValue(json: #"{"role": "user", "content": [{"type": "text"}]}"#))
        #expect(message.role == "user")
        for json in ["{}", "[]", #"{"role": 1}"#, #""user""#] {
            #expect(throws: TemplateError.self) { try ChatMessage(try TemplateValue(json: json)) }
        }
    }

    @Test("An error has line, column and the text there") func placesErrors() {
        let error = #expect(throws: TemplateError.self) {
            try ChatTemplate("a\n{% if x %}\n  {{ x | upcase }}\n{% endif %}").render(["x": "y"])
        }
        #expect(error?.code == .unknownFilter)
        #expect(error?.line == 3)
        #expect(error?.column == 10)
        #expect(error?.description == "There is no filter 'upcase'. (template line 3, column 10): {{ x | upcase }}")
        let inMacro = #expect(throws: TemplateError.self) {
            try ChatTemplate("{% macro m(a) %}\n{{ a.b.c }}{% endmacro %}\n\n{{ m({}) }}").render([:])
        }
        #expect(inMacro?.line == 2)
        #expect(inMacro?.message == "'dict object' has no attribute 'b'")
    }

    @Test("raise_exception passes the template's message on") func raises() {
        let error = #expect(throws: TemplateError.self) {
            try ChatTemplate("{{ raise_exception('Roles must alternate') }}").render([:])
        }
        #expect(error?.code == .raised)
        #expect(error?.message == "Roles must alternate")
    }

    @Test("strftime_now takes the clock it is given") func formatsTime() throws {
        var template = try ChatTemplate("{{ strftime_now('%Y') }}|{{ strftime_now('') }}|{{ strftime_now('%%') }}")
        template.now = { 1_700_000_000 }
        #expect(try template.render([:]).text == "2023||%")
    }

    @Test("A template can be rendered many times and from several tasks") func isReusable() async throws {
        let template = try ChatTemplate(
            "{% set ns = namespace(n=0) %}{% for x in xs %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}")
        let texts = try await withThrowingTaskGroup(of: String.self) { group in
            for n in 0..<20 { group.addTask { try template.render(["xs": .list([.int(n), 1])]).text } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(texts) == Set((1...20).map(String.init)))
    }

    @Test(
        "Doubles print as Python prints them",
        arguments: [
            (0.1, "0.1"), (1, "1.0"), (1e15, "1000000000000000.0"), (1e16, "1e+16"), (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"), (123456.789, "123456.789"), (-2.5e-10, "-2.5e-10"), (5e-324, "5e-324"),
            (9_007_199_254_740_993, "9007199254740992.0"), (.infinity, "inf"), (-0.0, "-0.0"),
            (1.7976931348623157e308, "1.7976931348623157e+308"), (12345678901234567, "1.2345678901234568e+16"),
        ])
    func printsDoubles(_ value: Double, _ text: String) { #expect(NumberText.python(value) == text) }
}
