import Testing

@testable import Tokenization

@Suite struct SentencePieceBPETests {
    private func small() -> TokenizerDescription {
        var texts = ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a", "▁ab", "ba"]
        var kinds: [TokenKind] = [.unknown, .control, .control] + [TokenKind](repeating: .normal, count: 7)
        var scores: [Float] = [0, 0, 0, -9, -9, -9, -2, -3, -1, -2]
        for byte in 0..<256 {
            let digits = String(byte, radix: 16, uppercase: true)
            texts.append("<0x\(digits.count == 1 ? "0" : "")\(digits)>")
            kinds.append(.byte)
            scores.append(0)
        }
        return TokenizerDescription(model: "llama", tokens: texts.map { Array($0.utf8) }, kinds: kinds, scores: scores)
    }

    @Test func `the best score is joined first, of equals the leftmost`() throws {
        let tokenizer = try TokenizerCatalog.make(small())
        #expect(tokenizer.encode("ab", parseSpecial: false, addSpecial: true) == [1, 8])
        #expect(tokenizer.encode("bab", parseSpecial: false, addSpecial: false) == [3, 9, 5])
    }

    @Test func `unknown characters become bytes and come back`() throws {
        let tokenizer = try TokenizerCatalog.make(small())
        for text in ["é a\n<0x0A></s>", "", " a", "日本 b"] {
            let ids = tokenizer.encode(text, parseSpecial: false, addSpecial: true)
            #expect(tokenizer.decode(ids, skipSpecial: true) == text)
            #expect(!ids.contains(2))
        }
        #expect(tokenizer.encode("a</s>", parseSpecial: true, addSpecial: false) == [7, 2])
    }

    @Test func `a vocabulary without scores is refused, one without bytes uses the unknown token`() throws {
        var description = small()
        description.scores = []
        #expect(throws: TokenizationError.self) { try SentencePieceBPE(description) }
        description = small()
        description.tokens.removeLast(256)
        description.kinds.removeLast(256)
        description.scores.removeLast(256)
        #expect(try SentencePieceBPE(description).encode("ax", parseSpecial: false, addSpecial: false) == [7, 0])
    }

    @Test(.enabled(if: Vocabularies.folder != nil))
    func `published vectors are met`() throws {
        let folder = try #require(Vocabularies.folder)
        let tokenizer = try TokenizerCatalog.make(Vocabularies.description(of: "phi-3", in: folder))
        let cases = try Vocabularies.cases(of: "phi-3", in: folder)
        #expect(cases.count == 46)
        for (text, ids) in cases {
            #expect(tokenizer.encode(text, parseSpecial: false, addSpecial: false) == ids, "\(text.debugDescription)")
        }
    }
}
