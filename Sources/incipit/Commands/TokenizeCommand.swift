import ArgumentParser
import Foundation
import GGUF
import Tokenization
import TokenizerFiles

struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Show how a model's tokenizer cuts a text, or what text some ids stand for.",
        discussion: """
            Reads only the tokenizer of the GGUF file, so vocabulary files without weights will do. The text is the \
            argument, a file, or standard input; nothing is trimmed from it.

              incipit tokenize MODEL.gguf "Hello, world"         one line for each token: id and text
              incipit tokenize MODEL.gguf --count --file a.txt   how many tokens a file takes
              incipit tokenize MODEL.gguf --ids < a.txt          the ids alone, separated by blanks
              incipit tokenize MODEL.gguf --decode "1 2 3"       ids back to text
              incipit tokenize MODEL.gguf --json-lines < in > out
              incipit tokenize MODEL.gguf --decode-lines < out

            Text never becomes a control token unless --special is given: then markers written out in it, such as \
            <|im_start|>, are the tokens they name. With --json-lines every input line is a JSON string and every output \
            line the JSON array of its ids; --decode-lines is the way back.
            """)

    @Argument(help: "GGUF file.", completion: .file(extensions: ["gguf"])) var model: String
    @Argument(help: "The text; without it (and --file), standard input is read.") var text: String?
    @Option(help: "Read the text from a file.", completion: .file()) var file: String?
    @Flag(help: "Print the ids only, separated by blanks.") var ids = false
    @Flag(help: "Print the tokens' texts only, one JSON string on each line.") var pieces = false
    @Flag(help: "Print the number of tokens only.") var count = false
    @Flag(help: "Let markers in the text become control tokens; with --decode, show control tokens.") var special =
        false
    @Flag(name: .customLong("no-bos"), help: "Do not add the beginning and end tokens that the model wants.")
    var noBeginning = false
    @Option(help: "Turn ids, separated by blanks or commas, into text.", completion: nil) var decode: String?
    @Flag(help: "With --decode: drop the blank before punctuation, as word-based tokenizers expect.") var cleanSpaces =
        false
    @Flag(help: "Read a JSON string from each line and print the JSON array of its ids on a line.") var jsonLines =
        false
    @Flag(help: "Read a JSON array of ids from each line and print the text they stand for as a JSON string on a line.")
    var decodeLines = false
    @Flag(help: "Print JSON: count, ids and texts; with --decode, the text.") var json = false
    @Flag(help: "Say on standard error how long encoding took.") var time = false

    func validate() throws {
        if text != nil, file != nil { throw ValidationError("Give the text or --file, not both.") }
        if [ids, pieces, count, json, jsonLines, decodeLines].count(where: { $0 }) > 1 {
            throw ValidationError("Choose one of --ids, --pieces, --count, --json, --json-lines and --decode-lines.")
        }
        if decodeLines, text != nil || decode != nil {
            throw ValidationError("--decode-lines reads lines of ids from --file or standard input, and nothing else.")
        }
        guard decode != nil else {
            if cleanSpaces, !decodeLines { throw ValidationError("--clean-spaces needs --decode or --decode-lines.") }
            return
        }
        if text != nil || file != nil || ids || pieces || count || jsonLines {
            throw ValidationError("--decode takes neither a text nor another form of output than --json.")
        }
    }

    func run() throws {
        let tokenizer = try GGUFTokenizer.make(from: GGUFFile(path: model))
        for warning in tokenizer.warnings { Output.note("incipit: warning: \(model): \(warning)") }
        if let decode { return try printText(of: decode, tokenizer) }
        if jsonLines { return try encodeLines(tokenizer) }
        if decodeLines { return try self.decodeLines(tokenizer) }
        let text = try input()
        let clock = ContinuousClock()
        let start = clock.now
        let found = tokenizer.encode(text, parseSpecial: special, addSpecial: !noBeginning)
        if time { noteTime(clock.now - start, bytes: text.utf8.count, tokens: found.count) }
        if special, !noBeginning, tokenizer.addsBeginning, found.count > 1, found[0] == found[1],
            found[0] == tokenizer.special.beginningOfSequence
        {
            Output.note("incipit: warning: the text starts with the beginning token that is added anyway; see --no-bos")
        }
        try show(found, tokenizer)
    }

    // MARK: - Output

    private struct Encoded: Encodable {
        let count: Int
        let ids: [Int]
        let pieces: [String]
    }

    private struct Decoded: Encodable { let text: String }

    private func show(_ found: [Int], _ tokenizer: any Tokenizer) throws {
        func text(_ id: Int) -> String { String(decoding: tokenizer.bytes(of: id), as: UTF8.self) }
        if count { return Output.line("\(found.count)") }
        if ids { return Output.line(found.map(String.init).joined(separator: " ")) }
        if pieces {
            for id in found { Output.line(try Self.quoted(text(id))) }
            return
        }
        if json { return try Output.json(Encoded(count: found.count, ids: found, pieces: found.map(text))) }
        for id in found {
            let mark = tokenizer.isControl(id) ? "  control" : ""
            Output.line("\(id)\t\(try Self.quoted(text(id)))\(mark)")
        }
    }

    private func printText(of list: String, _ tokenizer: any Tokenizer) throws {
        let found = try list.split(whereSeparator: { $0 == "," || $0.isWhitespace }).map { part -> Int in
            guard let id = Int(part), id >= 0, id < tokenizer.vocabularyCount else {
                throw CommandFailure(
                    .usage, "'\(part)' is no id of this vocabulary; ids go from 0 to \(tokenizer.vocabularyCount - 1)")
            }
            return id
        }
        let text = decoded(found, tokenizer)
        if json { return try Output.json(Decoded(text: text)) }
        Output.line(text)
    }

    private func decoded(_ ids: [Int], _ tokenizer: any Tokenizer) -> String {
        cleanSpaces
            ? tokenizer.decodeCleanedUp(ids, skipSpecial: !special) : tokenizer.decode(ids, skipSpecial: !special)
    }

    private static func quoted(_ text: String) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return String(decoding: try encoder.encode(text), as: UTF8.self)
    }

    private func noteTime(_ duration: Duration, bytes: Int, tokens: Int) {
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
        Output.note(
            String(
                format: "%d bytes, %d tokens in %.3f ms: %.1f MB/s, %.2f million tokens/s", bytes, tokens,
                seconds * 1e3,
                Double(bytes) / seconds / 1e6, Double(tokens) / seconds / 1e6))
    }

    // MARK: - Input

    private func input() throws -> String {
        if let text { return text }
        let data = try data()
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandFailure(.data, "\(file ?? "standard input") is not UTF-8 text; convert it first (iconv)")
        }
        return text
    }

    private func data() throws -> Data {
        if let text { return Data(text.utf8) }
        guard let file else { return FileHandle.standardInput.readDataToEndOfFile() }
        do { return try Data(contentsOf: URL(fileURLWithPath: file)) } catch {
            throw CommandFailure(.notFound, "cannot read \(file): \(error.localizedDescription)")
        }
    }

    /// The JSON values of the lines that are not empty.
    private func lines<Value: Decodable>(of type: Value.Type, _ what: String) throws -> [(number: Int, value: Value)] {
        let decoder = JSONDecoder()
        var values: [(Int, Value)] = []
        for (number, line) in try data().split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            if line.isEmpty { continue }
            guard let value = try? decoder.decode(type, from: line) else {
                throw CommandFailure(.data, "line \(number + 1) of \(file ?? "standard input") is no \(what)")
            }
            values.append((number + 1, value))
        }
        return values
    }

    private func decodeLines(_ tokenizer: any Tokenizer) throws {
        let lists = try lines(of: [Int].self, "JSON array of ids")
        var output = Data()
        for (number, ids) in lists {
            if let wrong = ids.first(where: { !(0..<tokenizer.vocabularyCount).contains($0) }) {
                throw CommandFailure(
                    .data,
                    "line \(number) of \(file ?? "standard input"): \(wrong) is no id of this vocabulary; ids go from 0 to "
                        + "\(tokenizer.vocabularyCount - 1)")
            }
            output.append(contentsOf: Array((try Self.quoted(decoded(ids, tokenizer)) + "\n").utf8))
        }
        FileHandle.standardOutput.write(output)
    }

    private func encodeLines(_ tokenizer: any Tokenizer) throws {
        let texts = try lines(of: String.self, "JSON string").map(\.value)
        let clock = ContinuousClock()
        let start = clock.now
        let found = texts.map { tokenizer.encode($0, parseSpecial: special, addSpecial: !noBeginning) }
        if time {
            noteTime(
                clock.now - start, bytes: texts.reduce(0) { $0 + $1.utf8.count },
                tokens: found.reduce(0) { $0 + $1.count })
        }
        var output = Data()
        for ids in found {
            output.append(contentsOf: Array("[\(ids.map(String.init).joined(separator: ","))]\n".utf8))
        }
        FileHandle.standardOutput.write(output)
    }
}
