import Conversion
import GGUF
import Tokenization

/// Reads tokenizer files into GGUF's form, and writes what came out as files again.
@Sendable func importTokenizer(_ files: [(name: String, bytes: [UInt8])]) {
    guard let folder = try? Scratch.folder(with: files),
        let imported = try? TokenizerImport.read(folder: folder, architecture: "llama", vocabularySize: nil)
    else { return }
    var metadata = GGUFMetadata()
    for (key, value) in imported.pairs { metadata.append(key, value) }
    _ = try? TokenizerExport.files(of: metadata)
}

/// Encodes text with small vocabularies and decodes the ids.
///
/// The first byte chooses the tokenizer, the next ones the flags; the rest is the text.
@Sendable func tokenize(_ bytes: [UInt8]) {
    guard bytes.count >= 2 else { return }
    let tokenizer = vocabularies[Int(bytes[0]) % vocabularies.count]
    let text = String(decoding: bytes.dropFirst(2), as: UTF8.self)
    let ids = tokenizer.encode(text, parseSpecial: bytes[1] & 1 != 0, addSpecial: bytes[1] & 2 != 0)
    precondition(ids.allSatisfy { $0 >= 0 && $0 < tokenizer.vocabularyCount }, "an id is outside the vocabulary")
    consume(tokenizer.decode(ids, skipSpecial: bytes[1] & 4 != 0).utf8.count)
    var streaming = StreamingDecoder(tokenizer: tokenizer, skipSpecial: false)
    for id in ids { consume(streaming.append(id).utf8.count) }
}

private let vocabularies: [any Tokenizer] = {
    let names = [
        "llama-bpe", "qwen2", "qwen35", "seed-coder", "gpt-2", "smollm", "falcon", "default", "tekken", "gpt-4o",
    ]
    var made: [any Tokenizer] = []
    for name in names {
        // GPT-2's alphabet: printable bytes as themselves, the others from U+0100 on.
        var texts: [String] = []
        var next: UInt32 = 256
        for byte in UInt32(0)..<256 {
            let isPrintable = (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
            let value = isPrintable ? byte : next
            if !isPrintable { next += 1 }
            texts.append(String(Character(Unicode.Scalar(value) ?? " ")))
        }
        let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "1 2", "12 3", "Ġ Ġ"]
        texts += merges.map { $0.filter { $0 != " " } }
        var kinds = [TokenKind](repeating: .normal, count: texts.count)
        texts += ["<|im_end|>", "<|im|>", "@@"]
        kinds += [.control, .control, .userDefined]
        let description = TokenizerDescription(
            model: "gpt2", preTokenizer: name, tokens: texts, kinds: kinds, merges: merges,
            special: SpecialTokens(beginningOfSequence: texts.count - 2, endOfSequence: texts.count - 3))
        if let tokenizer = try? TokenizerCatalog.make(description) { made.append(tokenizer) }
    }
    let pieces =
        ["<unk>", "<s>", "</s>"]
        + (0..<256).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return "<0x" + (digits.count < 2 ? "0" : "") + digits + ">"
        } + ["▁", "a", "b", "▁a", "ab", "▁ab", "l", "ll", "▁▁", "é"]
    var description = TokenizerDescription(
        model: "llama", tokens: pieces,
        kinds: [.unknown, .control, .control] + [TokenKind](repeating: .byte, count: 256)
            + [TokenKind](repeating: .normal, count: 10),
        special: SpecialTokens(beginningOfSequence: 1, endOfSequence: 2, unknown: 0))
    description.scores = pieces.indices.map { -Float($0) }
    if let tokenizer = try? TokenizerCatalog.make(description) { made.append(tokenizer) }
    precondition(made.count == names.count + 1, "a tokenizer of the harness is not usable")
    return made
}()
