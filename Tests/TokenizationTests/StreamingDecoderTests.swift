import Testing

@testable import Tokenization

@Suite struct StreamingDecoderTests {
    /// One token for each byte.
    private func tokenizer() throws -> BytePairEncoding {
        try BytePairEncoding(
            TokenizerDescription(
                model: "gpt2", preTokenizer: "gpt-2", tokens: ByteAlphabet.scalars.map { String(Character($0)) }))
    }

    @Test func `a character comes out when its last byte is in`() throws {
        var decoder = StreamingDecoder(tokenizer: try tokenizer(), skipSpecial: true)
        let pieces = Array("é€😀".utf8).map { decoder.append(Int($0)) }
        #expect(pieces == ["", "é", "", "", "€", "", "", "", "😀"])
        #expect(decoder.finish() == "")
    }

    @Test func `what cannot become a character is replaced at once, what could, at the end`() throws {
        var decoder = StreamingDecoder(tokenizer: try tokenizer(), skipSpecial: true)
        #expect(decoder.append(0x80) == "\u{FFFD}")
        #expect(decoder.append(0xE2) == "")
        #expect(decoder.append(0x41) == "\u{FFFD}A")
        #expect(decoder.append(0xF0) == "" && decoder.append(0x9F) == "")
        #expect(decoder.finish() == "\u{FFFD}")
        #expect(decoder.append(0x42) == "B")
    }

    @Test func `any bytes stream to the text that they make at once`() throws {
        let tokenizer = try tokenizer()
        let leads: [UInt8] = [0x41, 0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xE1, 0xED, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF]
        for a in leads {
            for b in leads {
                for c in leads {
                    for d in [0x41, 0x80, 0xE2] as [UInt8] {
                        let bytes = [a, b, c, d]
                        #expect(
                            tokenizer.decode(bytes.map(Int.init), skipSpecial: true)
                                == String(decoding: bytes, as: UTF8.self))
                    }
                }
            }
        }
    }
}
