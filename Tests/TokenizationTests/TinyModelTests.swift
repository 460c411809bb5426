import Fixtures
import Foundation
import GGUF
import Testing
import Tokenization
import TokenizerFiles

@Suite struct TinyModelTests {
    private struct Golden: Decodable {
        struct Case: Decodable {
            var text: String
            var ids: [Int]
        }
        var cases: [Case]
    }

    @Test func idsAreHuggingFaces() throws {
        let golden = try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: Fixtures.Golden.tinyTokenization))
        try #require(!golden.cases.isEmpty)
        let tokenizer = try GGUFTokenizer.make(from: GGUFFile(path: Fixtures.Models.tinyLlama.path))
        for known in golden.cases {
            #expect(
                tokenizer.encode(known.text, parseSpecial: true, addSpecial: false) == known.ids,
                "\(known.text.debugDescription)")
        }
    }
}
