import ByteIO
import ChatTemplates
import Foundation
import Generation
import LanguageModels

/// A conversation and the commands that change it.
final class ChatSession {
    static let help = """
        /attach NAME    attach a soft prompt      /detach       take it off
        /system TEXT    set the system message    /clear        forget the conversation
        /save FILE      write it as JSON          /load FILE    go on with a saved one
        /help           this list                 /quit         end
        """

    private let loaded: LoadedModel
    private let prompt: ChatPrompt
    private let settings: SamplerSettings
    private let sampling: SamplingOptions
    private let constraint: GrammarConstraint?
    private var system: String?
    private var messages: [ChatMessage] = []
    private var attached: String?
    private var session: Session
    /// Tokens behind the attached prompt that the session has computed.
    private var resident: [Int] = []

    init(
        loaded: LoadedModel, prompt: ChatPrompt, system: String?, settings: SamplerSettings, sampling: SamplingOptions,
        constraint: GrammarConstraint?
    ) throws {
        self.loaded = loaded
        self.prompt = prompt
        self.system = system
        self.settings = settings
        self.sampling = sampling
        self.constraint = constraint
        session = try Session(model: loaded.model, cacheElement: sampling.cacheElement)
        // A template that cannot take a conversation is found out before the first message is typed.
        _ = try prompt.tokens(all + [ChatMessage(role: "user", content: "?")])
    }

    private var all: [ChatMessage] {
        (system.map { [ChatMessage(role: "system", content: $0)] } ?? []) + messages
    }

    // MARK: - Answers

    /// Answers a message, writing the answer as it is made. On failure the message is taken back.
    func answer(_ text: String) throws {
        messages.append(ChatMessage(role: "user", content: text))
        do {
            let ids = try prompt.tokens(all)
            var shared = zip(ids, resident).prefix { $0 == $1 }.count
            // The last token is computed again at least: its logits are the answer's beginning.
            shared = min(shared, ids.count - 1)
            session.reset(to: session.attachedCount + shared)
            // Where the session could not go back as far as asked, it says so by its position.
            shared = session.position - session.attachedCount
            resident = Array(ids[..<shared])
            Interrupt.listenForReply()
            defer { Interrupt.endReply() }
            let result = try Generator(session: session, tokenizer: loaded.tokenizer).generate(
                tokens: Array(ids[shared...]), context: resident, settings: settings,
                maximumTokens: sampling.maxTokens, stop: sampling.stop, grammar: constraint,
                shouldStop: { Interrupt.isRequested }, onText: { Output.stream($0) })
            Output.stream("\n")
            resident = Array((ids + result.tokens).prefix(session.position - session.attachedCount))
            messages.append(ChatMessage(role: "assistant", content: result.text))
        } catch {
            messages.removeLast()
            resident = []
            session.reset()
            throw error
        }
    }

    // MARK: - Commands

    /// Does what a line that begins with `/` says; `true` when it ends the program.
    func command(_ line: String) async throws -> Bool {
        let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
        let rest = parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
        func needed(_ what: String) throws -> String {
            guard !rest.isEmpty else { throw CommandFailure(.usage, "\(parts[0]) needs \(what)") }
            return rest
        }
        switch parts[0] {
        case "/help": Output.note(Self.help)
        case "/quit", "/exit": return true
        case "/clear":
            messages = []
            try renew(nil, name: attached, keepsAttachment: true)
        case "/system": system = rest.isEmpty ? nil : rest
        case "/attach": try await attach(AttachmentOptions.parse(["--attach", try needed("a prompt's NAME")]))
        case "/detach":
            guard attached != nil else { throw CommandFailure(.usage, "no prompt is attached") }
            try renew(nil, name: nil, keepsAttachment: false)
        case "/save": try save(needed("a FILE to write"))
        case "/load": try load(needed("a FILE that /save wrote"))
        default: throw CommandFailure(.usage, "there is no command \(parts[0]); /help lists them")
        }
        return false
    }

    /// Attaches a stored prompt; the conversation is kept and read again behind it.
    func attach(_ options: AttachmentOptions) async throws {
        guard let resolved = try await options.resolve(for: loaded, home: Home()) else { return }
        try renew(resolved.attachment, name: options.attach, keepsAttachment: false)
    }

    private func renew(_ attachment: PromptAttachment?, name: String?, keepsAttachment: Bool) throws {
        resident = []
        if keepsAttachment {
            session.reset()
        } else {
            session = try Session(
                model: loaded.model, attachment: attachment, cacheElement: sampling.cacheElement)
        }
        attached = name
    }

    private func save(_ path: String) throws {
        var object = JSONObject([("model", .string(loaded.name))])
        if let system { object["system"] = .string(system) }
        if let attached { object["attached"] = .string(attached) }
        object["messages"] = .array(
            messages.map { message in
                .object(
                    JSONObject([
                        ("role", .string(message.role)), ("content", .string(Self.content(of: message))),
                    ]))
            })
        do {
            try Data(JSONValue.object(object).prettyBytes() + [0x0A]).write(
                to: URL(fileURLWithPath: path), options: .atomic)
        } catch { throw CommandFailure(.unavailable, "cannot write \(path): \(error.localizedDescription)") }
    }

    private func load(_ path: String) throws {
        let value: JSONValue
        do { value = try JSONValue.parse(Array(TextFile.read(path).utf8)) } catch let error as ByteIOError {
            throw CommandFailure(.data, "\(path) is no saved conversation: \(error)")
        }
        guard let list = value["messages"]?.arrayValue else {
            throw CommandFailure(.data, "\(path) is no saved conversation: it has no list of messages")
        }
        messages = try list.map { entry in
            guard let role = entry["role"]?.stringValue, let content = entry["content"]?.stringValue,
                ["user", "assistant", "system"].contains(role)
            else {
                throw CommandFailure(
                    .data,
                    "\(path) is no saved conversation: a message has a role (user, assistant, system) and a content")
            }
            return ChatMessage(role: role, content: content)
        }
        system = value["system"]?.stringValue
        Output.note("\(messages.count) messages")
    }

    private static func content(of message: ChatMessage) -> String {
        if case .string(let text)? = message.fields["content"] { return text.string }
        return ""
    }
}
