import ByteIO
import GGUF

/// Writes byte-level BPE as a `tokenizer.json`.
enum BytePairWriter {
    static func document(_ stored: inout StoredTokenizer) throws -> JSONObject {
        let name = stored.preTokenizer ?? "default"
        if stored.preTokenizer == nil {
            stored.warnings.append(
                "the file does not name its pre-tokenizer; \"default\" is written, as readers assume")
        }
        guard let (row, entry) = PreTokenizerTable.find(name), !row.steps.isEmpty else {
            throw ConversionError(
                .unsupported,
                "the pre-tokenizer \(name.quotedForMessage) cannot be written as tokenizer.json; set tokenizer.ggml.pre to "
                    + "one that can: "
                    + PreTokenizerTable.rows.filter { !$0.steps.isEmpty }.flatMap(\.names).map(\.name).sorted()
                    .joined(separator: ", "),
                path: stored.metadata.path)
        }
        guard row.usesByteAlphabet else { return try SentencePieceWriter.rawBytePairDocument(&stored) }

        let added = AddedTokenWriter.tokens(of: stored)
        let vocabulary = AddedTokenWriter.vocabulary(of: stored, added: added)
        var model = JSONObject()
        model["type"] = "BPE"
        model["dropout"] = .null
        model["unk_token"] = .null
        model["continuing_subword_prefix"] = .null
        model["end_of_word_suffix"] = .null
        model["fuse_unk"] = false
        model["byte_fallback"] = false
        model["ignore_merges"] = .bool(entry.ignoresMerges)
        model["vocab"] = .object(vocabulary)
        model["merges"] = .array(merges(&stored, vocabulary: vocabulary))

        var document = Documents.start(added: added, stored: stored)
        var normalizers: [JSONValue] = entry.normalization.map { [["type": .string($0)]] } ?? []
        if try stored.flag("normalizer.lowercase") == true { normalizers.append(["type": "Lowercase"]) }
        document["normalizer"] = Documents.sequence(normalizers, "normalizers")
        document["pre_tokenizer"] = preTokenizer(row)
        document["post_processor"] = try postProcessor(stored, entry)
        document["decoder"] = byteLevel(usesRegex: true)
        document["model"] = .object(model)
        return document
    }

    /// The merges that can take effect: `tokenizers` refuses a file with others.
    static func merges(_ stored: inout StoredTokenizer, vocabulary: JSONObject) -> [JSONValue] {
        var dropped = 0
        var result: [JSONValue] = []
        result.reserveCapacity(stored.merges.count)
        for merge in stored.merges {
            guard vocabulary[merge.left] != nil, vocabulary[merge.right] != nil,
                vocabulary[merge.left + merge.right] != nil
            else {
                dropped += 1
                continue
            }
            result.append(.array([.string(merge.left), .string(merge.right)]))
        }
        if dropped > 0 {
            stored.warnings.append(
                "left out \(dropped) merges whose parts or results are no tokens: they have no effect, and Hugging "
                    + "Face's loader refuses them")
        }
        return result
    }

    private static func byteLevel(usesRegex: Bool) -> JSONValue {
        ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": .bool(usesRegex)]
    }

    /// The steps of a row; GPT-2's expression at the end is ByteLevel's own, single digits are Digits.
    private static func preTokenizer(_ row: PreTokenizerRow) -> JSONValue {
        var steps = row.steps
        let endsInGPT2 = steps.last == PreTokenizerTable.gpt2
        if endsInGPT2 { steps.removeLast() }
        var list: [JSONValue] = steps.map { step in
            if step == #"\p{N}"# { return ["type": "Digits", "individual_digits": true] }
            return ["type": "Split", "pattern": ["Regex": .string(step)], "behavior": "Isolated", "invert": false]
        }
        list.append(byteLevel(usesRegex: endsInGPT2))
        return Documents.sequence(list, "pretokenizers")
    }

    private static func postProcessor(_ stored: StoredTokenizer, _ name: PreTokenizerRow.Name) throws -> JSONValue {
        let template = try Documents.template(
            stored, addsBOS: try stored.flag("add_bos_token") ?? name.addsBOS,
            addsEOS: try stored.flag("add_eos_token") ?? false)
        let bytes = byteLevel(usesRegex: true)
        return template.map { Documents.sequence([bytes, $0], "processors") } ?? bytes
    }
}

/// The added tokens of a stored tokenizer.
enum AddedTokenWriter {
    struct Token: Sendable {
        var id: Int
        var text: String
        var isSpecial: Bool
    }

    /// Control, unknown and user-defined tokens, by id.
    static func tokens(of stored: StoredTokenizer) -> [Token] {
        (0..<stored.count).compactMap { id in
            guard let text = stored.texts[id], !text.isEmpty else { return nil }
            switch stored.kinds[id] {
            case .control, .unknown: return Token(id: id, text: text, isSpecial: true)
            case .userDefined: return Token(id: id, text: text, isSpecial: false)
            case .normal, .unused, .byte: return nil
            }
        }
    }

    /// The model's vocabulary.
    ///
    /// Hugging Face's loader numbers added tokens on from the vocabulary's size, whatever the file says. Where they
    /// are not numbered so, they are listed in the vocabulary too, which fixes their ids.
    static func vocabulary(of stored: StoredTokenizer, added: [Token]) -> JSONObject {
        let isAdded = Set(added.map(\.id))
        let base = (0..<stored.count).filter { id in
            !isAdded.contains(id) && stored.texts[id] != nil && !stored.isPadding(id)
        }
        let followsOn = added.enumerated().allSatisfy { $0.element.id == base.count + $0.offset }
        var result = JSONObject()
        for id in followsOn ? base : (base + added.map(\.id)).sorted() {
            if let text = stored.texts[id] { _ = result.append(text, JSONValue(id)) }
        }
        return result
    }

    /// How a token is found in text. Phi-3's special tokens swallow the blanks behind them; GGUF readers know that by
    /// the model's name.
    static func flags(of token: Token, in stored: StoredTokenizer) -> JSONObject {
        let isPhi3 = stored.model == "llama" && stored.architecture == "phi3"
        let keepsBlanks = ["<unk>", "<s>", "<|endoftext|>"].contains(token.text)
        return JSONObject([
            ("single_word", false), ("lstrip", false),
            ("rstrip", .bool(isPhi3 && !keepsBlanks && (token.isSpecial || token.text == "</s>"))),
            ("normalized", false),
        ])
    }
}

/// What all `tokenizer.json` files share.
enum Documents {
    static func start(added: [AddedTokenWriter.Token], stored: StoredTokenizer) -> JSONObject {
        var document = JSONObject()
        document["version"] = "1.0"
        document["truncation"] = .null
        document["padding"] = .null
        document["added_tokens"] = .array(
            added.map { token in
                var entry = JSONObject([("id", JSONValue(token.id)), ("content", .string(token.text))])
                for member in AddedTokenWriter.flags(of: token, in: stored).members { entry[member.key] = member.value }
                entry["special"] = .bool(token.isSpecial)
                return .object(entry)
            })
        return document
    }

    /// One step as it is, several as a Sequence, none as null.
    static func sequence(_ steps: [JSONValue], _ key: String) -> JSONValue {
        switch steps.count {
        case 0: .null
        case 1: steps[0]
        default: .object(JSONObject([("type", "Sequence"), (key, .array(steps))]))
        }
    }

    /// A TemplateProcessing that adds the beginning and end of a text; nil when neither is added.
    static func template(
        _ stored: StoredTokenizer, addsBOS: Bool, addsEOS: Bool, separator: String? = nil
    ) throws -> JSONValue? {
        let bos = addsBOS ? stored.text(of: .bos) : nil
        let eos = addsEOS ? stored.text(of: .eos) : nil
        guard bos != nil || eos != nil else { return nil }
        func special(_ text: String, _ type: Int) -> JSONValue {
            ["SpecialToken": ["id": .string(text), "type_id": JSONValue(type)]]
        }
        func sequence(_ name: String, _ type: Int) -> JSONValue {
            ["Sequence": ["id": .string(name), "type_id": JSONValue(type)]]
        }
        let first = bos.map { [special($0, 0)] } ?? []
        let last = eos.map { [special($0, 0)] } ?? []
        var pair = first + [sequence("A", 0)]
        if try stored.flag("add_sep_token") == true, let text = stored.text(of: .sep) ?? eos {
            // Two of them when the first only closes the first text, as RoBERTa does.
            pair += last + [special(text, 0)]
        } else {
            pair += last
        }
        pair += (bos != nil && eos == nil ? first : []) + [sequence("B", 1)] + (eos.map { [special($0, 1)] } ?? [])
        var tokens = JSONObject()
        for text in [bos, eos, stored.text(of: .sep)].compactMap({ $0 }) {
            guard let id = stored.id(of: text) else { continue }
            tokens[text] = ["id": .string(text), "ids": [JSONValue(id)], "tokens": [.string(text)]]
        }
        return [
            "type": "TemplateProcessing", "single": .array(first + [sequence("A", 0)] + last), "pair": .array(pair),
            "special_tokens": .object(tokens),
        ]
    }
}
