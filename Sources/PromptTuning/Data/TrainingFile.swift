import ChatTemplates
import Foundation
import LanguageModels
import Tokenization

/// A conversation whose assistant turns are learned.
public struct ChatExample: Sendable {
    public var messages: [ChatMessage]

    public init(messages: [ChatMessage]) { self.messages = messages }
}

/// A file to learn from, by what its rows hold: labelled rows, chats, preference pairs, or plain text.
///
///     {"input": "…", "target": "…"}
///     {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
///     {"input": "…", "chosen": "…", "rejected": "…"}
///     {"text": "…"}
///
/// CSV and TSV hold labelled rows; a `.txt` file is one text. The first row decides; a row of another sort is an error that
/// names file and line.
public struct TrainingFile: Sendable {
    public enum Content: Sendable {
        case labelled(Dataset)
        case chats([DatasetSplit: [ChatExample]])
        case preferences([DatasetSplit: [PreferencePair]])
        case texts([DatasetSplit: [String]])
    }

    public let content: Content
    public let path: String

    /// - Throws: `TuningError` naming file and line.
    public init(path: String, format: RowFormat = .standard) throws {
        self.path = path
        let suffix = path.split(separator: ".").last?.lowercased() ?? ""
        if ["csv", "tsv"].contains(suffix) {
            content = .labelled(try Dataset(path: path, format: format))
            return
        }
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) } catch {
            throw TuningError(
                code: .unreadableFile, message: "the data file cannot be read: \(error.localizedDescription)",
                file: path)
        }
        if suffix == "txt" {
            guard let text = String(data: data, encoding: .utf8), !text.isEmpty else {
                throw TuningError(code: .invalidRow, message: "the file is empty or not UTF-8 text", file: path)
            }
            content = .texts([.train: [text]])
            return
        }
        var kind: String?
        var chats: [DatasetSplit: [ChatExample]] = [:]
        var pairs: [DatasetSplit: [PreferencePair]] = [:]
        var texts: [DatasetSplit: [String]] = [:]
        try Dataset.forEachObject(data, name: path) { fields, line in
            func fail(_ message: String) -> TuningError {
                TuningError(code: .invalidRow, message: message, file: path, line: line)
            }
            func text(_ name: String) throws -> String {
                guard let text = fields[name] as? String else {
                    throw fail("the field \"\(name)\" is missing or not a string")
                }
                return text
            }
            let own =
                fields["messages"] != nil
                ? "messages"
                : fields["chosen"] != nil
                    ? "chosen" : fields["text"] != nil && fields["input"] == nil ? "text" : "input"
            let first = kind ?? own
            kind = first
            guard own == first else {
                throw fail(
                    "the row has \"\(own)\" where the file's first row has \"\(first)\": one file holds one sort of rows"
                )
            }
            if own == "input" { return }
            let split = try Dataset.split(of: fields, path, line)
            switch own {
            case "messages":
                chats[split, default: []].append(ChatExample(messages: try Self.messages(fields["messages"], fail)))
            case "chosen":
                pairs[split, default: []].append(
                    PreferencePair(
                        input: try text("input"), chosen: try text("chosen"), rejected: try text("rejected")))
            default: texts[split, default: []].append(try text("text"))
            }
        }
        switch kind {
        case "messages": content = .chats(chats)
        case "chosen": content = .preferences(pairs)
        case "text": content = .texts(texts)
        default: content = .labelled(try Dataset(jsonLines: data, name: path, format: format))
        }
    }

    private static func messages(_ value: Any?, _ fail: (String) -> TuningError) throws -> [ChatMessage] {
        guard let list = value as? [[String: Any]], !list.isEmpty else {
            throw fail("\"messages\" must be a list of {\"role\": \"…\", \"content\": \"…\"}")
        }
        let messages = try list.map { fields in
            guard let role = fields["role"] as? String, let content = fields["content"] as? String else {
                throw fail("each message needs a \"role\" and a \"content\" that are strings")
            }
            return ChatMessage(role: role, content: content)
        }
        guard messages.contains(where: { $0.role == "assistant" }) else {
            throw fail("the chat has no assistant turn: there is nothing to learn")
        }
        return messages
    }

    /// Whether it has rows in a split.
    public func has(_ split: DatasetSplit) -> Bool {
        switch content {
        case .labelled(let dataset): !dataset[split].isEmpty
        case .chats(let rows): rows[split]?.isEmpty == false
        case .preferences(let rows): rows[split]?.isEmpty == false
        case .texts(let rows): rows[split]?.isEmpty == false
        }
    }

    /// What a split teaches.
    ///
    /// - Parameters:
    ///   - encoder: for labelled rows and pairs.
    ///   - chat: for chats; nil where the model has no template.
    ///   - labels: learn an answer's first token among these labels' only; empty learns it among all tokens.
    ///   - stretch: tokens of a stretch of plain text.
    ///   - beta: of preference pairs.
    /// - Throws: `TuningError` when the split is empty or cannot be encoded.
    public func objective(
        split: DatasetSplit = .train, encoder: ExampleEncoder, chat: ChatExampleEncoder?, tokenizer: any Tokenizer,
        graph: any DifferentiableModel,
        configuration: TuningConfiguration, labels: [String] = [], stretch: Int = 128, beta: Double = 0.1
    ) throws -> any Objective {
        func some<T>(_ rows: [T]?) throws -> [T] {
            guard let rows, !rows.isEmpty else {
                throw TuningError(
                    code: .invalidData, message: "the file has no rows in its \(split.rawValue) split", file: path)
            }
            return rows
        }
        switch content {
        case .labelled(let dataset):
            return try SupervisedObjective(
                rows: some(dataset[split]), encoder: encoder, labels: labels,
                tokenDropout: configuration.tokenDropout, seed: configuration.seed)
        case .chats(let rows):
            guard let chat else {
                throw TuningError(
                    code: .invalidData, message: "the file holds chats, but the model has no chat template", file: path)
            }
            return SupervisedObjective(try some(rows[split]).map { try chat.encode($0) })
        case .preferences(let rows):
            return try PreferenceObjective(pairs: some(rows[split]), encoder: encoder, graph: graph, beta: beta)
        case .texts(let rows):
            return try LanguageModelingObjective(
                texts: some(rows[split]), tokenizer: tokenizer, stretchLength: stretch)
        }
    }
}
