import ByteIO
import GGUF

/// Writes SentencePiece vocabularies: as `tokenizer.json` and as SentencePiece's own file.
enum SentencePieceWriter {
    private static let blank = String(TokenText.blank)

    // MARK: - BPE

    /// `llama`: BPE over characters. The scores' order becomes merges.
    static func bytePairDocument(_ stored: inout StoredTokenizer) throws -> JSONObject {
        let merges = mergesByScore(stored)
        let addsPrefix = try stored.flag("add_space_prefix") ?? true
        var normalizers: [JSONValue] = addsPrefix ? [["type": "Prepend", "prepend": .string(blank)]] : []
        normalizers.append(replaceBlank)
        return try document(
            &stored, merges: merges, normalizer: Documents.sequence(normalizers, "normalizers"),
            stripsBlank: addsPrefix)
    }

    /// `gemma4`: the same with merges of its own.
    static func rawBytePairDocument(_ stored: inout StoredTokenizer) throws -> JSONObject {
        let added = AddedTokenWriter.tokens(of: stored)
        let vocabulary = AddedTokenWriter.vocabulary(of: stored, added: added)
        let merges = BytePairWriter.merges(&stored, vocabulary: vocabulary)
        return try document(&stored, merges: merges, normalizer: replaceBlank, stripsBlank: false)
    }

    private static var replaceBlank: JSONValue {
        ["type": "Replace", "pattern": ["String": " "], "content": .string(blank)]
    }

    private static func document(
        _ stored: inout StoredTokenizer, merges: [JSONValue], normalizer: JSONValue, stripsBlank: Bool
    ) throws -> JSONObject {
        let added = AddedTokenWriter.tokens(of: stored)
        var model = JSONObject()
        model["type"] = "BPE"
        model["dropout"] = .null
        model["unk_token"] = unknown(stored).flatMap { stored.texts[$0] }.map { .string($0) } ?? .null
        model["continuing_subword_prefix"] = .null
        model["end_of_word_suffix"] = .null
        model["fuse_unk"] = true
        model["byte_fallback"] = .bool(stored.kinds.contains(.byte))
        model["ignore_merges"] = false
        model["vocab"] = .object(AddedTokenWriter.vocabulary(of: stored, added: added))
        model["merges"] = .array(merges)

        var document = Documents.start(added: added, stored: stored)
        document["normalizer"] = normalizer
        document["pre_tokenizer"] = .null
        document["post_processor"] =
            try Documents.template(
                stored, addsBOS: try stored.flag("add_bos_token") ?? true,
                addsEOS: try stored.flag("add_eos_token") ?? false) ?? .null
        var decoders: [JSONValue] = [
            ["type": "Replace", "pattern": ["String": .string(blank)], "content": " "], ["type": "ByteFallback"],
            ["type": "Fuse"],
        ]
        if stripsBlank { decoders.append(["type": "Strip", "content": " ", "start": 1, "stop": 0]) }
        document["decoder"] = Documents.sequence(decoders, "decoders")
        document["model"] = .object(model)
        return document
    }

    /// All ways to join two pieces to a third, those of the best pieces first.
    ///
    /// SentencePiece joins the pair whose result scores highest; among equal scores, ids decide here.
    private static func mergesByScore(_ stored: StoredTokenizer) -> [JSONValue] {
        func isPart(_ text: some StringProtocol) -> Bool {
            stored.id(of: String(text)).map { stored.kinds[$0] == .normal } ?? false
        }
        let scores = stored.scores
        let pieces = (0..<stored.count).filter { stored.kinds[$0] == .normal && stored.texts[$0] != nil }
            .sorted { left, right in
                let (a, b) = (scores?[left] ?? 0, scores?[right] ?? 0)
                return a > b || (a == b && left < right)
            }
        var merges: [JSONValue] = []
        for id in pieces {
            guard let text = stored.texts[id] else { continue }
            let scalars = text.unicodeScalars
            // Longer pieces than any real one would only cost time.
            guard var cut = scalars.indices.first, scalars.count <= 512 else { continue }
            var found: [(left: Int, right: Int, merge: JSONValue)] = []
            while true {
                cut = scalars.index(after: cut)
                guard cut < scalars.endIndex else { break }
                let (left, right) = (String(scalars[..<cut]), String(scalars[cut...]))
                guard isPart(left), isPart(right), let a = stored.id(of: left), let b = stored.id(of: right) else {
                    continue
                }
                found.append((a, b, .array([.string(left), .string(right)])))
            }
            merges += found.sorted { ($0.left, $0.right) < ($1.left, $1.right) }.map(\.merge)
        }
        return merges
    }

    /// The token for what cannot be cut.
    private static func unknown(_ stored: StoredTokenizer) -> Int? {
        stored.kinds.firstIndex(of: .unknown) ?? stored.ids[.unk] ?? stored.id(of: "<unk>")
    }

    // MARK: - Unigram

    /// `t5`
    static func unigramDocument(_ stored: inout StoredTokenizer) throws -> JSONObject {
        guard let scores = stored.scores else {
            throw StoredTokenizer.failure(
                .malformed, "tokenizer.ggml.scores is missing; Unigram does not work without", stored.metadata)
        }
        let added = AddedTokenWriter.tokens(of: stored)
        let pieces = try unigramPieces(stored, scores, added: added)
        var model = JSONObject()
        model["type"] = "Unigram"
        model["unk_id"] = unknown(stored).map { JSONValue($0) } ?? .null
        model["vocab"] = .array(pieces)
        model["byte_fallback"] = .bool(stored.kinds.filter { $0 == .byte }.count == 256)

        let squeezes = try stored.flag("remove_extra_whitespaces") ?? true
        let addsPrefix = try stored.flag("add_space_prefix") ?? true
        var normalizers: [JSONValue] = []
        let charsmap = try charactersMap(stored)
        if !charsmap.isEmpty {
            normalizers.append(["type": "Precompiled", "precompiled_charsmap": .string(Base64.encode(charsmap))])
        }
        if squeezes {
            // Strip would take tabs and line ends too, which SentencePiece leaves.
            for (pattern, content) in [(" {2,}", " "), (#"\A | \z"#, "")] {
                normalizers.append([
                    "type": "Replace", "pattern": ["Regex": .string(pattern)], "content": .string(content),
                ])
            }
        } else if addsPrefix {
            // Metaspace would not add a blank to a text that begins with one.
            normalizers.append(["type": "Prepend", "prepend": " "])
        }
        // Text may be cut at blanks only if no piece goes over one.
        let cuts = !(0..<stored.count).contains { id in
            stored.kinds[id] == .normal && stored.texts[id].map(hasInnerBlank) == true
        }
        let metaspace: JSONValue = [
            "type": "Metaspace", "replacement": .string(blank),
            "prepend_scheme": addsPrefix && squeezes ? "always" : "never", "split": .bool(cuts),
        ]
        var document = Documents.start(added: added, stored: stored)
        document["normalizer"] = Documents.sequence(normalizers, "normalizers")
        document["pre_tokenizer"] = metaspace
        document["post_processor"] =
            try Documents.template(
                stored, addsBOS: try stored.flag("add_bos_token") ?? false,
                addsEOS: try stored.flag("add_eos_token") ?? true) ?? .null
        document["decoder"] = [
            "type": "Metaspace", "replacement": .string(blank), "prepend_scheme": addsPrefix ? "always" : "never",
            "split": .bool(cuts),
        ]
        document["model"] = .object(model)
        return document
    }

    /// The pieces by id, up to the last that is neither padding nor an added token that follows on.
    private static func unigramPieces(
        _ stored: StoredTokenizer, _ scores: [Float], added: [AddedTokenWriter.Token]
    ) throws -> [JSONValue] {
        let isAdded = Set(added.map(\.id))
        var count = ((0..<stored.count).last { !isAdded.contains($0) && !stored.isPadding($0) } ?? -1) + 1
        let following = added.filter { $0.id >= count }.map(\.id)
        if following != Array(count..<count + following.count) { count = (following.last ?? count - 1) + 1 }
        let lowest = (0..<count).filter { stored.kinds[$0] == .normal }.map { scores[$0] }.min() ?? 0
        return (0..<count).map { id in
            // The scores of added tokens and holes are for GGUF readers; here the lowest score of all sets the price of
            // unknown characters.
            let isHole = stored.kinds[id] == .unused || stored.texts[id] == nil
            let score =
                isHole ? lowest : isAdded.contains(id) && scores[id] == VocabularyTable.addedScore ? 0 : scores[id]
            return [.string(stored.texts[id] ?? "[PAD\(id)]"), .double(Double(score))]
        }
    }

    private static func hasInnerBlank(_ text: String) -> Bool {
        let scalars = text.unicodeScalars.drop { $0 == TokenText.blank }
        return scalars.contains(TokenText.blank)
    }

    private static func charactersMap(_ stored: StoredTokenizer) throws -> [UInt8] {
        do {
            guard let array = try stored.metadata.arrayIfPresent("tokenizer.ggml.precompiled_charsmap") else {
                return []
            }
            guard array.elementType == .uint8 || array.elementType == .int8 else {
                throw StoredTokenizer.failure(
                    .malformed, "tokenizer.ggml.precompiled_charsmap should be an array of bytes", stored.metadata)
            }
            let bytes = array.withEncodedBytes { Array($0) }
            try CharacterMap.check(bytes, path: stored.metadata.path ?? "")
            return bytes
        } catch let error as GGUFError {
            throw StoredTokenizer.failure(.malformed, error.message, stored.metadata)
        }
    }

    // MARK: - SentencePiece's file

    /// `tokenizer.model`, or nil with a warning when SentencePiece would not load it.
    static func model(_ stored: inout StoredTokenizer) throws -> SentencePieceModel? {
        let isUnigram = stored.model == "t5"
        let byteCount = stored.kinds.filter { $0 == .byte }.count
        guard let unknown = unknown(stored), byteCount == 0 || byteCount == 256 else {
            stored.warnings.append(
                "tokenizer.model is not written: SentencePiece needs a token for the unknown, and all 256 bytes or none"
            )
            return nil
        }
        var model = SentencePieceModel()
        model.algorithm = isUnigram ? .unigram : .bytePair
        model.hasByteFallback = byteCount == 256
        let last = (0..<stored.count).last { !stored.isPadding($0) } ?? 0
        model.pieces = (0...last).map { id in
            guard let text = stored.texts[id], !text.isEmpty else {
                return .init(text: "[PAD\(id)]", score: 0, kind: .unused)
            }
            // SentencePiece knows one unknown token only, and must know it.
            let kind: TokenKind =
                id == unknown ? .unknown : stored.kinds[id] == .unknown ? .control : stored.kinds[id]
            return .init(
                text: kind == .userDefined ? TokenText.replacing(" ", by: TokenText.blank, in: text) : text,
                score: stored.scores?[id] ?? -Float(id), kind: kind)
        }
        model.addsDummyPrefix = try stored.flag("add_space_prefix") ?? true
        model.removesExtraBlanks = try stored.flag("remove_extra_whitespaces") ?? isUnigram
        model.charsmap = isUnigram ? try charactersMap(stored) : []
        model.normalizerName = model.charsmap.isEmpty ? "identity" : "nmt_nfkc"
        model.unknownID = unknown
        model.beginID = stored.ids[.bos] ?? -1
        model.endID = stored.ids[.eos] ?? -1
        model.paddingID = stored.ids[.pad] ?? -1
        return model
    }
}
