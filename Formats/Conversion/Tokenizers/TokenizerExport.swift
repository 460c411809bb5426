import ByteIO
import GGUF

/// A tokenizer as the files of a Hugging Face model folder.
public struct ExportedTokenizer: Sendable {
    /// Names are plain names within the folder.
    public var files: [(name: String, bytes: [UInt8])]
    public var warnings: [String]
    /// What belongs in `generation_config.json`: `bos_token_id`, `eos_token_id` (a list when several tokens end a
    /// text), `pad_token_id`, `suppress_tokens`.
    public var generationConfiguration = JSONObject()
}

/// Writes the tokenizer of a GGUF file as Hugging Face files.
///
/// `tokenizer.json` always, with `tokenizer_config.json`, `special_tokens_map.json` and, if there is one,
/// `chat_template.jinja`; for SentencePiece vocabularies (`llama`, `t5`) also `tokenizer.model`. Texts get the ids that
/// the GGUF tokenizer gives them. What GGUF does not keep (Unicode normalisation, blanks that added tokens swallow) is
/// set to what models with this pre-tokenizer have.
public enum TokenizerExport {
    /// - Throws: ``ConversionError`` when the tokenizer is malformed or of a kind with no such files.
    public static func files(of metadata: GGUFMetadata) throws -> ExportedTokenizer {
        var stored = try StoredTokenizer(metadata)
        var document: JSONObject
        var model: SentencePieceModel?
        switch stored.model {
        case "gpt2": document = try BytePairWriter.document(&stored)
        case "gemma4": document = try SentencePieceWriter.rawBytePairDocument(&stored)
        case "llama":
            document = try SentencePieceWriter.bytePairDocument(&stored)
            model = try SentencePieceWriter.model(&stored)
        case "t5":
            document = try SentencePieceWriter.unigramDocument(&stored)
            model = try SentencePieceWriter.model(&stored)
        case "bert": document = try WordPieceWriter.document(&stored)
        default:
            throw ConversionError(
                .unsupported,
                "the tokenizer model \(stored.model.quotedForMessage) has no Hugging Face form; gpt2, llama, gemma4, t5 "
                    + "and bert have",
                path: metadata.path)
        }
        let templates = try ExportedTemplates(metadata)
        let configuration = try ExportedConfiguration(stored, templates: templates)
        var files: [(name: String, bytes: [UInt8])] = [
            ("tokenizer.json", JSONValue.object(document).compactBytes()),
            ("tokenizer_config.json", JSONValue.object(configuration.tokenizer).prettyBytes()),
            ("special_tokens_map.json", JSONValue.object(configuration.specialTokens).prettyBytes()),
        ]
        if let text = templates.file { files.append(("chat_template.jinja", Array(text.utf8))) }
        if let model { files.append(("tokenizer.model", model.serialized())) }
        return ExportedTokenizer(
            files: files, warnings: stored.warnings, generationConfiguration: configuration.generation)
    }
}

/// The chat templates of a file.
struct ExportedTemplates: Sendable {
    /// The text of `chat_template.jinja`, when there is one template only.
    var file: String?
    /// `chat_template` of `tokenizer_config.json`, when there are several.
    var list: JSONValue?

    init(_ metadata: GGUFMetadata) throws {
        do {
            let main = try metadata.stringIfPresent("tokenizer.chat_template")
            let prefix = "tokenizer.chat_template."
            let named = try metadata.keys.filter { $0.hasPrefix(prefix) }.compactMap { key in
                try metadata.stringIfPresent(key).map { (String(key.dropFirst(prefix.count)), $0) }
            }
            guard !named.isEmpty else {
                file = main
                return
            }
            let all = (main.map { [("default", $0)] } ?? []) + named
            list = .array(all.map { ["name": .string($0.0), "template": .string($0.1)] })
        } catch let error as GGUFError {
            throw ConversionError(.malformed, error.message, path: metadata.path)
        }
    }
}

/// The small JSON files beside `tokenizer.json`.
struct ExportedConfiguration: Sendable {
    var tokenizer = JSONObject()
    var specialTokens = JSONObject()
    var generation = JSONObject()

    init(_ stored: StoredTokenizer, templates: ExportedTemplates) throws {
        for name in ["add_bos_token", "add_eos_token"] {
            if let flag = try stored.flag(name) { tokenizer[name] = .bool(flag) }
        }
        tokenizer["added_tokens_decoder"] = .object(Self.decoder(stored))
        for role in SpecialTokens.Role.allCases where role.hasConfiguration {
            if let text = stored.text(of: role) { specialTokens["\(role.rawValue)_token"] = .string(text) }
        }
        if stored.model == "bert" {
            let cls = stored.text(of: .bos) ?? (stored.id(of: "[CLS]") == nil ? nil : "[CLS]")
            specialTokens["cls_token"] = cls.map { .string($0) }
        }
        for member in specialTokens.members { tokenizer[member.key] = member.value }
        if let text = stored.text(of: .eot), stored.ids[.eot] != stored.ids[.eos] {
            tokenizer["eot_token"] = .string(text)
        }
        if let text = stored.text(of: .eom) { tokenizer["eom_token"] = .string(text) }
        if stored.model == "bert" {
            tokenizer["do_lower_case"] = .bool(try stored.flag("normalizer.lowercase") ?? true)
        }
        // It only touches decoding, where GGUF readers and transformers differ anyway; false loses nothing.
        tokenizer["clean_up_tokenization_spaces"] = .bool(stored.model == "bert")
        if let architecture = stored.architecture,
            let length = stored.metadata["\(architecture).context_length"]?.intValue
        {
            tokenizer["model_max_length"] = JSONValue(length)
        }
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
        if let list = templates.list { tokenizer["chat_template"] = list }
        try setGeneration(stored)
    }

    /// The special and user-defined tokens by id.
    ///
    /// SentencePiece vocabularies list only those with the added tokens' score: the others are pieces of the model file,
    /// whose score and kind reading would replace.
    private static func decoder(_ stored: StoredTokenizer) -> JSONObject {
        let isSentencePiece = stored.model == "llama" || stored.model == "t5"
        var result = JSONObject()
        for token in AddedTokenWriter.tokens(of: stored) {
            if isSentencePiece {
                guard stored.kinds[token.id] != .unknown, stored.scores?[token.id] == VocabularyTable.addedScore else {
                    continue
                }
            }
            var entry = AddedTokenWriter.flags(of: token, in: stored)
            entry["content"] = .string(token.text)
            entry["special"] = .bool(token.isSpecial)
            _ = result.append(String(token.id), .object(entry))
        }
        return result
    }

    private mutating func setGeneration(_ stored: StoredTokenizer) throws {
        if let id = stored.ids[.bos] { generation["bos_token_id"] = JSONValue(id) }
        var ends: [Int] = []
        for role in [SpecialTokens.Role.eos, .eot, .eom] {
            if let id = stored.ids[role], !ends.contains(id) { ends.append(id) }
        }
        if let first = ends.first {
            generation["eos_token_id"] = ends.count == 1 ? JSONValue(first) : .array(ends.map { JSONValue($0) })
        }
        if let id = stored.ids[.pad] { generation["pad_token_id"] = JSONValue(id) }
        do {
            if let list = try stored.metadata.intsIfPresent("tokenizer.ggml.suppress_tokens"), !list.isEmpty {
                generation["suppress_tokens"] = .array(list.map { JSONValue($0) })
            }
        } catch {
            throw ConversionError(.malformed, error.message, path: stored.metadata.path)
        }
    }
}
