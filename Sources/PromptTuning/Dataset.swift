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

/// Labelled examples in three splits, read from JSON Lines (`{"input": "…", "target": "…", "split": "train"}`), CSV or TSV
/// with a line of column names.
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
    ///
    /// - Parameter format: which fields are input and target.
    public init(path: String, format: RowFormat = .standard, lineLimit: Int = Self.defaultLineLimit) throws {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
        } catch {
            throw TuningError(
                code: .unreadableFile, message: "the data file cannot be read: \(error.localizedDescription)",
                file: path)
        }
        switch path.split(separator: ".").last?.lowercased() {
        case "csv": try self.init(delimited: Array(data), separator: 0x2C, name: path, format: format)
        case "tsv": try self.init(delimited: Array(data), separator: 0x09, name: path, format: format)
        default: try self.init(jsonLines: data, name: path, format: format, lineLimit: lineLimit)
        }
    }

    /// - Parameters:
    ///   - bytes: a line of column names, then a row a line.
    ///   - separator: the byte between fields: a comma or a tab.
    public init(delimited bytes: [UInt8], separator: UInt8, name: String, format: RowFormat = .standard) throws {
        examples = [:]
        let table = try DelimitedText(bytes, separator: separator, name: name)
        guard let header = table.rows.first else {
            throw TuningError(code: .invalidRow, message: "the data file holds no examples", file: name)
        }
        for row in table.rows.dropFirst() {
            func fail(_ message: String) -> TuningError {
                TuningError(code: .invalidRow, message: message, file: name, line: row.line)
            }
            guard row.fields.count == header.fields.count else {
                throw fail("the row has \(row.fields.count) fields, but there are \(header.fields.count) columns")
            }
            func optional(_ field: String) -> String? { header.fields.firstIndex(of: field).map { row.fields[$0] } }
            let example = try format.example { field in
                guard let text = optional(field) else {
                    throw fail(
                        "there is no column “\(field)”; the columns are \(header.fields.joined(separator: ", "))")
                }
                return text
            }
            guard !example.target.isEmpty else {
                throw fail("the field \"\(format.target)\" is empty: there is nothing to learn")
            }
            let word = optional("split") ?? ""
            guard let split = word.isEmpty ? .train : DatasetSplit(rawValue: word) else {
                throw fail("the field \"split\" must be \"train\", \"dev\" or \"test\"")
            }
            examples[split, default: []].append(example)
        }
        guard count > 0 else {
            throw TuningError(code: .invalidRow, message: "the data file holds no examples", file: name)
        }
    }

    /// - Parameters:
    ///   - data: the file's bytes.
    ///   - name: the file's name in errors.
    public init(
        jsonLines data: Data, name: String, format: RowFormat = .standard, lineLimit: Int = Self.defaultLineLimit
    ) throws {
        examples = [:]
        try Self.forEachObject(data, name: name, lineLimit: lineLimit) { fields, number in
            let (example, split) = try Self.row(fields, name, number, format)
            examples[split, default: []].append(example)
        }
        guard count > 0 else {
            throw TuningError(code: .invalidRow, message: "the data file holds no examples", file: name)
        }
    }

    /// Calls `body` for the object on each line that is not empty.
    static func forEachObject(
        _ data: Data, name: String, lineLimit: Int = Self.defaultLineLimit,
        _ body: (_ fields: [String: Any], _ line: Int) throws -> Void
    ) throws {
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
            func fail(_ message: String) -> TuningError {
                TuningError(code: .invalidRow, message: message, file: name, line: number)
            }
            let value: Any
            do {
                value = try JSONSerialization.jsonObject(with: Data(line), options: .fragmentsAllowed)
            } catch {
                throw fail("the line is not valid JSON; each line must be {\"input\": \"…\", \"target\": \"…\"}")
            }
            guard let fields = value as? [String: Any] else {
                throw fail("the line is not a JSON object; each line must be {\"input\": \"…\", \"target\": \"…\"}")
            }
            try body(fields, number)
        }
    }

    private static func row(
        _ fields: [String: Any], _ name: String, _ number: Int, _ format: RowFormat
    ) throws -> (Example, DatasetSplit) {
        func fail(_ message: String) -> TuningError {
            TuningError(code: .invalidRow, message: message, file: name, line: number)
        }
        func text(_ field: String) throws -> String {
            guard let value = fields[field] else { throw fail("the field \"\(field)\" is missing") }
            guard let text = value as? String else { throw fail("the field \"\(field)\" is not a string") }
            return text
        }
        let example = try format.example(text)
        guard !example.target.isEmpty else {
            throw fail("the field \"\(format.target)\" is empty: there is nothing to learn")
        }
        return (example, try split(of: fields, name, number))
    }

    /// The split that a row names; `train` without one.
    static func split(of fields: [String: Any], _ name: String, _ number: Int) throws -> DatasetSplit {
        guard let given = fields["split"], !(given is NSNull) else { return .train }
        guard let word = given as? String, let split = DatasetSplit(rawValue: word) else {
            throw TuningError(
                code: .invalidRow, message: "the field \"split\" must be \"train\", \"dev\" or \"test\"", file: name,
                line: number)
        }
        return split
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
