import Foundation

@testable import Tokenization

/// Vocabularies for tests: a small one made here, and the published ones if they lie beside the package.
enum Vocabularies {
    /// All bytes, some words, a control token, a token added by hand.
    static func small(preTokenizer: String = "gpt-2", ignoresMerges: Bool? = nil) -> TokenizerDescription {
        var tokens = ByteAlphabet.scalars.map { String(Character($0)) }
        let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "1 2", "12 3"]
        tokens += merges.map { $0.replacing(" ", with: "") }
        var kinds = [TokenKind](repeating: .normal, count: tokens.count)
        tokens += ["<|im_end|>", "<|im|>", "@@", "control"]
        kinds += [.control, .control, .userDefined, .control]
        var description = TokenizerDescription(
            model: "gpt2", preTokenizer: preTokenizer, tokens: tokens, kinds: kinds, merges: merges,
            special: SpecialTokens(beginningOfSequence: 268, endOfSequence: 267))
        description.ignoresMerges = ignoresMerges
        return description
    }

    /// The folder of published vocabularies, if this machine has it.
    static let folder: URL? = {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        for candidate in ["../shared/vectors/tokenizers", "../../shared/vectors/tokenizers"] {
            let url = root.appendingPathComponent(candidate).standardizedFileURL
            if FileManager.default.fileExists(atPath: url.path) { return url }
        }
        return nil
    }()

    static func description(of name: String, in folder: URL) throws -> TokenizerDescription {
        var reader = VocabularyReader(
            data: try Data(contentsOf: folder.appendingPathComponent("ggml-vocab-\(name).gguf")))
        return reader.description()
    }

    static func cases(of name: String, in folder: URL) throws -> [(text: String, ids: [Int])] {
        let base = folder.appendingPathComponent("ggml-vocab-\(name).gguf").path
        var texts = try String(contentsOfFile: base + ".inp", encoding: .utf8)
            .components(separatedBy: "\n__ggml_vocab_test__\n")
        if texts.last?.isEmpty == true { texts.removeLast() }
        var lines = try String(contentsOfFile: base + ".out", encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return zip(texts, lines).map { ($0, $1.split(separator: " ").compactMap { Int($0) }) }
    }
}

/// Reads the tokenizer out of a well-formed GGUF file. Only for test data: this target has no GGUF module.
private struct VocabularyReader {
    let data: Data
    var offset = 0

    mutating func number(_ bytes: Int) -> Int {
        defer { offset += bytes }
        return data[offset..<offset + bytes].reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    mutating func string() -> [UInt8] {
        let count = number(8)
        defer { offset += count }
        return [UInt8](data[offset..<offset + count])
    }

    mutating func description() -> TokenizerDescription {
        offset = 16
        var result = TokenizerDescription(model: "", tokens: [[UInt8]]())
        for _ in 0..<number(8) {
            let key = String(decoding: string(), as: UTF8.self).replacing("tokenizer.ggml.", with: "")
            var type = number(4)
            var count = 1
            if type == 9 {
                type = number(4)
                count = number(8)
            }
            if type == 8 {
                let strings = (0..<count).map { _ in string() }
                switch key {
                case "model": result.model = String(decoding: strings[0], as: UTF8.self)
                case "pre": result.preTokenizer = String(decoding: strings[0], as: UTF8.self)
                case "tokens": result.tokens = strings
                case "merges": result.merges = strings
                default: break
                }
                continue
            }
            let width = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][type]
            let numbers = (0..<count).map { _ in number(width) }
            switch key {
            case "token_type": result.kinds = numbers.map { TokenKind(rawValue: Int32($0)) }
            case "scores": result.scores = numbers.map { Float(bitPattern: UInt32($0)) }
            case "bos_token_id": result.special.beginningOfSequence = numbers[0]
            case "eos_token_id": result.special.endOfSequence = numbers[0]
            case "unknown_token_id": result.special.unknown = numbers[0]
            default: break
            }
        }
        return result
    }
}
