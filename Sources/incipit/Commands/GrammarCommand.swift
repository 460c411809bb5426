import ArgumentParser
import Foundation
import Generation

struct GrammarCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grammar", abstract: "Check a grammar or a JSON schema, and texts against it.",
        discussion: """
            Prints the grammar in GBNF as `run --grammar` and `run --json-schema` will follow it, or says for each line of a \
            file whether it obeys the grammar.

              incipit grammar --json-schema person.json
              incipit grammar --grammar list.gbnf --match answers.txt

            \(Self.notes)
            """)

    private static let notes = """
        A GBNF grammar may name tokens, <think>, <[1000]> or any but one, !</think>: that is how control tokens come into an \
        answer. Whether the model has them is checked when the grammar is used; texts have no tokens, so --match refuses \
        such a grammar.

        Of JSON Schema, what can be expressed is: type, enum, const, properties, required, additionalProperties, items, \
        prefixItems, minItems, maxItems, minLength, maxLength, pattern, format, minimum, maximum and their exclusive forms, \
        $ref within the document, anyOf, oneOf, allOf. Other keywords that restrict values are errors.
        """

    @OptionGroup var grammar: GrammarOptions
    @Option(help: "Check each line of this file; “-” is standard input.", completion: .file()) var match: String?
    @Flag(help: "Each line of --match is a JSON string, so that texts may have several lines.") var jsonLines = false

    func validate() throws {
        if grammar.grammar == nil, grammar.jsonSchema == nil {
            throw ValidationError("Name a grammar with --grammar or --json-schema.")
        }
        if jsonLines, match == nil { throw ValidationError("--json-lines needs --match.") }
    }

    func run() throws {
        guard let grammar = try grammar.load() else { return }
        guard let match else { return Output.stream(grammar.text.hasSuffix("\n") ? grammar.text : grammar.text + "\n") }
        for (number, line) in try TextFile.read(match).split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            if line.isEmpty, number > 0 { continue }
            var text = String(line)
            if jsonLines {
                guard let decoded = try? JSONDecoder().decode(String.self, from: Data(line.utf8)) else {
                    throw CommandFailure(.data, "line \(number + 1) of \(match) is no JSON string")
                }
                text = decoded
            }
            Output.line(try grammar.matches(text) ? "yes" : "no")
        }
    }
}
