import ByteIO
import GGUF

/// Which tokens play a part (begin, end, pad …), and which of them are added to every text.
struct SpecialTokens: Sendable {
    /// A part, with its name in Hugging Face's files and in GGUF's keys, in the order they are written.
    enum Role: String, CaseIterable, Sendable {
        case bos, eos, unk, sep, pad, mask, eot, eom

        /// GGUF's spelling of "separator" is what every reader looks for.
        var key: String {
            switch self {
            case .unk: "tokenizer.ggml.unknown_token_id"
            case .sep: "tokenizer.ggml.seperator_token_id"
            case .pad: "tokenizer.ggml.padding_token_id"
            default: "tokenizer.ggml.\(rawValue)_token_id"
            }
        }

        /// Whether Hugging Face's files have `<role>_token`.
        var hasConfiguration: Bool { self != .eot && self != .eom }
    }

    private(set) var ids: [Role: Int] = [:]
    private(set) var adds: [Role: Bool] = [:]
    private(set) var fill: [(key: String, id: Int)] = []
    private(set) var suppressed: [Int] = []

    private var texts: [Role: String] = [:]

    init(_ parts: TokenizerParts, sources: inout TokenizerSources) throws {
        for role in Role.allCases {
            texts[role] = sources.specialText("\(role.rawValue)_token")
        }
        // BERT's files have no beginning and end of text but tokens in their place.
        texts[.bos] = texts[.bos] ?? sources.specialText("cls_token")
        texts[.eos] = texts[.eos] ?? texts[.sep]
        if let processor = sources.tokenizer?.postProcessor { apply(processor, sources: &sources) }
        for role in [Role.bos, .eos, .sep] {
            if let flag = sources.configuration["add_\(role.rawValue)_token"]?.boolValue { adds[role] = flag }
        }
        resolve(parts.table, sources: &sources)
        ids.merge(parts.ownIDs) { found, _ in found }
        addEnds(parts.table, sources: &sources)
        applyArchitecture(parts, sources: sources)
        // Readers assume BOS for some tokenizers; say so where this one is known to do without.
        if adds[.bos] == nil, parts.defaultAddsBOS, let tokenizer = sources.tokenizer {
            let className = sources.configuration["tokenizer_class"]?.stringValue
            let isPlain = tokenizer.postProcessor == nil && className == "PreTrainedTokenizerFast"
            if parts.model == "gpt2" || isPlain { adds[.bos] = false }
        }
        fill = Self.fillTokens(parts.table)
        suppressed = (sources.generationConfiguration["suppress_tokens"]?.arrayValue ?? []).compactMap(\.intValue)
            .filter { parts.table[$0] != nil && $0 <= Int(Int32.max) }
    }

    /// The pairs, in the reference converter's order.
    func pairs(tokenCount: Int) -> [(key: String, value: GGUFValue)] {
        var result: [(key: String, value: GGUFValue)] = []
        for role in Role.allCases {
            if let id = ids[role], id < tokenCount { result.append((role.key, .uint32(UInt32(id)))) }
        }
        for (key, id) in fill where id < tokenCount { result.append((key, .uint32(UInt32(id)))) }
        for role in [Role.bos, .eos, .sep] {
            if let flag = adds[role] { result.append(("tokenizer.ggml.add_\(role.rawValue)_token", .bool(flag))) }
        }
        if !suppressed.isEmpty {
            result.append(("tokenizer.ggml.suppress_tokens", .array(GGUFArray(suppressed.map { Int32($0) }))))
        }
        return result
    }

    // MARK: - Post-processors

    /// What a post-processor puts around a text.
    private mutating func apply(_ processor: JSONValue, sources: inout TokenizerSources) {
        for step in (processor["processors"]?.arrayValue ?? [processor]).prefix(16) {
            switch step["type"]?.stringValue {
            case "RobertaProcessing":
                (adds[.bos], adds[.eos], adds[.sep]) = (true, true, true)
                take(step)
            case "BertProcessing":
                (adds[.bos], adds[.eos], adds[.sep]) = (true, true, false)
                take(step)
            case "TemplateProcessing": applyTemplate(step, sources: &sources)
            default: break
            }
        }
    }

    /// `cls` and `sep` are pairs of text and id.
    private mutating func take(_ step: JSONValue) {
        let cls = step["cls"]?.arrayValue?.first?.stringValue
        let sep = step["sep"]?.arrayValue?.first?.stringValue
        texts[.bos] = texts[.bos] ?? cls
        texts[.sep] = texts[.sep] ?? sep
        texts[.eos] = texts[.eos] ?? sep
    }

    private mutating func applyTemplate(_ step: JSONValue, sources: inout TokenizerSources) {
        let single = TemplatePart.list(step["single"])
        var first: String?
        var last: String?
        if single.count > 1 {
            if case .special(let text)? = single.first {
                first = text
                if texts[.bos] == nil { texts[.bos] = text }
                let isKnown = text == texts[.bos] || text == sources.specialText("cls_token")
                adds[.bos] = isKnown
                if !isKnown {
                    sources.warnings.append(
                        "the post-processor begins texts with \(text.quotedForMessage), which is not BOS; GGUF cannot say so"
                    )
                }
            }
            if case .special(let text)? = single.last {
                last = text
                // The token that ends texts is EOS for readers; what the files call EOS then ends turns.
                if let old = texts[.eos], old != text, texts[.eot] == nil { texts[.eot] = old }
                texts[.eos] = text
                adds[.eos] = true
            }
        }
        applyPair(TemplatePart.list(step["pair"]), first: first, last: last)
    }

    /// Whether two texts are separated by more than the end of the first.
    private mutating func applyPair(_ pair: [TemplatePart], first: String?, last: String?) {
        guard let a = pair.firstIndex(of: .sequence("A")), let b = pair.firstIndex(of: .sequence("B")), a < b else {
            return
        }
        let middle = pair[(a + 1)..<b]
        guard !middle.isEmpty else { return }
        let separators: Set<String?> = [texts[.sep], texts[.eos]]
        func separates(_ part: TemplatePart) -> Bool {
            if case .special(let text) = part { separators.contains(text) } else { false }
        }
        var isAdded = middle.first.map(separates) == true && last == nil
        if middle.count == 2, middle.last.map(separates) == true { isAdded = true }
        adds[.sep] = isAdded
        if isAdded, texts[.sep] == nil { texts[.sep] = texts[.eos] }
    }

    // MARK: - Ids

    private mutating func resolve(_ table: VocabularyTable, sources: inout TokenizerSources) {
        for role in Role.allCases {
            if let text = texts[role], let id = table.id(of: text) {
                ids[role] = id
                continue
            }
            let key = "\(role.rawValue)_token_id"
            for configuration in [sources.modelConfiguration, sources.generationConfiguration] {
                guard ids[role] == nil, let value = configuration[key],
                    let id = value.intValue ?? value.arrayValue?.first?.intValue
                else { continue }
                if id >= 0, table[id] != nil || id < sources.vocabularySize ?? 0 {
                    ids[role] = id
                } else if id != -1 {
                    sources.warnings.append("\(key) is \(id), which is no token; it is left out")
                }
            }
        }
    }

    /// Further tokens that end a turn or a message, from the lists of `generation_config.json` and `config.json`.
    private mutating func addEnds(_ table: VocabularyTable, sources: inout TokenizerSources) {
        var ends: [Int] = []
        for configuration in [sources.generationConfiguration, sources.modelConfiguration] {
            ends += (configuration["eos_token_id"]?.arrayValue ?? []).prefix(64).compactMap(\.intValue)
        }
        let turn: Set<String> = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<turn|>"]
        for id in ends where id != ids[.eos] && id != ids[.eot] && id != ids[.eom] {
            guard let text = table[id]?.text else { continue }
            if text == "<|eom_id|>" {
                ids[.eom] = ids[.eom] ?? id
            } else if ids[.eot] == nil, turn.contains(text) {
                ids[.eot] = id
            }
        }
    }

    /// What the reference converter knows about single architectures and the files do not say.
    private mutating func applyArchitecture(_ parts: TokenizerParts, sources: TokenizerSources) {
        switch sources.architecture {
        // SmolLM and small Granite models: their tokenizers name a BOS that is never added.
        case "llama" where sources.vocabularySize == 49152: adds[.bos] = false
        case "phi2", "eurobert": adds[.bos] = adds[.bos] ?? false
        case "gemma4": adds[.bos] = true
        default: break
        }
    }

    /// Tokens that frame code to be filled in; recognised by their texts, as readers do.
    private static func fillTokens(_ table: VocabularyTable) -> [(key: String, id: Int)] {
        let known: [(String, [String])] = [
            ("fim_pre", ["<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"]),
            ("fim_suf", ["<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"]),
            ("fim_mid", ["<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"]),
            ("fim_pad", ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>"]),
            ("fim_rep", ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
            ("fim_sep", ["<|file_sep|>"]),
        ]
        // Only a model that has all three marks was trained to fill in.
        let found = known.map { key, texts in (key, texts.compactMap { table.id(of: $0) }.first) }
        guard found.prefix(3).allSatisfy({ $0.1 != nil }) else { return [] }
        return found.compactMap { key, id in id.map { ("tokenizer.ggml.\(key)_token_id", $0) } }
    }
}

/// A part of a TemplateProcessing template.
enum TemplatePart: Equatable {
    case special(String)
    case sequence(String)

    static func list(_ value: JSONValue?) -> [TemplatePart] {
        (value?.arrayValue ?? []).prefix(64).compactMap { part in
            if let text = part["SpecialToken"]?["id"]?.stringValue { return .special(text) }
            if let text = part["Sequence"]?["id"]?.stringValue { return .sequence(text) }
            return nil
        }
    }
}
