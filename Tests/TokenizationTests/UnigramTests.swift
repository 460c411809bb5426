import Testing

@testable import Tokenization

@Suite struct UnigramTests {
    private func small() -> TokenizerDescription {
        let texts = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "ab", "▁a", "▁ab", "ba", "<x>"]
        let kinds: [TokenKind] =
            [.control, .control, .unknown] + [TokenKind](repeating: .normal, count: 7) + [.userDefined]
        let scores: [Float] = [0, 0, 0, -3, -4, -4, -5, -6, -9, -4.5, 0]
        return TokenizerDescription(model: "t5", tokens: texts.map { Array($0.utf8) }, kinds: kinds, scores: scores)
    }

    private func encode(_ text: String, _ description: TokenizerDescription) throws -> [Int] {
        try TokenizerCatalog.make(description).encode(text, parseSpecial: false, addSpecial: false)
    }

    @Test func `the cut with the highest sum wins`() throws {
        #expect(try encode("ab", small()) == [3, 6])  // -3 -5 = -8, better than ▁ab at -9
        #expect(try encode("aba", small()) == [7, 9])  // -6 -4.5, better than ▁ ab a at -12
    }

    @Test func `unknown neighbours are one token, tokens added by hand are kept, the end is added`() throws {
        #expect(try encode("zzqa", small()) == [3, 2, 4])
        #expect(try encode("a<x>b", small()) == [7, 10, 3, 5])
        let tokenizer = try TokenizerCatalog.make(small())
        #expect(tokenizer.encode("a", parseSpecial: false, addSpecial: true) == [7, 1])
        #expect(tokenizer.encode("", parseSpecial: false, addSpecial: true) == [1])
        #expect(tokenizer.decode([7, 5], skipSpecial: true) == "ab")
    }

    @Test func `extra blanks go where the file says so`() throws {
        var description = small()
        #expect(try encode("a  a", description) == [7, 3, 7])
        description.removesExtraSpaces = true
        #expect(try encode("  a  a ", description) == [7, 7])
        #expect(try encode("   ", description) == [])
    }

    /// A double array with one rule: `A` becomes `a`.
    private func map(value: UInt32 = 0, offset: UInt32 = 0) -> [UInt8] {
        var units = [UInt32](repeating: 0, count: 256)
        units[0x41] = 0x41 | 0x100 | (1 << 10) | offset  // label A, has a value, which lies at 0x41 ^ 1
        units[0x40] = 0x8000_0000 | value
        var bytes: [UInt8] = []
        for word in [1024] + units { for shift in [0, 8, 16, 24] { bytes.append(UInt8(word >> UInt32(shift) & 255)) } }
        return bytes + Array("a\0".utf8)
    }

    @Test func `the character map replaces, and a damaged one is refused`() throws {
        var description = small()
        description.characterMap = map()
        #expect(try encode("Ab", description) == [3, 6])
        var short = map()
        short[1] = 0xFF
        let damaged: [[UInt8]] = [
            [1], [4, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0], map(value: 2), map(offset: 0x7FFF_0000), Array(map().dropLast()),
            short,
        ]
        for bytes in damaged {
            description.characterMap = bytes
            #expect { try Unigram(description) } throws: { ($0 as? TokenizationError)?.field == "characterMap" }
        }
        description.characterMap = [0, 0, 0, 0]
        #expect(try encode("Ab", description) == [3, 2, 5])
    }
}

@Suite struct WordPieceTests {
    private func small() -> TokenizerDescription {
        let texts = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁hel", "lo", "▁!", "▁中", "▁e", "▁'", "▁it", "▁s"]
        let kinds: [TokenKind] = [.control, .unknown, .control, .control] + [TokenKind](repeating: .normal, count: 8)
        return TokenizerDescription(model: "bert", tokens: texts.map { Array($0.utf8) }, kinds: kinds)
    }

    @Test func `words are cut into the longest tokens, punctuation and Chinese apart`() throws {
        let tokenizer = try TokenizerCatalog.make(small())
        func ids(_ text: String) -> [Int] { tokenizer.encode(text, parseSpecial: false, addSpecial: false) }
        #expect(ids("HELLO! It's É中\u{0}") == [4, 5, 6, 10, 9, 11, 8, 7])
        #expect(ids("helx \u{FFFD} hel") == [1, 4])
        #expect(ids(String(repeating: "hel", count: 34)) == [1])
        #expect(tokenizer.encode("hello", parseSpecial: false, addSpecial: true) == [2, 4, 5, 3])
        #expect(tokenizer.decode([4, 5, 6], skipSpecial: true) == "hello !")
        #expect(tokenizer.decodeCleanedUp([4, 5, 6], skipSpecial: true) == "hello!")
        #expect(tokenizer.decode([2, 4, 5, 1, 3], skipSpecial: false) == "[CLS] hello [UNK] [SEP]")
        #expect(tokenizer.decode([2, 4, 5, 1, 3], skipSpecial: true) == "hello")
    }
}

@Suite struct RawTextMergesTests {
    @Test func `Gemma 4 merges characters, writes blanks as marks and falls back to bytes`() throws {
        var texts = ["<unk>", "<bos>", "▁", "a", "é", "▁a", "aé", "\n"]
        var kinds: [TokenKind] = [.unknown, .control] + [TokenKind](repeating: .normal, count: 6)
        for byte in 0..<256 {
            let digits = String(byte, radix: 16, uppercase: true)
            texts.append("<0x\(digits.count == 1 ? "0" : "")\(digits)>")
            kinds.append(.byte)
        }
        let description = TokenizerDescription(model: "gemma4", tokens: texts, kinds: kinds, merges: ["a é", "▁ a"])
        let tokenizer = try TokenizerCatalog.make(description)
        let ids = tokenizer.encode("aé a\n▁aß", parseSpecial: false, addSpecial: false)
        #expect(ids == [6, 5, 7, 5, 8 + 0xC3, 8 + 0x9F])
        #expect(tokenizer.decode(ids, skipSpecial: true) == "aé a\n aß")
        var damaged = description
        damaged.tokens[8] = Array("<0xZZ>".utf8)
        #expect { try TokenizerCatalog.make(damaged) } throws: { "\($0)".contains("<0xZZ>") }
    }

    @Test func `a file without a tokenizer and unknown kinds are refused by name`() {
        for (model, code) in [("none", TokenizationError.Code.noTokenizer), ("rwkv", .unknownModel)] {
            #expect { try TokenizerCatalog.make(TokenizerDescription(model: model, tokens: ["a"])) } throws: {
                ($0 as? TokenizationError)?.code == code && "\($0)".contains(model)
            }
        }
    }
}
