import ByteIO
import GGUF

/// The parsed files of a tokenizer's folder and what the caller asked for: what every reader works from.
struct TokenizerSources: Sendable {
    let folder: TokenizerFolder
    let architecture: String
    let vocabularySize: Int?
    /// A pre-tokenizer named by the user.
    let preTokenizer: String?

    let tokenizer: HuggingFaceTokenizer?
    /// `tokenizer_config.json`
    let configuration: JSONObject
    let specialTokensMap: JSONObject
    let addedTokensFile: JSONObject
    /// `config.json` of the model, or the part of it that describes the text model.
    let modelConfiguration: JSONObject
    let generationConfiguration: JSONObject
    var warnings: [String] = []

    init(folder path: String, architecture: String, vocabularySize: Int?, preTokenizer: String?) throws {
        folder = TokenizerFolder(path: path)
        self.architecture = architecture
        self.vocabularySize = vocabularySize
        self.preTokenizer = preTokenizer
        tokenizer = try folder.json("tokenizer.json").map {
            try HuggingFaceTokenizer($0, path: TokenizerFolder(path: path).path(of: "tokenizer.json"))
        }
        configuration = try folder.json("tokenizer_config.json") ?? JSONObject()
        specialTokensMap = try folder.json("special_tokens_map.json") ?? JSONObject()
        addedTokensFile = try folder.json("added_tokens.json") ?? JSONObject()
        let model = try folder.json("config.json") ?? JSONObject()
        modelConfiguration = model["text_config"]?.objectValue.map { Self.merging(model, over: $0) } ?? model
        generationConfiguration = try folder.json("generation_config.json") ?? JSONObject()
    }

    /// The inner object, with what only the outer one has.
    private static func merging(_ outer: JSONObject, over inner: JSONObject) -> JSONObject {
        var result = inner
        for member in outer.members { _ = result.append(member.key, member.value) }
        return result
    }

    /// A special token's text, written as a string or as an object with a content.
    static func text(of value: JSONValue?) -> String? { value?.stringValue ?? value?["content"]?.stringValue }

    /// The text of `bos_token` and its like: from `tokenizer_config.json`, else from `special_tokens_map.json`.
    func specialText(_ key: String) -> String? {
        Self.text(of: configuration[key]) ?? Self.text(of: specialTokensMap[key])
    }

    /// The texts that some file calls special, whether or not they are listed as added tokens.
    var specialTexts: [String] {
        var result: [String] = []
        for map in [configuration, specialTokensMap] {
            for role in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
                if let text = Self.text(of: map[role]) { result.append(text) }
            }
            for key in ["additional_special_tokens", "extra_special_tokens"] {
                result += (map[key]?.arrayValue ?? []).compactMap { Self.text(of: $0) }
            }
        }
        return result
    }

    /// `added_tokens_decoder` of `tokenizer_config.json`, by id.
    func addedTokensDecoder() throws -> [HuggingFaceTokenizer.AddedToken] {
        guard let value = configuration["added_tokens_decoder"], !value.isNull else { return [] }
        let path = folder.path(of: "tokenizer_config.json")
        guard case .object(let object) = value else {
            throw ConversionError(.malformed, "added_tokens_decoder should be an object", path: path)
        }
        return try object.members.map { member in
            guard let id = Int(member.key), let text = member.value["content"]?.stringValue, !text.isEmpty else {
                throw ConversionError(
                    .malformed,
                    "entry \(member.key.quotedForMessage) of added_tokens_decoder needs an id as its key and a content",
                    path: path)
            }
            return .init(id: id, text: text, isSpecial: member.value["special"]?.boolValue ?? false)
        }.sorted { $0.id < $1.id }
    }

    /// The tokens of `added_tokens.json`, by id.
    func addedTokensJSON() throws -> [HuggingFaceTokenizer.AddedToken] {
        try addedTokensFile.members.map { member in
            guard let id = member.value.intValue, !member.key.isEmpty else {
                throw ConversionError(
                    .malformed, "\(member.key.quotedForMessage) has \(member.value.kind) instead of an id",
                    path: folder.path(of: "added_tokens.json"))
            }
            return .init(id: id, text: member.key, isSpecial: false)
        }.sorted { $0.id < $1.id }
    }
}

/// A vocabulary in the form GGUF stores, before special tokens and templates are added.
struct TokenizerParts: Sendable {
    /// `tokenizer.ggml.model`
    var model: String
    var preTokenizer: String?
    var table: VocabularyTable
    var hasScores = false
    var merges: [String]?
    var normalizerPairs: [(key: String, value: GGUFValue)] = []
    var addsSpacePrefix: Bool?
    /// What marks a token that continues a word, which GGUF writes the other way round; nil for other models.
    var continuationPrefix: String?
    /// Ids that the vocabulary's own file gives, for what the files beside it leave open.
    var ownIDs: [SpecialTokens.Role: Int] = [:]
    /// What readers assume when `add_bos_token` is missing.
    var defaultAddsBOS = false
}
