import ArgumentParser
import ByteIO
import Foundation
import Generation
import Tokenization

/// What the answer must look like.
struct GrammarOptions: ParsableArguments {
    @Option(help: "GBNF file that the answer must obey.", completion: .file(extensions: ["gbnf"])) var grammar: String?
    @Option(help: "JSON schema that the answer must obey: a file, or the schema itself.", completion: .file())
    var jsonSchema: String?

    func validate() throws {
        if grammar != nil, jsonSchema != nil {
            throw ValidationError("--grammar and --json-schema exclude each other: one answer obeys one grammar.")
        }
    }

    /// Reads the grammar, if one is named.
    ///
    /// - Throws: `GrammarError` naming the file, `CommandFailure` when it cannot be read.
    func load() throws -> Grammar? {
        if let grammar {
            let text = try TextFile.read(grammar)
            do { return try Grammar(text) } catch { throw GrammarError(error.code, "\(grammar): \(error.message)") }
        }
        guard let jsonSchema else { return nil }
        let isText = jsonSchema.first.map { "{[\"tf".contains($0) } ?? false
        let isInline = isText && !FileManager.default.fileExists(atPath: jsonSchema)
        let name = isInline ? "--json-schema" : jsonSchema
        let bytes = Array((isInline ? jsonSchema : try TextFile.read(jsonSchema)).utf8)
        let schema: JSONValue
        do { schema = try JSONValue.parse(bytes) } catch {
            throw GrammarError(.schema, "\(name): \(error)")
        }
        do { return try Grammar(jsonSchema: schema) } catch {
            throw GrammarError(error.code, "\(name): \(error.message)")
        }
    }

    /// The grammar, ready to bind a model's answers.
    func constraint(_ tokenizer: any Tokenizer) throws -> GrammarConstraint? {
        try load().map { try GrammarConstraint($0, vocabulary: GrammarVocabulary(tokenizer)) }
    }
}

/// Text files that users name.
enum TextFile {
    /// The whole file; `-` is standard input.
    static func read(_ path: String) throws -> String {
        let data: Data
        if path == "-" {
            data = FileHandle.standardInput.readDataToEndOfFile()
        } else {
            // Pipes and devices too, which reading by URL refuses.
            guard let handle = FileHandle(forReadingAtPath: path) else {
                throw CommandFailure(.notFound, "cannot read \(path): \(String(cString: strerror(errno)))")
            }
            do { data = try handle.readToEnd() ?? Data() } catch {
                throw CommandFailure(.notFound, "cannot read \(path): \(error.localizedDescription)")
            }
        }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandFailure(
                .data, "\(path == "-" ? "standard input" : path) is not UTF-8 text; convert it first (iconv)")
        }
        return text
    }
}
