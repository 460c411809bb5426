import ByteIO
import GGUF

/// Byte-level BPE (`tokenizer.ggml.model` = `gpt2`), from `tokenizer.json` or from `vocab.json` with `merges.txt`.
enum BytePairReader {
    /// What both forms of files come down to.
    struct Input {
        var path: String
        var vocabulary: [(text: String, id: Int)]
        var merges: [HuggingFaceTokenizer.Merge]
        var ignoresMerges: Bool
        var addedTokens: [HuggingFaceTokenizer.AddedToken]
        var structure: PreTokenizerStructure
        var normalizer: JSONValue?
    }

    static func read(_ input: Input, sources: inout TokenizerSources) throws -> TokenizerParts {
        var table = VocabularyTable(path: input.path, capacity: input.vocabulary.count + input.addedTokens.count)
        for (text, id) in input.vocabulary { try table.add(id, VocabularyToken(text: text, kind: .normal)) }
        let merges = checkedMerges(input.merges, table, warnings: &sources.warnings)
        try AddedTokens.add(input.addedTokens, to: &table, sources: &sources)
        let name = try resolve(input, table: table, sources: &sources)
        var parts = TokenizerParts(model: "gpt2", preTokenizer: name.name, table: table, merges: merges)
        parts.defaultAddsBOS = name.addsBOS
        let normalizers = NormalizerSteps(input.normalizer)
        if normalizers.lowercases {
            parts.normalizerPairs.append(("tokenizer.ggml.normalizer.lowercase", .bool(true)))
        }
        sources.warnings += normalizers.warnings(forByteLevel: true)
        if input.structure.addsPrefixSpace {
            sources.warnings.append(
                "tokenizer.json puts a blank before the text (add_prefix_space); byte-level BPE in GGUF does not")
        }
        return parts
    }

    /// The pre-tokenizer: the user's, or the one that the structure is.
    private static func resolve(
        _ input: Input, table: VocabularyTable, sources: inout TokenizerSources
    ) throws -> PreTokenizerRow.Name {
        if let wanted = sources.preTokenizer {
            guard let found = PreTokenizerTable.find(wanted) else {
                throw ConversionError(
                    .invalidRequest,
                    "the pre-tokenizer \(wanted.quotedForMessage) is not known; the known ones are "
                        + PreTokenizerTable.allNames.joined(separator: ", "))
            }
            return found.name
        }
        return try PreTokenizerRecognition.name(
            for: .init(
                structure: input.structure, ignoresMerges: input.ignoresMerges, architecture: sources.architecture,
                hasToken: { table.id(of: $0) != nil }, path: input.path),
            warnings: &sources.warnings)
    }

    /// The merges as lines. Those with a part or a result that is no token are kept, as the reference does, and told:
    /// readers skip them.
    static func checkedMerges(
        _ merges: [HuggingFaceTokenizer.Merge], _ table: VocabularyTable, warnings: inout [String]
    ) -> [String] {
        var unknown = 0
        var example: HuggingFaceTokenizer.Merge?
        let lines = merges.map { merge in
            if table.id(of: merge.left) == nil || table.id(of: merge.right) == nil
                || table.id(of: merge.left + merge.right) == nil
            {
                unknown += 1
                if example == nil { example = merge }
            }
            return merge.line
        }
        if let example {
            warnings.append(
                "\(unknown) of \(merges.count) merges have a part or a result that is no token, the first "
                    + "\(example.left.quotedForMessage) + \(example.right.quotedForMessage); they have no effect")
        }
        return lines
    }

    // MARK: - vocab.json and merges.txt

    /// The tokenizer of folders from before `tokenizer.json`.
    static func readSlow(vocabulary object: JSONObject, sources: inout TokenizerSources) throws -> TokenizerParts {
        let path = sources.folder.path(of: "vocab.json")
        let vocabulary = try object.members.map { member in
            guard let id = member.value.intValue else {
                throw ConversionError(
                    .malformed, "\(member.key.quotedForMessage) has \(member.value.kind) instead of an id", path: path)
            }
            return (text: member.key, id: id)
        }
        guard let text = try sources.folder.text("merges.txt") else {
            throw ConversionError(
                .missingFile, "vocab.json needs merges.txt beside it", path: sources.folder.path(of: "merges.txt"))
        }
        let merges = try mergeLines(text, path: sources.folder.path(of: "merges.txt"))
        let className = sources.configuration["tokenizer_class"]?.stringValue ?? ""
        let isQwen = className.hasPrefix("Qwen2Tokenizer")
        var structure = try PreTokenizerStructure(nil, path: path)
        structure.usesByteAlphabet = true
        structure.steps = [RegexPattern(isQwen ? PreTokenizerTable.qwen2 : PreTokenizerTable.gpt2)]
        return try read(
            Input(
                path: path, vocabulary: vocabulary, merges: merges, ignoresMerges: false,
                addedTokens: try sources.addedTokensJSON(), structure: structure, normalizer: nil),
            sources: &sources)
    }

    private static func mergeLines(_ text: String, path: String) throws -> [HuggingFaceTokenizer.Merge] {
        var result: [HuggingFaceTokenizer.Merge] = []
        for (number, bytes) in text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let line = bytes.last == 0x0D ? bytes.dropLast() : bytes
            if line.isEmpty || (number == 0 && line.starts(with: "#version".utf8)) { continue }
            guard let merge = HuggingFaceTokenizer.Merge(line: String(Substring(line))),
                !merge.right.utf8.contains(UInt8(ascii: " "))
            else {
                throw ConversionError(
                    .malformed, "line \(number + 1) is not a merge: two texts with one blank between are expected",
                    path: path)
            }
            result.append(merge)
        }
        return result
    }
}

/// Puts added and special tokens into a vocabulary, with the kinds that the reference converter gives them.
enum AddedTokens {
    static func add(
        _ tokens: [HuggingFaceTokenizer.AddedToken], to table: inout VocabularyTable, sources: inout TokenizerSources
    ) throws {
        var done: Set<Int> = []
        for token in tokens {
            var id = token.id
            if let known = table.id(of: token.text), known != id {
                sources.warnings.append(
                    "the added token \(token.text.quotedForMessage) is listed with the id \(id) but is token \(known)")
                id = known
            }
            try table.add(id, VocabularyToken(text: token.text, kind: .normal))
            try mark(token, at: id, in: &table)
            done.insert(id)
        }
        for token in try sources.addedTokensDecoder() where !done.contains(token.id) {
            if let old = table[token.id], !ExactString.equal(old.text, token.text) {
                sources.warnings.append(
                    "tokenizer_config.json calls token \(token.id) \(token.text.quotedForMessage), but it is "
                        + "\(old.text.quotedForMessage)")
            } else if table[token.id] != nil || table.id(of: token.text) == nil {
                try table.add(token.id, VocabularyToken(text: token.text, kind: .normal))
                try mark(token, at: token.id, in: &table)
                done.insert(token.id)
            }
        }
        for text in sources.specialTexts {
            if let id = table.id(of: text), let token = table[id], token.kind == .normal {
                try table.replace(id, kind: .control)
            }
        }
    }

    /// What an added token is stored as.
    static func stored(_ token: HuggingFaceTokenizer.AddedToken) -> (kind: TokenKind, text: String) {
        token.isSpecial || TokenText.looksSpecial(token.text)
            ? (.control, token.text) : (.userDefined, TokenText.withBlanks(token.text))
    }

    private static func mark(
        _ token: HuggingFaceTokenizer.AddedToken, at id: Int, in table: inout VocabularyTable
    ) throws {
        let (kind, text) = stored(token)
        try table.replace(id, kind: kind, text: text, score: VocabularyTable.addedScore)
    }
}

/// The steps of a `normalizer`, flattened.
struct NormalizerSteps {
    private(set) var steps: [(type: String, value: JSONValue)] = []

    init(_ value: JSONValue?) {
        var queue = value.map { [$0] } ?? []
        while !queue.isEmpty, steps.count < 64 {
            let step = queue.removeFirst()
            guard let type = step["type"]?.stringValue else { continue }
            if type == "Sequence" {
                queue.insert(contentsOf: (step["normalizers"]?.arrayValue ?? []).prefix(64), at: 0)
            } else {
                steps.append((type, step))
            }
        }
    }

    func first(_ type: String) -> JSONValue? { steps.first { $0.type == type }?.value }

    var lowercases: Bool {
        steps.contains { type, value in
            type == "Lowercase" || (type == "BertNormalizer" && value["lowercase"]?.boolValue ?? true)
        }
    }

    /// The blank that is put before the text.
    var prepend: String? { first("Prepend")?["prepend"]?.stringValue }

    /// What is lost: readers of GGUF apply none of these. NFC is left out because text nearly always has that form.
    func warnings(forByteLevel: Bool) -> [String] {
        let expected: Set<String> =
            forByteLevel
            ? ["NFC", "Lowercase", "ByteLevel"] : ["NFC", "Lowercase", "Prepend", "Replace", "Precompiled", "Strip"]
        let lost = steps.map(\.type).filter { !expected.contains($0) }
        guard !lost.isEmpty else { return [] }
        return ["the normalizer's \(lost.joined(separator: ", ")) cannot be stored; readers will not apply it"]
    }
}
