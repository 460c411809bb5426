import Foundation

/// One row of data: what the model reads and what it should answer.
public struct Example: Sendable, Hashable {
    public var input: String
    public var target: String

    public init(input: String, target: String) {
        self.input = input
        self.target = target
    }
}

/// The parts of a data set. `train` is learned from, `dev` chooses among checkpoints, `test` is only scored at the end.
public enum DatasetSplit: String, Sendable, CaseIterable {
    case train, dev, test
}

/// Examples in three splits, read from JSON Lines: `{"input": "…", "target": "…", "split": "train"}`.
///
/// A missing split is `train`; other fields are ignored; a byte order mark, CRLF line ends and empty lines are fine.
public struct Dataset: Sendable {
    public private(set) var examples: [DatasetSplit: [Example]]

    /// The longest line that is read, in bytes.
    public static let defaultLineLimit = 16 << 20

    public init(examples: [DatasetSplit: [Example]] = [:]) { self.examples = examples }

    public subscript(split: DatasetSplit) -> [Example] { examples[split] ?? [] }
    /// Examples of all splits together.
    public var count: Int { examples.values.reduce(0) { $0 + $1.count } }

    /// - Throws: `TuningError` naming file and line; a file without a single example is an error too.
    public init(path: String, lineLimit: Int = Self.defaultLineLimit) throws {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
        } catch {
            throw TuningError(
                code: .unreadableFile, message: "the data file cannot be read: \(error.localizedDescription)",
                file: path)
        }
        try self.init(jsonLines: data, name: path, lineLimit: lineLimit)
    }

    /// - Parameters:
    ///   - data: the file's bytes.
    ///   - name: the file's name in errors.
    public init(jsonLines data: Data, name: String, lineLimit: Int = Self.defaultLineLimit) throws {
        examples = [:]
        var rest = data[...]
        if rest.starts(with: [0xEF, 0xBB, 0xBF]) { rest = rest.dropFirst(3) }
        var number = 0
        while !rest.isEmpty {
            number += 1
            let end = rest.firstIndex(of: 0x0A) ?? rest.endIndex
            var line = rest[rest.startIndex..<end]
            rest = end < rest.endIndex ? rest[(end + 1)...] : rest[end...]
            if line.last == 0x0D { line = line.dropLast() }
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) { continue }
            guard line.count <= lineLimit else {
                throw TuningError(
                    code: .invalidRow,
                    message: "the line has \(line.count) bytes, more than the \(lineLimit) allowed; "
                        + "is this a JSON Lines file?",
                    file: name, line: number)
            }
            let (example, split) = try Self.row(Data(line), name, number)
            examples[split, default: []].append(example)
        }
        guard count > 0 else {
            throw TuningError(code: .invalidRow, message: "the data file holds no examples", file: name)
        }
    }

    private static func row(_ line: Data, _ name: String, _ number: Int) throws -> (Example, DatasetSplit) {
        func fail(_ message: String) -> TuningError {
            TuningError(code: .invalidRow, message: message, file: name, line: number)
        }
        let value: Any
        do {
            value = try JSONSerialization.jsonObject(with: line, options: .fragmentsAllowed)
        } catch {
            throw fail("the line is not valid JSON; each line must be {\"input\": \"…\", \"target\": \"…\"}")
        }
        guard let fields = value as? [String: Any] else {
            throw fail("the line is not a JSON object; each line must be {\"input\": \"…\", \"target\": \"…\"}")
        }
        func text(_ field: String) throws -> String {
            guard let value = fields[field] else { throw fail("the field \"\(field)\" is missing") }
            guard let text = value as? String else { throw fail("the field \"\(field)\" is not a string") }
            return text
        }
        let example = Example(input: try text("input"), target: try text("target"))
        guard !example.target.isEmpty else { throw fail("the field \"target\" is empty: there is nothing to learn") }
        guard let given = fields["split"], !(given is NSNull) else { return (example, .train) }
        guard let word = given as? String, let split = DatasetSplit(rawValue: word) else {
            throw fail("the field \"split\" must be \"train\", \"dev\" or \"test\"")
        }
        return (example, split)
    }
}

/// How an example is written out for the model.
public struct ExampleTemplate: Sendable, Hashable {
    /// What the model reads, with `{input}` where the example's input goes (every occurrence).
    public let prompt: String
    /// What goes before the target; one blank, so that the answer's first word is the token it is inside a sentence.
    public let targetPrefix: String

    /// `{input}`, a new line, `Answer:`, and a blank before the target.
    public static let standard = ExampleTemplate(uncheckedPrompt: "{input}\nAnswer:", targetPrefix: " ")

    private init(uncheckedPrompt prompt: String, targetPrefix: String) {
        self.prompt = prompt
        self.targetPrefix = targetPrefix
    }

    /// - Throws: `TuningError.Code.invalidSetting` if the prompt has no `{input}`.
    public init(prompt: String, targetPrefix: String = " ") throws {
        guard prompt.contains("{input}") else {
            throw TuningError(
                code: .invalidSetting,
                message: "the template '\(prompt)' has no {input}, so the model would never see the example")
        }
        self.init(uncheckedPrompt: prompt, targetPrefix: targetPrefix)
    }

    /// The text before the answer. An input that itself holds `{input}` stays as it is.
    public func prompt(for example: Example) -> String {
        prompt.components(separatedBy: "{input}").joined(separator: example.input)
    }

    /// The text of the answer.
    public func target(for example: Example) -> String { targetPrefix + example.target }
}
