import Foundation

/// Settings of a command in a YAML file: `--config run.yaml` stands for the flags the file names.
///
/// A subset of YAML 1.2: one mapping of names to texts, numbers, booleans, block texts (`|`, `>`) and lists. A name is a
/// flag's, with `-` or `_`; `model` is the model's path. Flags on the command line come later and win.
///
///     model: SmolLM2.gguf
///     data: task.jsonl
///     name: team/task
///     init_text: |
///       Say what kind of thing it is.
///     steps: 200
struct ConfigFile {
    struct Entry: Equatable {
        let key: String
        let values: [String]
        let line: Int
    }

    let entries: [Entry]

    /// - Throws: `CommandFailure` naming file and line.
    init(path: String) throws {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CommandFailure(.notFound, "the configuration \(path) cannot be read")
        }
        guard data.count <= 1 << 20, let text = String(data: data, encoding: .utf8) else {
            throw CommandFailure(.data, "\(path) is not UTF-8 text of at most a mebibyte")
        }
        try self.init(text: text, name: path)
    }

    init(text: String, name: String) throws {
        var entries: [Entry] = []
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
        var index = 0
        func fail(_ message: String, _ line: Int) -> CommandFailure {
            CommandFailure(.usage, "\(name):\(line + 1): \(message)")
        }
        func indentation(_ line: String) -> Int { line.prefix { $0 == " " }.count }
        func isBlank(_ line: String) -> Bool { line.allSatisfy(\.isWhitespace) }
        while index < lines.count {
            let line = lines[index], number = index
            index += 1
            let bare = line.drop { $0 == " " }
            if isBlank(line) || bare.hasPrefix("#") || line == "---" { continue }
            if line.contains("\t"), bare.first == "\t" { throw fail("YAML is indented with blanks, not tabs", number) }
            guard indentation(line) == 0 else {
                throw fail("nested settings are not supported; write one name: value a line", number)
            }
            guard let colon = line.firstIndex(of: ":"), !line.hasPrefix("-"),
                line.index(after: colon) == line.endIndex || line[line.index(after: colon)] == " "
            else { throw fail("a line must be name: value", number) }
            let key = line[..<colon].replacingOccurrences(of: "_", with: "-")
            let rest = line[line.index(after: colon)...].drop { $0 == " " }
            if entries.contains(where: { $0.key == key }) { throw fail("“\(key)” is set twice", number) }
            let values: [String]
            if let style = rest.first, style == "|" || style == ">" {
                var block: [String] = []
                while index < lines.count, isBlank(lines[index]) || indentation(lines[index]) > 0 {
                    block.append(lines[index])
                    index += 1
                }
                while let last = block.last, isBlank(last) { block.removeLast() }
                let margin = block.filter { !isBlank($0) }.map(indentation).min() ?? 0
                let plain = block.map { String($0.dropFirst(min(margin, indentation($0)))) }
                let keepsEnd = !rest.dropFirst().hasPrefix("-")
                values = [plain.joined(separator: style == "|" ? "\n" : " ") + (keepsEnd && !plain.isEmpty ? "\n" : "")]
            } else if rest.isEmpty || rest.hasPrefix("#") {
                var items: [String] = []
                while index < lines.count {
                    let item = lines[index].drop { $0 == " " }
                    guard item.hasPrefix("- ") || isBlank(lines[index]) || item.hasPrefix("#") else { break }
                    if item.hasPrefix("- ") { items.append(try Self.scalar(item.dropFirst(2), { fail($0, index) })) }
                    index += 1
                }
                values = items
            } else if rest.hasPrefix("[") {
                guard let close = rest.lastIndex(of: "]") else { throw fail("a list opened with [ never ends", number) }
                values = try rest[rest.index(after: rest.startIndex)..<close].split(separator: ",").map {
                    try Self.scalar($0.drop { $0 == " " }, { fail($0, number) })
                }
            } else {
                values = [try Self.scalar(rest, { fail($0, number) })]
            }
            entries.append(Entry(key: key, values: values, line: number + 1))
        }
        self.entries = entries
    }

    private static func scalar(_ text: Substring, _ fail: (String) -> CommandFailure) throws -> String {
        guard let quote = text.first, quote == "\"" || quote == "'" else {
            var plain = text
            if let comment = plain.range(of: " #") { plain = plain[..<comment.lowerBound] }
            while plain.last?.isWhitespace == true { plain = plain.dropLast() }
            if "&*!{@`%".contains(plain.first ?? " ") {
                throw fail("“\(plain)” uses YAML that is not supported here; put it in quotes")
            }
            return String(plain)
        }
        var result = ""
        var rest = text.dropFirst()
        while let character = rest.first {
            rest = rest.dropFirst()
            if character == quote {
                if quote == "'", rest.first == "'" {
                    result.append("'")
                    rest = rest.dropFirst()
                    continue
                }
                let after = rest.drop { $0 == " " }
                guard after.isEmpty || after.hasPrefix("#") else { throw fail("there is text behind a closing quote") }
                return result
            }
            if quote == "\"", character == "\\" {
                guard let escape = rest.first else { break }
                rest = rest.dropFirst()
                switch escape {
                case "n": result.append("\n")
                case "t": result.append("\t")
                case "\"", "\\", "/": result.append(escape)
                default: throw fail("the escape \\\(escape) is not supported")
                }
                continue
            }
            result.append(character)
        }
        throw fail("a quote opened here never ends")
    }

    /// The flags the file stands for; the model's path comes first.
    var arguments: [String] {
        var result: [String] = []
        for entry in entries where entry.key == "model" { result += entry.values }
        for entry in entries where entry.key != "model" {
            for value in entry.values {
                switch value {
                case "true": result.append("--\(entry.key)")
                case "false": continue
                // One argument, so that a value that begins with a dash is one.
                default: result.append("--\(entry.key)=\(value)")
                }
            }
        }
        return result
    }

    /// Arguments of the command line with `--config FILE` replaced by what the file says, right behind the subcommand.
    static func expand(_ arguments: [String]) throws -> [String] {
        var rest: [String] = []
        var given: [String] = []
        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            if argument == "--" {
                rest += arguments[index...]
                break
            }
            if argument == "--config" {
                guard index + 1 < arguments.count else { throw CommandFailure(.usage, "--config needs a file") }
                given += try ConfigFile(path: arguments[index + 1]).arguments
                index += 2
            } else if argument.hasPrefix("--config=") {
                given += try ConfigFile(path: String(argument.dropFirst("--config=".count))).arguments
                index += 1
            } else {
                rest.append(argument)
                index += 1
            }
        }
        guard !given.isEmpty, let command = rest.first else { return rest }
        // A model on the command line takes the place of the file's.
        let positional = rest.dropFirst().first.map { !$0.hasPrefix("-") } ?? false
        if positional, let first = given.first, !first.hasPrefix("--") { given.removeFirst() }
        return [command] + given + rest.dropFirst()
    }
}
