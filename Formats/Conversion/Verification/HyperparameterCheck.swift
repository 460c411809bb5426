import GGUF
import TensorTypes

/// Whether a model's hyperparameters are possible, and whether its tensors have the shapes they promise.
///
/// Knows no architecture by name: it looks at keys and tensors that mean the same in all of them, and leaves alone what
/// has keys of its own (compressed attention, recurrent layers).
struct HyperparameterCheck {
    private(set) var findings: [Finding] = []
    private let metadata: GGUFMetadata
    private let tensors: [String: SourceTensor]
    private var prefix = ""

    init(_ source: any ModelSource) {
        metadata = source.metadata
        tensors = Dictionary(source.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        guard let architecture = string("general.architecture") else {
            findings.append(
                .error("general.architecture", "the key is missing, so no program knows how to run this model"))
            return
        }
        prefix = architecture + "."
        guard !tensors.isEmpty else { return }
        checkNumbers()
        checkLayers(source.tensors)
        checkShapes()
        checkTypes(source.tensors)
    }

    // MARK: Reading

    private mutating func string(_ key: String) -> String? {
        do { return try metadata.stringIfPresent(key) } catch { note(key, error) }
        return nil
    }

    /// One value or one a layer; the first stands for all.
    private mutating func ints(_ key: String) -> [Int]? {
        do { return try metadata.intsIfPresent(prefix + key) } catch { note(prefix + key, error) }
        return nil
    }

    private mutating func float(_ key: String) -> Float? {
        do { return try metadata.floatIfPresent(prefix + key) } catch { note(prefix + key, error) }
        return nil
    }

    private mutating func note(_ key: String, _ error: GGUFError) { findings.append(.error(key, error.message)) }

    private mutating func fail(_ key: String, _ message: String) { findings.append(.error(prefix + key, message)) }

    // MARK: Checks

    private mutating func checkNumbers() {
        let layers = ints("block_count")?.first
        for key in ["context_length", "embedding_length", "block_count"] {
            guard let value = ints(key)?.first else {
                fail(key, "the key is missing; every model needs it")
                continue
            }
            if value < 1 { fail(key, "the value is \(value); at least 1 is possible") }
        }
        if let layers, layers > 4096 { fail("block_count", "\(layers) layers are more than any program takes") }
        let heads = ints("attention.head_count")
        let keyValueHeads = ints("attention.head_count_kv")
        for (key, values) in [("attention.head_count", heads), ("attention.head_count_kv", keyValueHeads)] {
            guard let values else { continue }
            if values.count > 1, let layers, values.count != layers {
                fail(key, "there are \(values.count) values for \(layers) layers")
            }
            // Layers without attention have none.
            if values.contains(where: { $0 < 0 }) || (values.count == 1 && values[0] < 1) {
                fail(key, "the value is \(values.min() ?? 0); at least 1 is possible")
            }
        }
        if let heads, let keyValueHeads {
            for layer in 0..<max(heads.count, keyValueHeads.count) {
                let all = heads[min(layer, heads.count - 1)]
                let shared = keyValueHeads[min(layer, keyValueHeads.count - 1)]
                guard all > 0, shared > 0, all % shared != 0 else { continue }
                fail("attention.head_count_kv", "\(shared) does not divide the \(all) query heads")
                break
            }
        }
        for key in ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "rope.freq_base"] {
            if let value = float(key), !(value > 0 && value.isFinite) {
                fail(key, "the value is \(value); it must be above zero")
            }
        }
        if let rotated = ints("rope.dimension_count")?.first {
            if rotated < 0 || rotated % 2 != 0 { fail("rope.dimension_count", "\(rotated) is no even number") }
            if let length = ints("attention.key_length")?.first, rotated > length {
                fail("rope.dimension_count", "\(rotated) is more than a head's \(length)")
            }
        }
        if let used = ints("expert_used_count")?.first, let experts = ints("expert_count")?.first, used > experts {
            fail("expert_used_count", "\(used) of only \(experts) experts are to be used")
        }
    }

    private mutating func checkLayers(_ tensors: [SourceTensor]) {
        guard let layers = ints("block_count")?.first, layers >= 1, layers <= 4096 else { return }
        let present = Set(tensors.compactMap { QuantizationRecipe.layer($0.name) })
        if let greatest = present.max(), greatest >= layers {
            fail("block_count", "it is \(layers), but there are tensors of layer \(greatest)")
        }
        let missing = (0..<layers).filter { !present.contains($0) }
        if let first = missing.first {
            fail(
                "block_count",
                "it is \(layers), but \(missing.count == 1 ? "layer \(first) has" : "\(missing.count) layers, the first \(first), have") no tensors; the file is incomplete"
            )
        }
    }

    /// Shapes that follow from the hyperparameters, of the tensors that are there.
    private mutating func checkShapes() {
        guard let width = ints("embedding_length")?.first, width > 0 else { return }
        expect("token_embd.weight", [width, nil])
        expect("output_norm.weight", [width])
        expect("output.weight", [width, nil])
        if let embedding = tensors["token_embd.weight"], let output = tensors["output.weight"],
            embedding.dimensions.count == 2, output.dimensions.count == 2,
            embedding.dimensions[1] != output.dimensions[1]
        {
            findings.append(
                .error(
                    "output.weight",
                    "it has \(output.dimensions[1]) rows for a vocabulary of \(embedding.dimensions[1])"))
        }
        guard ints("attention.kv_lora_rank") == nil, ints("ssm.inner_size") == nil, ints("wkv.head_size") == nil,
            let layers = ints("block_count")?.first, (1...4096).contains(layers),
            let heads = ints("attention.head_count"), heads.count == 1, heads[0] > 0
        else { return }
        let shared = ints("attention.head_count_kv") ?? heads
        let keyLength = ints("attention.key_length")?.first ?? width / heads[0]
        let valueLength = ints("attention.value_length")?.first ?? keyLength
        let inner = ints("feed_forward_length")
        // Layers that see all and layers that see a window may have heads of different sizes.
        guard ints("attention.key_length_swa") == nil, shared.count == 1 else { return }
        for layer in 0..<layers {
            let name = "blk.\(layer)."
            expect(name + "attn_norm.weight", [width])
            // A gate of the attention's output may lie in the query projection: then it is twice as tall.
            expect(name + "attn_k.weight", [width, keyLength * shared[0]])
            expect(name + "attn_v.weight", [width, valueLength * shared[0]])
            expect(name + "attn_output.weight", [valueLength * heads[0], width])
            guard let inner, inner.count == 1 else { continue }
            expect(name + "ffn_down.weight", [inner[0], width])
            expect(name + "ffn_gate.weight", [width, inner[0]])
        }
    }

    private mutating func expect(_ name: String, _ shape: [Int?]) {
        guard let tensor = tensors[name] else { return }
        var dimensions = tensor.dimensions
        while dimensions.count > shape.count, dimensions.last == 1 { dimensions.removeLast() }
        let fits = dimensions.count == shape.count && zip(dimensions, shape).allSatisfy { $1 == nil || $0 == $1 }
        guard !fits else { return }
        func text(_ values: [Int?]) -> String { values.map { $0.map(String.init) ?? "?" }.joined(separator: "×") }
        findings.append(
            .error(name, "its shape is \(text(tensor.dimensions)); the hyperparameters ask for \(text(shape))"))
    }

    private mutating func checkTypes(_ all: [SourceTensor]) {
        if tensors["token_embd.weight"] == nil {
            findings.append(
                .warning(
                    "token_embd.weight", "there is no token embedding; this is no language model, or a part of one"))
        }
        for tensor in all where tensor.name.hasSuffix("_norm.weight") && tensor.type.isQuantized {
            findings.append(
                .error(tensor.name, "a norm is stored as \(tensor.type); programs expect floats there"))
        }
        if all.contains(where: { $0.type.isQuantized }), metadata["general.quantization_version"] == nil {
            findings.append(
                .warning(
                    "general.quantization_version", "the key is missing though tensors are quantized; it should be 2"))
        }
    }
}
