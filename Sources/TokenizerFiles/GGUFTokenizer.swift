import GGUF
import Tokenization

/// Builds tokenizers from the metadata of GGUF files; no tensor is touched, so vocabulary files will do.
public enum GGUFTokenizer {
    /// The tokenizer that a GGUF file describes.
    ///
    ///     let tokenizer = try GGUFTokenizer.make(from: GGUFFile(path: path))
    ///
    /// - Throws: `TokenizationError`, naming the file, if there is no tokenizer, its kind is unknown or its vocabulary
    ///   unusable; `GGUFError` if a key has another type.
    public static func make(from file: GGUFFile) throws -> any Tokenizer {
        try make(from: file.metadata, path: file.path)
    }

    /// The same from the metadata of a model in any container; `path` is what errors name.
    public static func make(from metadata: GGUFMetadata, path: String) throws -> any Tokenizer {
        do {
            return try TokenizerCatalog.make(description(of: metadata))
        } catch var error as TokenizationError {
            error.path = path
            throw error
        }
    }

    /// The tokenizer's description as the metadata gives it.
    public static func description(of metadata: GGUFMetadata) throws -> TokenizerDescription {
        let prefix = "tokenizer.ggml."
        guard let model = try metadata.stringIfPresent(prefix + "model") else {
            throw TokenizationError(
                code: .noTokenizer, message: "tokenizer.ggml.model is missing; the file carries no tokenizer")
        }
        guard !TokenizerCatalog.absent.contains(model) else {
            return TokenizerDescription(model: model, tokens: [[UInt8]]())
        }
        guard let tokens = try metadata.arrayIfPresent(prefix + "tokens")?.stringBytes, !tokens.isEmpty else {
            throw TokenizationError(
                code: .invalidVocabulary, message: "tokenizer.ggml.tokens is missing or no list of strings")
        }
        func id(_ role: String) throws -> Int? { try metadata.intIfPresent(prefix + role + "_token_id") }
        func flag(_ name: String) throws -> Bool? { try metadata.boolIfPresent(prefix + name) }
        let pre = try metadata.stringIfPresent(prefix + "pre")
        var description = TokenizerDescription(
            model: model, preTokenizer: pre, tokens: tokens,
            kinds: try (metadata.intsIfPresent(prefix + "token_type") ?? []).map {
                TokenKind(rawValue: Int32(truncatingIfNeeded: $0))
            },
            scores: try metadata.floatsIfPresent(prefix + "scores") ?? [],
            merges: try merges(metadata, prefix + "merges"),
            special: SpecialTokens(
                beginningOfSequence: try id("bos"), endOfSequence: try id("eos"), endOfTurn: try id("eot"),
                endOfMessage: try id("eom"), unknown: try id("unknown"), separator: try id("seperator"),
                padding: try id("padding"), mask: try id("mask"), fillInTheMiddlePadding: try id("fim_pad"),
                fillInTheMiddleRepository: try id("fim_rep"), fillInTheMiddleSeparator: try id("fim_sep")),
            addsBeginning: try flag("add_bos_token"), addsEnd: try flag("add_eos_token"),
            addsSeparator: try flag("add_sep_token"), addsSpacePrefix: try flag("add_space_prefix"),
            removesExtraSpaces: try flag("remove_extra_whitespaces"),
            characterMap: try (metadata.intsIfPresent(prefix + "precompiled_charsmap") ?? []).map {
                UInt8(truncatingIfNeeded: $0)
            },
            lowercases: try metadata.boolIfPresent("tokenizer.ggml.normalizer.lowercase"),
            stripsAccents: try metadata.boolIfPresent("tokenizer.ggml.normalizer.strip_accents"))
        try addStripping(to: &description, metadata)
        return description
    }

    private static func merges(_ metadata: GGUFMetadata, _ key: String) throws -> [[UInt8]] {
        guard let array = try metadata.arrayIfPresent(key) else { return [] }
        guard let lines = array.stringBytes else {
            throw TokenizationError(code: .invalidVocabulary, message: "\(key) is no list of strings")
        }
        return lines
    }

    /// GGUF has no place for `lstrip` and `rstrip`, so these follow from the model's name: in Phi-3 all special tokens swallow
    /// the white space behind them, save the three it inherited from Llama; mask tokens of BERT's relatives that before them.
    private static func addStripping(to description: inout TokenizerDescription, _ metadata: GGUFMetadata) throws {
        let name = try (metadata.stringIfPresent("general.name") ?? "").lowercased()
        let architecture = try metadata.stringIfPresent("general.architecture") ?? ""
        let pre = description.preTokenizer ?? ""
        func mask(_ text: String) {
            if let id = description.tokens.firstIndex(of: Array(text.utf8)) { description.leftStripping.insert(id) }
        }
        if ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(pre)
            || ["nomic-bert-moe", "jina-bert-v3"].contains(architecture)
        {
            mask("<mask>")
        } else if name.contains("phi-3") || name.contains("phi3") {
            let spared: Set<[UInt8]> = Set(["<unk>", "<s>", "<|endoftext|>"].map { Array($0.utf8) })
            for (id, kind) in description.kinds.enumerated() where id < description.tokens.count {
                let text = description.tokens[id]
                let isSpecial = kind == .control || kind == .userDefined || kind == .unknown
                if isSpecial || text == Array("</s>".utf8), !spared.contains(text) {
                    description.rightStripping.insert(id)
                }
            }
        } else if name.contains("modern-bert") || pre == "modern-bert" {
            mask("[MASK]")
        }
    }
}
