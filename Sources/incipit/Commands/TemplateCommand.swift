import ArgumentParser
import ChatTemplates
import Foundation
import GGUF

struct TemplateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "template",
        abstract: "Render a conversation with a chat template: what the model would read.",
        discussion: """
            The template is a .jinja file, or a GGUF file that holds one. The messages are a JSON list as in OpenAI's API:

              incipit template MODEL.gguf '[{"role": "user", "content": "Hello"}]' --generation-prompt
              incipit template chat.jinja @conversation.json --tools @tools.json --set enable_thinking=false

            A value that begins with @ names a file. The text equals what transformers' apply_chat_template makes.
            """)

    @Argument(help: "Template, or GGUF file with one.", completion: .file()) var template: String?
    @Argument(help: "Messages as JSON, or @FILE.") var messages: String?
    @Option(help: "Tools as a JSON list, or @FILE.") var tools: String?
    @Option(help: "Documents as a JSON list, or @FILE.") var documents: String?
    @Option(name: .customLong("set"), help: "A further variable, NAME=JSON; may be repeated.") var variables: [String] =
        []
    @Flag(help: "End with the beginning of an answer.") var generationPrompt = false
    @Flag(help: "Print JSON: the text in segments, each with whether the template wrote it.") var json = false
    @Flag(
        help: """
            Read one request a line from standard input, a JSON object with template, messages, tools, documents, extra \
            and add_generation_prompt, and write one answer a line, with text or error.
            """)
    var batch = false

    private struct Segment: Encodable {
        let text: String
        let isTemplateText: Bool
    }
    private struct Answer: Encodable {
        var text: String?
        var error: String?
        var code: String?
    }

    func validate() throws {
        if !batch && (template == nil || messages == nil) {
            throw ValidationError("A template and messages are needed, or --batch.")
        }
    }

    func run() throws {
        if batch { return try answerRequests() }
        guard let path = template, let messages else { return }
        var extra: [(String, TemplateValue)] = []
        for variable in variables {
            let parts = variable.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw ValidationError("--set wants NAME=JSON, not '\(variable)'.") }
            extra.append((String(parts[0]), try value(String(parts[1]))))
        }
        let request = TemplateDictionary([
            ("messages", try value(messages)), ("tools", try tools.map(value) ?? TemplateValue.none),
            ("documents", try documents.map(value) ?? TemplateValue.none),
            ("extra", .dictionary(TemplateDictionary(extra))),
            ("add_generation_prompt", .bool(generationPrompt)),
        ])
        let (source, tokens) = try source(path)
        let rendered = try render(source, request, specialTokens: tokens)
        if json {
            return try Output.json(rendered.segments.map { Segment(text: $0.text, isTemplateText: $0.isTemplateText) })
        }
        Output.stream(rendered.text)
    }

    private func value(_ text: String) throws -> TemplateValue {
        guard text.hasPrefix("@") else { return try TemplateValue(json: text) }
        return try TemplateValue(json: read(String(text.dropFirst())))
    }

    private func read(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CommandFailure(.notFound, "\(path) cannot be read; is the path right?")
        }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandFailure(.data, "\(path) is not text in UTF-8")
        }
        return text
    }

    /// The template, and the beginning and end tokens if a GGUF file names them.
    private func source(_ path: String) throws -> (String, [String: String]) {
        guard path.hasSuffix(".gguf") else { return (try read(path), [:]) }
        let metadata = try GGUFFile(path: path).metadata
        guard let source = try metadata.stringIfPresent("tokenizer.chat_template") else {
            throw CommandFailure(
                .data, "\(path) has no chat template (tokenizer.chat_template); give a .jinja file instead")
        }
        var tokens: [String: String] = [:]
        let texts = try metadata.stringsIfPresent("tokenizer.ggml.tokens") ?? []
        for name in ["bos", "eos"] {
            guard let id = try metadata.intIfPresent("tokenizer.ggml.\(name)_token_id"), texts.indices.contains(id)
            else {
                continue
            }
            tokens["\(name)_token"] = texts[id]
        }
        return (source, tokens)
    }

    private func render(
        _ source: String, _ request: TemplateDictionary, specialTokens: [String: String] = [:]
    ) throws(TemplateError) -> RenderedText {
        func list(_ name: String) throws(TemplateError) -> [TemplateValue]? {
            switch request[name] {
            case nil, .some(.none): return nil
            case .list(let list): return list.items
            default: throw TemplateError(.type, "'\(name)' is a JSON list.")
            }
        }
        var messages: [ChatMessage] = []
        for message in try list("messages") ?? [] { messages.append(try ChatMessage(message)) }
        var extra: [String: TemplateValue] = [:]
        if case .dictionary(let given)? = request["extra"] {
            for key in given.keys { if case .string(let name) = key { extra[name.string] = given[name.string] } }
        }
        return try ChatTemplate(source).render(
            messages: messages, tools: try list("tools"), documents: try list("documents"),
            addGenerationPrompt: request["add_generation_prompt"] == true, specialTokens: specialTokens, extra: extra)
    }

    private func answerRequests() throws {
        let encoder = JSONEncoder()
        while let line = readLine() {
            var answer = Answer()
            do throws(TemplateError) {
                guard case .dictionary(let request) = try TemplateValue(json: line),
                    case .string(let source)? = request["template"]
                else { throw TemplateError(.badJSON, "A request is an object with a 'template'.") }
                answer.text = try render(source.string, request).text
            } catch {
                answer.error = error.description
                answer.code = error.code.description
            }
            Output.line(String(decoding: try encoder.encode(answer), as: UTF8.self))
        }
    }
}
