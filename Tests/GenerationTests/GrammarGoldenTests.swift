import Fixtures
import Foundation
import Testing

@testable import Generation

/// Grammars and texts against llama.cpp's verdicts (`Tests/Oracles/grammars.py`).
@Suite struct GrammarGoldenTests {
    private struct Golden: Decodable {
        struct Entry: Decodable {
            let grammar: String
            let readable: Bool
            let texts: [Verdict]
        }
        /// `[text, accepted so far, may end here]`.
        struct Verdict: Decodable {
            let text: String
            let isPrefix, isWhole: Bool

            init(from decoder: any Decoder) throws {
                var list = try decoder.unkeyedContainer()
                text = try list.decode(String.self)
                isPrefix = try list.decode(Bool.self)
                isWhole = try list.decode(Bool.self)
            }
        }
        let grammars: [Entry]
    }

    @Test func `verdicts on texts are llama.cpp's`() throws {
        let golden = try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: Fixtures.url("Golden/grammars.json")))
        #expect(golden.grammars.count > 30)
        for entry in golden.grammars where entry.readable {
            let grammar = try Grammar(entry.grammar)
            for verdict in entry.texts {
                let found = try grammar.match(Array(verdict.text.utf8))
                #expect(
                    found.isPrefix == verdict.isPrefix && found.isWhole == verdict.isWhole,
                    "\(entry.grammar.prefix(60)): \(verdict.text)")
                #expect(try grammar.matches(verdict.text) == verdict.isWhole)
            }
        }
    }

    @Test func `what llama.cpp cannot read is refused with a sentence`() throws {
        let golden = try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: Fixtures.url("Golden/grammars.json")))
        // Wider than llama.cpp: an empty rule is a rule.
        let accepted = ["root ::= "]
        for entry in golden.grammars where !entry.readable && !accepted.contains(entry.grammar) {
            let error = #expect(throws: GrammarError.self, "\(entry.grammar)") { try Grammar(entry.grammar) }
            #expect((error?.message.count ?? 0) > 20, "\(entry.grammar)")
        }
    }
}
