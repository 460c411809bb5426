import Foundation
import Testing

/// `incipit tokenize` over lines, and grammars that name tokens.
@Suite("Tokens on the command line")
struct TokenizeCommandTests {
    @Test("lines of text become lines of ids, and these the text again")
    func lines() async throws {
        let machine = try Incipit()
        let texts = [
            "Hello", "  two\nlines \r\n", "é中😀e\u{301}", "<|im_start|>", "\u{FFFD}", "a\u{A0}\u{3000}b'LL 12345",
        ]
        func quoted(_ text: String) throws -> String {
            String(decoding: try JSONEncoder().encode(text), as: UTF8.self)
        }
        let input = try texts.map(quoted).joined(separator: "\n") + "\n"
        let ids = try await machine.run(["tokenize", TinyTask.model, "--json-lines", "--no-bos"], input: input)
        try #require(ids.status == 0, "\(ids.errors)")
        let back = try await machine.run(["tokenize", TinyTask.model, "--decode-lines"], input: ids.output)
        try #require(back.status == 0, "\(back.errors)")
        let lines = back.output.split(separator: "\n")
        try #require(lines.count == texts.count)
        for (line, text) in zip(lines, texts) {
            #expect(try JSONDecoder().decode(String.self, from: Data(line.utf8)) == text)
        }
    }

    @Test(
        "lines that are no ids are refused by number",
        arguments: [
            ("[1]\n[1, \"a\"]\n", "line 2 of standard input is no JSON array of ids"), ("nonsense\n", "line 1"),
            ("[1]\n\n[5, 99999999]\n", "line 3 of standard input: 99999999 is no id"), ("[-1]", "-1 is no id"),
        ])
    func wrongLines(input: String, says: String) async throws {
        let outcome = try await Incipit().run(["tokenize", TinyTask.model, "--decode-lines"], input: input)
        #expect(outcome.status == 65 && outcome.output.isEmpty)
        #expect(try #require(outcome.sentence).contains(says))
    }

    @Test("an answer takes the control tokens that its grammar names, and one that the model lacks is refused")
    func namedTokens() async throws {
        let machine = try Incipit()
        let gbnf = try machine.write("t.gbnf", Data("root ::= \"a\" <|im_start|> !<|im_start|> \"b\"".utf8))
        let outcome = try await machine.run(["run", TinyTask.model, "--grammar", gbnf, "--json", "--seed", "1", "The"])
        try #require(outcome.status == 0, "\(outcome.errors)")
        let result = try outcome.object()
        #expect(result["ending"] as? String == "grammar-complete" && result["generatedTokens"] as? Int == 4)
        let text = try #require(result["text"] as? String)
        #expect(text.hasPrefix("a") && text.hasSuffix("b"))
        let unknown = try machine.write("u.gbnf", Data("root ::= <nonsense>".utf8))
        let refused = try await machine.run(["run", TinyTask.model, "--grammar", unknown, "The"])
        #expect(refused.status == 65 && refused.output.isEmpty)
        #expect(try #require(refused.sentence).contains("no single token of this vocabulary"))
        let match = try await machine.run(["grammar", "--grammar", gbnf, "--match", "-"], input: "ab\n")
        #expect(match.status == 65)
        #expect(try #require(match.sentence).contains("names tokens"))
    }
}
