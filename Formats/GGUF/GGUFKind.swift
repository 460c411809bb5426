import TensorTypes

/// What a GGUF file is for: a model, or one of the files that stand beside one.
///
/// Each kind recognises its files and knows which facts about them matter. ``all`` lists them; the first that
/// recognises a file is its kind, the last recognises every file.
public struct GGUFKind: Sendable {
    /// A fact about a file, for people.
    public struct Fact: Sendable, Hashable {
        public let name: String
        public let value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// A short identifier: "lora".
    public let name: String
    /// What it is, in words.
    public let title: String
    private let recognises: @Sendable (GGUFFile) -> Bool
    private let describe: @Sendable (GGUFFile) -> [Fact]

    init(
        _ name: String, _ title: String, recognises: @escaping @Sendable (GGUFFile) -> Bool,
        facts: @escaping @Sendable (GGUFFile) -> [Fact]
    ) {
        self.name = name
        self.title = title
        self.recognises = recognises
        describe = facts
    }

    /// What matters about a file of this kind. Never throws: what is missing or odd is said in the facts.
    public func facts(of file: GGUFFile) -> [Fact] { describe(file) }

    /// The kind of a file.
    public static func of(_ file: GGUFFile) -> GGUFKind { all.first { $0.recognises(file) } ?? model }

    public static let all: [GGUFKind] = [
        splitPart, lora, adapter, controlVector, importanceMatrix, projector, vocabulary, model,
    ]
}

// MARK: - The kinds

extension GGUFKind {
    /// A part of a split model, opened alone.
    public static let splitPart = GGUFKind("split-part", "part of a split model") { file in
        file.parts.count == 1 && file.parts[0].split != nil
    } facts: { file in
        guard let split = file.parts[0].split else { return [] }
        var facts = [
            Fact("part", "\(split.number + 1) of \(split.count)"),
            Fact("tensors", "\(file.tensors.count) of \(split.tensorCount)"),
        ]
        if let name = GGUFSplit.parse(path: file.path) {
            facts.append(Fact("first part", GGUFSplit.path(prefix: name.prefix, number: 0, count: split.count)))
        } else {
            facts.append(Fact("name", "does not end in -0000N-of-0000M.gguf; it was renamed"))
        }
        return facts
    }

    /// A LoRA adapter: pairs of narrow matrices, `X.lora_a` of n_in × r and `X.lora_b` of r × n_out.
    public static let lora = GGUFKind("lora", "LoRA adapter") { file in
        file.text("general.type") == "adapter" && (file.text("adapter.type") ?? "lora") == "lora"
            || file.text("general.type") != "adapter" && file.tensors.contains { $0.name.hasSuffix(".lora_a") }
    } facts: { file in
        let names = Set(file.tensors.map(\.name))
        let first = file.tensors.filter { $0.name.hasSuffix(".lora_a") }
        let second = file.tensors.filter { $0.name.hasSuffix(".lora_b") }
        let ranks = Set(second.map(\.rowLength)).sorted()
        var facts: [Fact] = []
        if !ranks.isEmpty { facts.append(Fact("rank", ranks.map(String.init).joined(separator: ", "))) }
        if let alpha = try? file.metadata.floatIfPresent("adapter.lora.alpha") {
            facts.append(Fact("alpha", "\(alpha)"))
            if ranks.count == 1, ranks[0] > 0, alpha != 0 {
                facts.append(Fact("scale", "\(alpha / Float(ranks[0])) (alpha / rank)"))
            }
        } else {
            facts.append(Fact("alpha", "missing; readers take a scale of 1"))
        }
        for (key, name) in [("task_name", "task"), ("prompt_prefix", "prompt prefix")] {
            if let text = file.text("adapter.lora.\(key)") { facts.append(Fact(name, text)) }
        }
        facts.append(Fact("adapted matrices", "\(first.count)"))
        if let layers = file.layers { facts.append(Fact("layers", layers)) }
        let lone =
            first.filter { !names.contains(String($0.name.dropLast()) + "b") }
            + second.filter { !names.contains(String($0.name.dropLast()) + "a") }
        if !lone.isEmpty {
            facts.append(Fact("incomplete", "\(lone.count) without their other half, \(lone[0].name) first"))
        }
        return facts
    }

    /// An adapter of another type than LoRA.
    public static let adapter = GGUFKind("adapter", "adapter") { file in
        file.text("general.type") == "adapter"
    } facts: { file in
        [Fact("adapter type", file.text("adapter.type") ?? "not given")]
            + (file.layers.map { [Fact("layers", $0)] } ?? [])
    }

    /// A control vector: `direction.N`, added behind layer N.
    public static let controlVector = GGUFKind("control-vector", "control vector") { file in
        file.text("general.architecture") == "controlvector"
            || !file.tensors.isEmpty && file.tensors.allSatisfy { $0.name.hasPrefix("direction.") }
    } facts: { file in
        var facts: [Fact] = []
        if let hint = file.text("controlvector.model_hint") { facts.append(Fact("for", hint)) }
        let numbers = file.tensors.compactMap { Int($0.name.dropFirst("direction.".count)) }.sorted()
        if let low = numbers.first, let high = numbers.last {
            facts.append(Fact("layers", low == high ? "\(low)" : "\(low)–\(high), \(numbers.count) of them"))
            if low == 0 { facts.append(Fact("odd", "direction.0 is not allowed; layers count from 1")) }
        }
        let widths = Set(file.tensors.map(\.elementCount)).sorted()
        facts.append(Fact("width", widths.map(String.init).joined(separator: ", ")))
        return facts
    }

    /// An importance matrix: `X.in_sum2` and `X.counts` for each weight `X`.
    public static let importanceMatrix = GGUFKind("imatrix", "importance matrix") { file in
        file.text("general.type") == "imatrix" || file.metadata["imatrix.chunk_count"] != nil
    } facts: { file in
        var facts: [Fact] = []
        let datasets = (try? file.metadata.stringsIfPresent("imatrix.datasets")) ?? []
        facts.append(Fact("datasets", datasets.isEmpty ? "not given" : datasets.joined(separator: ", ")))
        let chunks = (try? file.metadata.intIfPresent("imatrix.chunk_count")) ?? nil
        let size = (try? file.metadata.intIfPresent("imatrix.chunk_size")) ?? nil
        if let chunks { facts.append(Fact("chunks", "\(chunks)")) }
        if let size { facts.append(Fact("tokens a chunk", "\(size)")) }
        let sums = file.tensors.filter { $0.name.hasSuffix(".in_sum2") }
        facts.append(Fact("weights", "\(sums.count)"))
        if let layers = file.layers { facts.append(Fact("layers", layers)) }
        let lone = sums.filter { file.tensor(named: $0.name.dropLast("in_sum2".count) + "counts") == nil }
        if !lone.isEmpty { facts.append(Fact("incomplete", "\(lone.count) without counts, \(lone[0].name) first")) }
        return facts
    }

    /// What turns images or sound into embeddings, beside a multimodal model.
    public static let projector = GGUFKind("mmproj", "multimodal projector") { file in
        file.text("general.type") == "mmproj" || file.text("general.architecture") == "clip"
    } facts: { file in
        var facts: [Fact] = []
        if let type = file.text("clip.projector_type") { facts.append(Fact("projector", type)) }
        for modality in ["vision", "audio"] {
            guard case .bool(true)? = file.metadata["clip.has_\(modality)_encoder"] else { continue }
            let prefix = "clip.\(modality)."
            let numbers = [
                ("block_count", "layers"), ("embedding_length", "wide"), ("projection_dim", "projected to"),
                ("image_size", "pixels an image"), ("patch_size", "pixels a patch"), ("num_mel_bins", "mel bins"),
            ].compactMap { key, word in file.metadata[prefix + key]?.intValue.map { "\($0) \(word)" } }
            facts.append(Fact("\(modality) encoder", numbers.joined(separator: ", ")))
        }
        return facts
    }

    /// A tokenizer without a model.
    public static let vocabulary = GGUFKind("vocabulary", "vocabulary only") { file in
        file.tensors.isEmpty && file.metadata["tokenizer.ggml.tokens"] != nil
    } facts: { file in
        var facts: [Fact] = []
        if let model = file.text("tokenizer.ggml.model") { facts.append(Fact("tokenizer", model)) }
        if let pre = file.text("tokenizer.ggml.pre") { facts.append(Fact("pre-tokenizer", pre)) }
        if case .array(let tokens)? = file.metadata["tokenizer.ggml.tokens"] {
            facts.append(Fact("tokens", "\(tokens.count)"))
        }
        if case .array(let merges)? = file.metadata["tokenizer.ggml.merges"] {
            facts.append(Fact("merges", "\(merges.count)"))
        }
        return facts
    }

    /// Everything else.
    public static let model = GGUFKind("model", "model") { _ in
        true
    } facts: { file in
        file.parts.count > 1 ? [Fact("parts", "\(file.parts.count)")] : []
    }
}

extension GGUFFile {
    /// A string of the metadata, if it is there and is one.
    fileprivate func text(_ key: String) -> String? {
        if case .string(let text)? = metadata[key] { text.text } else { nil }
    }

    /// The layers that tensors `blk.N.…` belong to: "0–11".
    fileprivate var layers: String? {
        let numbers = tensors.compactMap { tensor -> Int? in
            guard tensor.name.hasPrefix("blk.") else { return nil }
            return Int(tensor.name.dropFirst(4).prefix { $0 != "." })
        }
        guard let low = numbers.min(), let high = numbers.max() else { return nil }
        return low == high ? "\(low)" : "\(low)–\(high)"
    }
}
