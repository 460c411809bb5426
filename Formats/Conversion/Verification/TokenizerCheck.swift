import GGUF

/// Whether a model's tokenizer can work: its lists fit each other and the embedding, its special ids exist.
struct TokenizerCheck {
    private static let prefix = "tokenizer.ggml."
    private(set) var findings: [Finding] = []
    private let metadata: GGUFMetadata

    init(_ source: any ModelSource) {
        metadata = source.metadata
        do {
            guard let model = try metadata.stringIfPresent(Self.prefix + "model") else {
                findings.append(
                    .warning(Self.prefix + "model", "the model brings no tokenizer; texts cannot be given to it"))
                return
            }
            guard !["none", "no_vocab"].contains(model) else { return }
            guard let tokens = try metadata.arrayIfPresent(Self.prefix + "tokens"), tokens.elementType == .string,
                tokens.count > 0
            else {
                fail("tokens", "the list of tokens is missing or empty")
                return
            }
            try checkLists(count: tokens.count)
            checkTokens(tokens)
            try checkSpecial(count: tokens.count)
            try checkMerges(model)
            checkEmbedding(source, count: tokens.count)
        } catch let error as GGUFError {
            findings.append(.error(error.key ?? Self.prefix, error.message))
        } catch {
            findings.append(.error(Self.prefix, "\(error)"))
        }
    }

    private mutating func fail(_ key: String, _ message: String) {
        findings.append(.error(Self.prefix + key, message))
    }

    private mutating func warn(_ key: String, _ message: String) {
        findings.append(.warning(Self.prefix + key, message))
    }

    private mutating func checkLists(count: Int) throws {
        for key in ["scores", "token_type"] {
            guard let list = try metadata.arrayIfPresent(Self.prefix + key) else { continue }
            if list.count < count { fail(key, "there are \(list.count) for \(count) tokens") }
            if list.count > count { warn(key, "there are \(list.count) for \(count) tokens") }
            if key == "scores", let scores = list.floats, let index = scores.firstIndex(where: { $0.isNaN }) {
                fail(key, "the score of token \(index) is NaN")
            }
        }
        let types = try metadata.intsIfPresent(Self.prefix + "token_type") ?? []
        if let index = types.firstIndex(where: { !(0...6).contains($0) }) {
            warn("token_type", "token \(index) is of type \(types[index]); 1 to 6 have a meaning")
        }
    }

    private mutating func checkTokens(_ tokens: GGUFArray) {
        var seen: [[UInt8]: Int] = [:]
        seen.reserveCapacity(tokens.count)
        var index = 0
        var doubles: [(Int, Int)] = []
        var empty: [Int] = []
        var invalid: [Int] = []
        tokens.forEachStringBytes { bytes in
            let token = Array(bytes)
            if token.isEmpty { empty.append(index) }
            if let first = seen[token] { doubles.append((first, index)) } else { seen[token] = index }
            if String(validating: token, as: UTF8.self) == nil { invalid.append(index) }
            index += 1
        }
        if let (first, second) = doubles.first {
            warn("tokens", "\(doubles.count) tokens appear twice, such as \(second), the same as \(first)")
        }
        if let first = empty.first { warn("tokens", "\(empty.count) tokens are empty, the first is \(first)") }
        if let first = invalid.first {
            warn("tokens", "\(invalid.count) tokens are not UTF-8, the first is \(first)")
        }
    }

    private mutating func checkSpecial(count: Int) throws {
        for entry in metadata.entries where entry.key.hasPrefix(Self.prefix) && entry.key.hasSuffix("_token_id") {
            let key = String(entry.key.dropFirst(Self.prefix.count))
            guard let id = entry.value.intValue else {
                fail(key, "the value is no number but \(entry.value.typeText)")
                continue
            }
            // 2³²−1 is how some writers say that there is none.
            if id == Int(UInt32.max) || id == -1 {
                warn(key, "the value \(id) stands for none; leave the key out instead")
            } else if id < 0 || id >= count {
                fail(key, "\(id) is no token; there are \(count)")
            }
        }
    }

    private mutating func checkMerges(_ model: String) throws {
        guard model == "gpt2" else { return }
        guard let merges = try metadata.arrayIfPresent(Self.prefix + "merges")?.stringBytes else {
            return fail("merges", "the list is missing; byte-pair encoding needs it")
        }
        let malformed = merges.indices.filter { number in
            let merge = merges[number]
            guard let blank = merge.dropFirst().firstIndex(of: 32) else { return true }
            return blank == merge.endIndex - 1
        }
        if let first = malformed.first {
            fail("merges", "\(malformed.count) merges are not two parts with a blank between, the first is \(first)")
        }
        if metadata[Self.prefix + "pre"] == nil {
            warn("pre", "the pre-tokenizer is not named, so programs guess it; texts may be cut in other places")
        }
    }

    private mutating func checkEmbedding(_ source: any ModelSource, count: Int) {
        guard let embedding = source.tensors.first(where: { $0.name == "token_embd.weight" }),
            embedding.dimensions.count == 2
        else { return }
        let rows = embedding.dimensions[1]
        if count > rows { fail("tokens", "there are \(count) tokens, but the embedding has only \(rows) rows") }
        if count < rows { warn("tokens", "there are \(count) tokens for \(rows) rows of the embedding") }
    }
}
