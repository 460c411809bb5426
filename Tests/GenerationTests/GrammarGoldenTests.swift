import Fixtures
import Foundation
import GGUF
import Testing
import TokenizerFiles

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
        /// A grammar that names tokens, and `[ids, accepted so far, may end here]`.
        struct TokenEntry: Decodable {
            let grammar: String
            let readable: Bool
            let lists: [TokenVerdict]
        }
        struct TokenVerdict: Decodable {
            let ids: [Int]
            let isPrefix, isWhole: Bool

            init(from decoder: any Decoder) throws {
                var list = try decoder.unkeyedContainer()
                ids = try list.decode([Int].self)
                isPrefix = try list.decode(Bool.self)
                isWhole = try list.decode(Bool.self)
            }
        }
        let grammars: [Entry]
        let tokens: [TokenEntry]
    }

    /// `INCIPIT_GRAMMAR_GOLDEN` names another file than the one in Fixtures.
    private static func load() throws -> Golden {
        let path = ProcessInfo.processInfo.environment["INCIPIT_GRAMMAR_GOLDEN"]
        return try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: path.map { URL(filePath: $0) } ?? Fixtures.url("Golden/grammars.json")))
    }

    @Test func `verdicts on lists of tokens are llama.cpp's`() throws {
        let vocabulary = GrammarVocabulary(
            try GGUFTokenizer.make(from: GGUFFile(path: Fixtures.Models.tinyLlama.path)))
        for entry in try Self.load().tokens {
            guard entry.readable else {
                #expect(throws: GrammarError.self, "\(entry.grammar)") {
                    try GrammarConstraint(Grammar(entry.grammar), vocabulary: vocabulary)
                }
                continue
            }
            let grammar = try Grammar(entry.grammar)
            for verdict in entry.lists {
                var constraint = try GrammarConstraint(grammar, vocabulary: vocabulary)
                for id in verdict.ids where constraint.failure == nil {
                    let mask = constraint.allowedTokens(count: vocabulary.count) ?? []
                    let isInMask = !mask.isEmpty && mask[id >> 6] >> (UInt64(id) & 63) & 1 != 0
                    #expect(isInMask == constraint.allows(id), "\(entry.grammar): \(id) of \(verdict.ids)")
                    constraint.accept(id)
                }
                let isPrefix = constraint.failure == nil
                #expect(isPrefix == verdict.isPrefix, "\(entry.grammar): \(verdict.ids)")
                #expect(
                    (isPrefix && (constraint.isAccepting || constraint.isComplete)) == verdict.isWhole,
                    "\(entry.grammar): \(verdict.ids)")
            }
        }
    }

    @Test func `verdicts on texts are llama.cpp's`() throws {
        let golden = try Self.load()
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
        let golden = try Self.load()
        // Wider than llama.cpp: an empty rule is a rule.
        let accepted = ["root ::= "]
        for entry in golden.grammars where !entry.readable && !accepted.contains(entry.grammar) {
            let error = #expect(throws: GrammarError.self, "\(entry.grammar)") { try Grammar(entry.grammar) }
            #expect((error?.message.count ?? 0) > 20, "\(entry.grammar)")
        }
    }
}
