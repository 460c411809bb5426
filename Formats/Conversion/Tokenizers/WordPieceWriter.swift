import ByteIO
import GGUF

/// Writes WordPiece (`bert`) as a `tokenizer.json`.
enum WordPieceWriter {
    static func document(_ stored: inout StoredTokenizer) throws -> JSONObject {
        let unknown = stored.text(of: .unk) ?? "[UNK]"
        guard stored.id(of: unknown) != nil else {
            throw StoredTokenizer.failure(
                .malformed, "there is no token \(unknown.quotedForMessage) for unknown words", stored.metadata)
        }
        var vocabulary = JSONObject()
        var added: [AddedTokenWriter.Token] = []
        for id in 0..<stored.count where !stored.isPadding(id) {
            guard let text = stored.texts[id], !text.isEmpty else { continue }
            switch stored.kinds[id] {
            case .control:
                added.append(.init(id: id, text: text, isSpecial: true))
                _ = vocabulary.append(text, JSONValue(id))
            default:
                let written = Self.written(text)
                if stored.kinds[id] == .userDefined { added.append(.init(id: id, text: written, isSpecial: false)) }
                if !vocabulary.append(written, JSONValue(id)) {
                    stored.warnings.append("token \(id) \(written.quotedForMessage) repeats another and is left out")
                }
            }
        }
        var document = Documents.start(added: added, stored: stored)
        let lowercases = try stored.flag("normalizer.lowercase") ?? true
        document["normalizer"] = [
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": .bool(try stored.flag("normalizer.strip_accents") ?? lowercases),
            "lowercase": .bool(lowercases),
        ]
        document["pre_tokenizer"] = ["type": "BertPreTokenizer"]
        document["post_processor"] = postProcessor(stored)
        document["decoder"] = ["type": "WordPiece", "prefix": "##", "cleanup": true]
        document["model"] = [
            "type": "WordPiece", "unk_token": .string(unknown), "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": .object(vocabulary),
        ]
        return document
    }

    /// `▁walk` begins a word, everything else continues one.
    private static func written(_ text: String) -> String {
        text.unicodeScalars.first == TokenText.blank ? String(text.unicodeScalars.dropFirst()) : "##" + text
    }

    private static func postProcessor(_ stored: StoredTokenizer) -> JSONValue {
        let first = stored.text(of: .bos) ?? "[CLS]"
        let last = stored.text(of: .sep) ?? stored.text(of: .eos) ?? "[SEP]"
        guard let cls = stored.id(of: first), let sep = stored.id(of: last) else { return .null }
        func special(_ text: String, _ type: Int) -> JSONValue {
            ["SpecialToken": ["id": .string(text), "type_id": JSONValue(type)]]
        }
        func sequence(_ name: String, _ type: Int) -> JSONValue {
            ["Sequence": ["id": .string(name), "type_id": JSONValue(type)]]
        }
        func token(_ text: String, _ id: Int) -> JSONValue {
            ["id": .string(text), "ids": [JSONValue(id)], "tokens": [.string(text)]]
        }
        let single = [special(first, 0), sequence("A", 0), special(last, 0)]
        var tokens = JSONObject()
        tokens[first] = token(first, cls)
        tokens[last] = token(last, sep)
        return [
            "type": "TemplateProcessing", "single": .array(single),
            "pair": .array(single + [sequence("B", 1), special(last, 1)]), "special_tokens": .object(tokens),
        ]
    }
}
