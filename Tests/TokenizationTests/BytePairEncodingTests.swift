import Testing

@testable import Tokenization

@Suite struct BytePairEncodingTests {
    private func encode(_ text: String, _ tokenizer: BytePairEncoding, special: Bool = false) -> [String] {
        tokenizer.encode(text, parseSpecial: special, addSpecial: false)
            .map { String(decoding: tokenizer.bytes(of: $0), as: UTF8.self) }
    }

    @Test func `merges follow rank, then position`() throws {
        let tokenizer = try BytePairEncoding(Vocabularies.small())
        #expect(encode("hello world", tokenizer) == ["hello", " world"])
        #expect(encode("llll hell", tokenizer) == ["ll", "ll", " ", "hell"])
        #expect(encode("lll", tokenizer) == ["ll", "l"])
    }

    /// As Hugging Face's tokenizers has it, and Falcon's vocabulary needs for planes 4 and up: F1 to F4 have no token there.
    @Test func `a byte without a token is left out before its neighbours are merged`() throws {
        var tokens = (0..<256).filter { $0 != 0x78 }.map { String(Character(ByteAlphabet.scalars[$0])) }
        tokens.append("ab")
        let tokenizer = try BytePairEncoding(
            TokenizerDescription(model: "gpt2", preTokenizer: "gpt-2", tokens: tokens, merges: ["a b"]))
        #expect(encode("axb", tokenizer) == ["ab"] && encode("xaxxbx", tokenizer) == ["ab"])
        #expect(encode("x", tokenizer).isEmpty && encode("xx x", tokenizer) == [" "])
        #expect(encode(String(repeating: "axb", count: 60), tokenizer) == [String](repeating: "ab", count: 60))
    }

    @Test func `decoding gives every text back`() throws {
        let tokenizer = try BytePairEncoding(Vocabularies.small())
        for text in ["", " ", "hello\u{0}world", "naïve ✓ 日本語 👩‍👩‍👧‍👦\r\n\t\u{2003}x", "<|im_end|>", "\u{10FFFF}"] {
            let ids = tokenizer.encode(text, parseSpecial: false, addSpecial: false)
            #expect(tokenizer.decode(ids, skipSpecial: false) == text)
        }
    }

    @Test func `text becomes a control token only when asked`() throws {
        let tokenizer = try BytePairEncoding(Vocabularies.small(preTokenizer: "llama-bpe", ignoresMerges: true))
        let text = "<|im_end|>control"
        let plain = tokenizer.encode(text, parseSpecial: false, addSpecial: false)
        #expect(plain.allSatisfy { !tokenizer.isControl($0) })
        #expect(tokenizer.decode(plain, skipSpecial: true) == text)
        #expect(tokenizer.encode(text, parseSpecial: true, addSpecial: false) == [267, 270])
        #expect(tokenizer.decode([267, 270], skipSpecial: true) == "")
        #expect(tokenizer.decode([267, 270], skipSpecial: false) == text)
    }

    @Test func `tokens added by hand are always found and the longest wins`() throws {
        let tokenizer = try BytePairEncoding(Vocabularies.small())
        #expect(encode("a@@@b", tokenizer) == ["a", "@@", "@", "b"])
        #expect(encode("<|im|><|im_end|>", tokenizer, special: true) == ["<|im|>", "<|im_end|>"])
    }

    @Test func `beginning and end tokens are added where asked`() throws {
        var description = Vocabularies.small()
        #expect(try BytePairEncoding(description).encode("12", parseSpecial: false, addSpecial: true).first != 268)
        description.addsBeginning = true
        description.addsEnd = true
        let ids = try BytePairEncoding(description).encode("hello", parseSpecial: false, addSpecial: true)
        #expect(ids.first == 268 && ids.last == 267 && ids.count == 3)
        description.addsBeginning = nil
        description.preTokenizer = "llama-bpe"
        #expect(try BytePairEncoding(description).addsBeginning)
    }

    @Test func `end of generation holds the end token and the known texts`() throws {
        var description = Vocabularies.small()
        description.special.endOfSequence = 5
        #expect(try BytePairEncoding(description).endOfGeneration == [5, 267])
    }

    @Test func `gpt-oss does not end at end`() {
        let texts = ["<|end|>", "<|return|>", "<|call|>", "x"]
        let tokens = texts.map { Array($0.utf8) }
        #expect(EndOfGeneration.ids(tokens: tokens, special: SpecialTokens()) == [1, 2])
        #expect(EndOfGeneration.ids(tokens: Array(tokens[..<1]), special: SpecialTokens()) == [0])
    }

    @Test func `a symbol that is no token is written byte by byte`() throws {
        var description = TokenizerDescription(
            model: "gpt2", preTokenizer: "gpt-2", tokens: ["a", "b", "abc"], merges: ["a b", "ab c", "b x"])
        var tokenizer = try BytePairEncoding(description)
        #expect(tokenizer.encode("ab abc c", parseSpecial: false, addSpecial: false) == [0, 1, 2])
        #expect(!tokenizer.warnings.isEmpty)
        description.merges = []
        tokenizer = try BytePairEncoding(description)
        #expect(tokenizer.encode("abc", parseSpecial: false, addSpecial: false) == [0, 1])
    }

    @Test func `a hostile vocabulary never traps`() throws {
        let tokens: [[UInt8]] = [
            [], [0xFF, 0xFE], Array("a".utf8), Array("a".utf8), Array("\u{144}".utf8), [0xC4],
            Array("<|x".utf8) + [0x80],
            [], Array("ab".utf8),
        ]
        let merges: [[UInt8]] = [
            [], [0x20], Array(" a".utf8), Array("a ".utf8), Array("a  b".utf8), Array("a b".utf8), Array("a b".utf8),
            Array("q zz".utf8), [0xFF, 0x20, 0xFF], Array("ab".utf8), Array("a b c".utf8),
        ]
        let kinds: [TokenKind] = [1, 1, 1, 1, 1, 1, 3, 4, 99].map { TokenKind(rawValue: $0) }
        let description = TokenizerDescription(
            model: "gpt2", preTokenizer: "smollm", tokens: tokens, kinds: kinds, merges: merges,
            special: SpecialTokens(beginningOfSequence: -1, endOfSequence: 9, unknown: .max),
            addsBeginning: true, addsEnd: true)
        let tokenizer = try BytePairEncoding(description)
        #expect(tokenizer.encode("abä<|x\u{FFFD}", parseSpecial: true, addSpecial: true) == [8])
        #expect(tokenizer.encode("a", parseSpecial: true, addSpecial: true) == [3])
        #expect(tokenizer.warnings.count == 6)
        for id in [-1, 9, .max, .min] {
            #expect(tokenizer.bytes(of: id).isEmpty && tokenizer.decode([id], skipSpecial: false) == "")
        }
        #expect(tokenizer.bytes(of: 1) == [0xFF, 0xFE])
    }

    @Test func `an unusable vocabulary is refused with a reason`() {
        func code(_ description: TokenizerDescription) -> TokenizationError.Code? {
            do { _ = try TokenizerCatalog.make(description) } catch { return (error as? TokenizationError)?.code }
            return nil
        }
        var description = Vocabularies.small()
        description.tokens = []
        #expect(code(description) == .invalidVocabulary)
        description = Vocabularies.small()
        description.kinds.removeLast()
        #expect(code(description) == .invalidVocabulary)
        description = Vocabularies.small(preTokenizer: "lama-bpe")
        #expect(code(description) == .unknownPreTokenizer)
        #expect { try TokenizerCatalog.make(description) } throws: {
            "\($0)".contains("nearest known names: llama-bpe")
        }
        description.model = "gpt3"
        #expect(code(description) == .unknownModel)
    }

    @Test func `calls from many threads agree`() async throws {
        let tokenizer = try BytePairEncoding(Vocabularies.small())
        let texts = (0..<200).map { "hello \($0) world \($0 * 7919) hell" }
        let alone = texts.map { tokenizer.encode($0, parseSpecial: false, addSpecial: false) }
        let together = await withTaskGroup(of: (Int, [Int]).self) { group in
            for (index, text) in texts.enumerated() {
                group.addTask { (index, tokenizer.encode(text, parseSpecial: false, addSpecial: false)) }
            }
            return await group.reduce(into: [[Int]](repeating: [], count: texts.count)) { $0[$1.0] = $1.1 }
        }
        #expect(alone == together)
    }

    @Test(.enabled(if: Vocabularies.folder != nil), arguments: ["gpt-2", "mpt", "qwen2"])
    func `published vectors are met`(_ name: String) throws {
        let folder = try #require(Vocabularies.folder)
        let tokenizer = try TokenizerCatalog.make(Vocabularies.description(of: name, in: folder))
        let cases = try Vocabularies.cases(of: name, in: folder)
        #expect(cases.count == 46)
        for (text, ids) in cases {
            #expect(tokenizer.encode(text, parseSpecial: false, addSpecial: false) == ids, "\(text.debugDescription)")
            #expect(tokenizer.decode(ids, skipSpecial: false) == text)
        }
    }
}
