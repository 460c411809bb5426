import Fixtures
import Foundation
import GGUF
import Kernels
import LanguageModels
import Testing
import Tokenization
import TokenizerFiles

@testable import Generation

@Suite struct GrammarTests {
    private func tokenizer() throws -> any Tokenizer {
        try GGUFTokenizer.make(from: GGUFFile(path: Fixtures.Models.tinyLlama.path))
    }

    private func bits(_ mask: [UInt64]?) -> Set<Int> {
        var result: Set<Int> = []
        for (word, value) in (mask ?? []).enumerated() {
            for bit in 0..<64 where value >> UInt64(bit) & 1 != 0 { result.insert(word * 64 + bit) }
        }
        return result
    }

    @Test func `the mask is what each token alone would say`() throws {
        let tokenizer = try tokenizer()
        let vocabulary = GrammarVocabulary(tokenizer)
        let grammars = [
            #"root ::= "a" [a-z ]* "." "#, #"root ::= [^a]*"#, #"root ::= "é" | "\u4e2d" | "e""#,
            #"root ::= ("the " | "The ") [a-z]{2,5}"#, "root ::= .*",
        ]
        for text in grammars {
            let grammar = try Grammar(text)
            var constraint = try GrammarConstraint(grammar, vocabulary: vocabulary)
            var written: [UInt8] = []
            for step in 0..<6 {
                let allowed = bits(constraint.allowedTokens(count: tokenizer.vocabularyCount))
                if allowed.isEmpty { break }
                for id in 0..<tokenizer.vocabularyCount {
                    let bytes = tokenizer.bytes(of: id)
                    let isText = !tokenizer.isControl(id) && !bytes.isEmpty
                    let goesOn = try grammar.match(written + bytes).isPrefix
                    let mayEnd = try grammar.match(written).isWhole
                    let expected = tokenizer.endOfGeneration.contains(id) ? mayEnd : isText && goesOn
                    #expect(allowed.contains(id) == expected, "\(text): token \(id) at step \(step)")
                    #expect(constraint.allows(id) == expected, "\(text): token \(id) at step \(step)")
                }
                let texts = allowed.filter { !tokenizer.endOfGeneration.contains($0) }.sorted()
                guard !texts.isEmpty else { break }
                let next = texts[(step * 7919 + 13) % texts.count]
                constraint.accept(next)
                written += tokenizer.bytes(of: next)
            }
        }
    }

    @Test func `control tokens never match, however they are spelled`() throws {
        let tokenizer = try tokenizer()
        let grammar = try Grammar(#"root ::= "<|im_start|>""#)
        var constraint = try GrammarConstraint(grammar, vocabulary: GrammarVocabulary(tokenizer))
        let control = try #require(tokenizer.id(ofSpecial: "<|im_start|>"))
        #expect(!constraint.allows(control))
        for token in tokenizer.encode("<|im_start|>", parseSpecial: false, addSpecial: false) {
            #expect(constraint.allows(token))
            constraint.accept(token)
        }
        #expect(constraint.isComplete && constraint.failure == nil)
    }

    @Test func `copies go on separately`() throws {
        let tokenizer = try tokenizer()
        var first = try GrammarConstraint(
            Grammar(#"root ::= "a" "b" | "b" "a""#), vocabulary: GrammarVocabulary(tokenizer))
        func id(_ text: String) throws -> Int {
            try #require(tokenizer.encode(text, parseSpecial: false, addSpecial: false).first)
        }
        var second = first
        first.accept(try id("a"))
        second.accept(try id("b"))
        #expect(try first.allows(id("b")) && !second.allows(id("b")))
        #expect(try second.allows(id("a")) && !first.allows(id("a")))
    }

    @Test(arguments: [0, 1.5] as [Float])
    func `a model's answer obeys its grammar`(temperature: Float) throws {
        let loaded = try ModelLoader.load(path: Fixtures.Models.tinyLlama.path, pool: ThreadPool(threadCount: 1))
        let vocabulary = GrammarVocabulary(loaded.tokenizer)
        let grammars = [
            #"root ::= [0-9]{3} "-" [0-9]{4}"#, #"root ::= "yes" | "no" | "perhaps""#,
            #"root ::= "é" [\u4e00-\u4e10]{2} "😀""#, #"root ::= ("a" | "b")+ "." "#,
        ]
        for text in grammars {
            let grammar = try Grammar(text)
            for seed in 0..<4 as Range<UInt64> {
                let settings = SamplerSettings(
                    temperature: temperature, topK: 0, topP: 1, minP: 0, seed: seed)
                let result = try Generator(session: Session(model: loaded.model), tokenizer: loaded.tokenizer).generate(
                    "The", settings: settings, maximumTokens: 200,
                    grammar: GrammarConstraint(grammar, vocabulary: vocabulary))
                if result.ending == .length {
                    #expect(try grammar.match(Array(result.text.utf8)).isPrefix)
                } else {
                    #expect(try grammar.matches(result.text), "\(text): \(result.text)")
                }
            }
        }
    }

    @Test func `what no text can complete is refused or left out`() throws {
        #expect(throws: GrammarError.self) { try Grammar("root ::= endless\nendless ::= \"x\" endless") }
        #expect(throws: GrammarError.self) { try Grammar("root ::= a\na ::= a") }
        let half = try Grammar("root ::= \"a\" | \"b\" endless\nendless ::= \"x\" endless")
        #expect(try half.matches("a") && !half.match(Array("b".utf8)).isPrefix)
    }

    @Test func `a token that breaks the grammar is a failure that stays`() throws {
        let tokenizer = try tokenizer()
        var constraint = try GrammarConstraint(Grammar("root ::= \"ab\""), vocabulary: GrammarVocabulary(tokenizer))
        let end = try #require(tokenizer.endOfGeneration.min())
        #expect(!constraint.allows(end))
        constraint.accept(end)
        #expect(constraint.failure?.code == .noToken)
        #expect(constraint.allowedTokens(count: tokenizer.vocabularyCount) == nil && constraint.isComplete)
    }

    @Test func `hostile grammars are refused or bounded`() throws {
        // Nesting of parentheses, repetitions of repetitions, ambiguity, and texts deeper than any stack.
        let deep = "root ::= " + String(repeating: "(", count: 5000) + "\"a\"" + String(repeating: ")", count: 5000)
        #expect(throws: GrammarError.self) { try Grammar(deep) }
        #expect(throws: GrammarError.self) { try Grammar("root ::= \"a\"{99999999999999999999}") }
        let long = "root ::= " + String(repeating: "\"a\"{9999} ", count: 101)
        #expect(throws: GrammarError.self) { try Grammar(long) }
        let nested = try Grammar("root ::= \"(\" root \")\" | \"x\"")
        #expect(try nested.matches(String(repeating: "(", count: 500) + "x" + String(repeating: ")", count: 500)))
        #expect(try !nested.matches(String(repeating: "(", count: 100_000)))
        // (a*)* and the like: loops that read nothing end.
        let loops = try Grammar("root ::= ((\"a\"*)* (\"b\"?)*)* \"c\"")
        #expect(try loops.matches("aabbabc") && !loops.matches("aab"))
        let ambiguous = try Grammar(
            "root ::= s\ns ::= \"a\" s s | \"a\" s | \"a\"")
        do {
            _ = try ambiguous.matches(String(repeating: "a", count: 3000))
        } catch { #expect(error.code == .limit) }
    }

    @Test func `arbitrary bytes as a grammar end in a grammar or an error`() throws {
        var random = RandomGenerator(seed: 5)
        let pieces = [
            "root", " ::= ", "\"a\"", "[a-z]", "(", ")", "*", "+", "?", "{2,3}", "|", "\n", "\\", "\"", "[", "]", "é",
            "#", "{", "1",
            "b", ".", "^", "-", "\u{0}", "b ::= \"x\"", "<a>", "<[7]>", "!", "<",
        ]
        var readable = 0
        for _ in 0..<3000 {
            var text = random.next() % 2 == 0 ? "root ::= " : ""
            for _ in 0..<random.next() % 12 { text += pieces[Int(random.next() % UInt64(pieces.count))] }
            guard let grammar = try? Grammar(text) else { continue }
            readable += 1
            for sample in ["", "a", "aab", "x", "(", "é"] { _ = try? grammar.match(Array(sample.utf8)) }
        }
        #expect(readable > 50)
    }

    @Test func `an automaton that grows large begins anew and goes on`() throws {
        let grammar = try Grammar("root ::= item*\nitem ::= [a-z]{1,40} \" \"")
        var states = GrammarStates(grammar.program)
        var state = try states.start()
        for byte in "some words here ".utf8 { state = try states.step(state, byte) }
        var (fresh, place) = states.renewed(keeping: state)
        #expect(fresh.isAccepting(place) == states.isAccepting(state))
        for byte in "and more ".utf8 {
            state = try states.step(state, byte)
            place = try fresh.step(place, byte)
            #expect(fresh.isAccepting(place) == states.isAccepting(state))
        }
        #expect(fresh.count < states.count)
    }

    // MARK: - Tokens

    @Test func `a grammar can name tokens, control tokens among them`() throws {
        let tokenizer = try tokenizer()
        let vocabulary = GrammarVocabulary(tokenizer)
        let start = try #require(tokenizer.id(ofSpecial: "<|im_start|>"))
        func ids(_ text: String) -> [Int] { tokenizer.encode(text, parseSpecial: false, addSpecial: false) }
        var constraint = try GrammarConstraint(
            Grammar("root ::= <|im_start|> \"a\" <[\(start)]>"), vocabulary: vocabulary)
        #expect(bits(constraint.allowedTokens(count: tokenizer.vocabularyCount)) == [start])
        #expect(constraint.allows(start) && !constraint.allows(ids("<")[0]))
        for id in [start] + ids("a") {
            #expect(constraint.allows(id))
            constraint.accept(id)
        }
        #expect(bits(constraint.allowedTokens(count: tokenizer.vocabularyCount)) == [start])
        constraint.accept(start)
        #expect(constraint.isComplete && constraint.failure == nil)
    }

    @Test func `any token but one leaves out that one and those that end an answer`() throws {
        let tokenizer = try tokenizer()
        let start = try #require(tokenizer.id(ofSpecial: "<|im_start|>"))
        var constraint = try GrammarConstraint(
            Grammar("root ::= !<|im_start|>{2} <|im_start|>"), vocabulary: GrammarVocabulary(tokenizer))
        for _ in 0..<2 {
            let allowed = bits(constraint.allowedTokens(count: tokenizer.vocabularyCount))
            for id in 0..<tokenizer.vocabularyCount {
                let expected =
                    id != start && !tokenizer.endOfGeneration.contains(id) && !tokenizer.bytes(of: id).isEmpty
                #expect(allowed.contains(id) == expected && constraint.allows(id) == expected, "token \(id)")
            }
            constraint.accept(try #require(allowed.max()))
        }
        #expect(bits(constraint.allowedTokens(count: tokenizer.vocabularyCount)) == [start])
    }

    @Test func `where a token and text may follow, both are followed`() throws {
        let tokenizer = try tokenizer()
        let letter = try #require(tokenizer.encode("a", parseSpecial: false, addSpecial: false).first)
        let other = try #require(tokenizer.encode("b", parseSpecial: false, addSpecial: false).first)
        var constraint = try GrammarConstraint(
            Grammar("root ::= \"a\" \"!\" | <[\(letter)]> \"?\" | !<[\(letter)]> \".\""),
            vocabulary: GrammarVocabulary(tokenizer))
        var second = constraint
        constraint.accept(letter)
        second.accept(other)
        func allows(_ constraint: GrammarConstraint, _ text: String) -> Bool {
            tokenizer.encode(text, parseSpecial: false, addSpecial: false).first.map(constraint.allows) ?? false
        }
        #expect(allows(constraint, "!") && allows(constraint, "?") && !allows(constraint, "."))
        #expect(!allows(second, "!") && !allows(second, "?") && allows(second, "."))
    }

    @Test(arguments: [
        ("root ::= <nonsense>", "no single token"), ("root ::= <[999999]>", "ids end at"),
        ("root ::= <|im_end|>", "ends the answer"),
    ])
    func `a token that the vocabulary lacks, or that ends the answer, is refused`(text: String, says: String) throws {
        let vocabulary = GrammarVocabulary(try tokenizer())
        let grammar = try Grammar(text)
        let error = #expect(throws: GrammarError.self) { try GrammarConstraint(grammar, vocabulary: vocabulary) }
        #expect(error?.message.contains(says) == true)
        #expect(error?.code == .rules)
    }

    @Test(arguments: [
        "root ::= <", "root ::= <>", "root ::= <[]>", "root ::= <[x]>", "root ::= <[5 ]>", "root ::= <[5]",
        "root ::= !",
        "root ::= ! <[5]>", "root ::= !\"a\"", "root ::= <think\n",
    ])
    func `a malformed token is refused where it stands`(text: String) {
        let error = #expect(throws: GrammarError.self) { try Grammar(text) }
        #expect(error?.code == .syntax && error?.message.contains("line 1") == true)
    }

    @Test func `a text cannot be checked by a grammar of tokens`() throws {
        let grammar = try Grammar("root ::= <think> \"a\"")
        let error = #expect(throws: GrammarError.self) { try grammar.matches("<think>a") }
        #expect(error?.code == .unsupported)
    }
}
