import ByteIO
import GGUF
import TensorTypes

/// How to quantize a model: a mix, and what the user wants otherwise.
///
///     var recipe = QuantizationRecipe(mix: mix)
///     recipe.outputType = .q8_0
///     let types = try recipe.types(of: source.tensors, model: MixModel(source.metadata), hasImportance: false)
public struct QuantizationRecipe: Sendable {
    public var mix: QuantizationMix
    /// In order; the first whose pattern is found in a tensor's name sets its type, unless ``outputType`` or
    /// ``embeddingType`` names it.
    public var rules: [TensorTypeRule] = []
    /// For `output.weight`, or the token embedding where that is the output too.
    public var outputType: TensorType?
    /// For `token_embd.weight`.
    public var embeddingType: TensorType?
    /// Give every weight the mix's main type.
    public var isPure = false
    /// Leave `output.weight` as it is.
    public var leavesOutput = false

    public init(mix: QuantizationMix) { self.mix = mix }

    /// The decision about one tensor.
    public struct Choice: Sendable, Equatable {
        public var type: TensorType
        /// Which rule of ``QuantizationRecipe/rules`` decided.
        public var rule: Int?
        /// The type that was wanted but that rows of this length cannot have.
        public var replaced: TensorType?
    }

    /// The order in which tensors are written and counted: those outside layers, then layer by layer, by bytes of the
    /// name within. llama.cpp's order, so that files come out the same.
    public static func ordered(_ tensors: [SourceTensor]) -> [SourceTensor] {
        tensors.map { (layer($0.name) ?? -1, ExactString($0.name), $0) }
            .sorted { $0.0 != $1.0 ? $0.0 < $1.0 : $0.1 < $1.1 }.map(\.2)
    }

    /// The layer that a name like `blk.12.attn_q.weight` belongs to.
    static func layer(_ name: String) -> Int? {
        guard name.hasPrefix("blk.") else { return nil }
        return Int(name.dropFirst(4).prefix { $0.isASCII && $0.isNumber })
    }

    /// The type of each tensor, in the order given, which must be that of ``ordered(_:)``.
    public func types(of tensors: [SourceTensor], model: MixModel, hasImportance: Bool) -> [Choice] {
        var state = MixState(recipe: self, model: model, hasImportance: hasImportance, tensors: tensors)
        return tensors.map { state.choose($0) }
    }

    /// Replaces a type whose blocks rows of this length do not fill.
    static func fitting(_ type: TensorType, rowLength: Int) -> TensorType {
        guard rowLength % type.blockSize != 0 else { return type }
        let fallbacks = [
            "IQ1_S": "IQ4_NL", "IQ1_M": "IQ4_NL", "IQ2_XXS": "IQ4_NL", "IQ2_XS": "IQ4_NL", "IQ2_S": "IQ4_NL",
            "IQ3_XXS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ4_XS": "IQ4_NL", "Q2_0": "Q4_0", "Q2_K": "Q4_0", "Q3_K": "Q4_0",
            "TQ1_0": "Q4_0", "TQ2_0": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "NVFP4": "Q4_0",
            "Q1_0": "Q4_0",
        ]
        let fallback = fallbacks[type.name].flatMap { TensorType(name: $0) } ?? .f16
        return rowLength % fallback.blockSize == 0 ? fallback : .f16
    }
}

/// What mixes ask about a model.
public struct MixModel: Sendable {
    public var architecture: String
    public var layerCount: Int
    /// Of the first layer, where layers differ.
    public var headCount: Int
    public var keyValueHeadCount: Int
    public var expertCount: Int

    public init(architecture: String, layerCount: Int, headCount: Int, keyValueHeadCount: Int, expertCount: Int) {
        self.architecture = architecture
        self.layerCount = layerCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.expertCount = expertCount
    }

    /// Reads the hyperparameters. What is missing counts as a plain model of one head; a value that is no number throws.
    public init(_ metadata: GGUFMetadata) throws {
        architecture = try metadata.stringIfPresent("general.architecture") ?? ""
        let prefix = architecture + "."
        layerCount = try metadata.intIfPresent(prefix + "block_count") ?? 0
        headCount = try metadata.intsIfPresent(prefix + "attention.head_count")?.first ?? 1
        keyValueHeadCount = try metadata.intsIfPresent(prefix + "attention.head_count_kv")?.first ?? headCount
        expertCount = try metadata.intIfPresent(prefix + "expert_count") ?? 0
    }

    /// At least four query heads to a key and value head.
    var isGrouped: Bool { keyValueHeadCount > 0 && headCount / keyValueHeadCount >= 4 }
    var isFalcon: Bool { architecture == "falcon" }
    /// The models llama.cpp calls 70B: their value projection is an eighth of the query projection, so more bits for it
    /// cost next to nothing.
    var isLlama70B: Bool {
        switch architecture {
        case "llama": layerCount == 80 && headCount != keyValueHeadCount
        case "qwen2", "deci", "olmo": layerCount == 80
        case "jais2": layerCount == 68
        default: false
        }
    }
}

/// Walks the tensors of a model in order, counting the kinds that rules count.
struct MixState {
    let recipe: QuantizationRecipe
    let model: MixModel
    let hasImportance: Bool
    private let valueCount: Int
    private let isTied: Bool
    private var counters: [TensorKind: Int] = [:]

    init(recipe: QuantizationRecipe, model: MixModel, hasImportance: Bool, tensors: [SourceTensor]) {
        self.recipe = recipe
        self.model = model
        self.hasImportance = hasImportance
        let kinds = tensors.map { TensorKind(name: $0.name) }
        valueCount = kinds.count { $0 == .attentionValue }
        isTied = !kinds.contains(.output)
    }

    mutating func choose(_ tensor: SourceTensor) -> QuantizationRecipe.Choice {
        let kind = TensorKind(name: tensor.name)
        guard !KeptTensors.contains(tensor, architecture: model.architecture),
            !(recipe.leavesOutput && kind == .output)
        else { return .init(type: tensor.type) }
        var wanted = recipe.mix.type
        var rule: Int?
        if kind == .tokenEmbedding, let type = recipe.embeddingType {
            wanted = type
        } else if kind == .output, let type = recipe.outputType {
            wanted = type
        } else if let match = recipe.rules.firstIndex(where: { $0.matches(tensor.name) }) {
            wanted = recipe.rules[match].type
            rule = match
        } else if !recipe.isPure, recipe.mix.type.isQuantized {
            wanted = type(of: tensor, kind)
        }
        let type = QuantizationRecipe.fitting(wanted, rowLength: tensor.rowLength)
        return .init(type: type, rule: rule, replaced: type == wanted ? nil : wanted)
    }

    /// The mix's own choice.
    private mutating func type(of tensor: SourceTensor, _ kind: TensorKind) -> TensorType {
        let mix = recipe.mix
        if model.architecture == "glm5-next",
            ["attn_q_a", "attn_q_b", "nextn.eh_proj"].contains(where: tensor.name.contains)
        {
            return .q8_0
        }
        if kind == .output || (isTied && kind == .tokenEmbedding) {
            if let type = recipe.outputType { return type }
            if mix.name == "MXFP4_MOE" || model.isFalcon || tensor.rowLength % mix.type.blockSize != 0 { return .q8_0 }
            return mix.output ?? (mix.type == .q8_0 ? .q8_0 : .q6_K)
        }
        if mix.name == "MXFP4_MOE" {
            let isExperts = tensor.dimensions.count > 2 && tensor.dimensions[2] > 1
            let isFeedForward = [.feedForwardUp, .feedForwardGate, .feedForwardDown].contains(kind)
            return isExperts && (model.architecture != "bailingmoe3" || isFeedForward) ? mix.type : .q8_0
        }
        if kind == .tokenEmbedding { return mix.embedding ?? mix.type }

        let counter = counters[kind, default: 0]
        counters[kind] = counter + 1
        let isCounted = kind == .attentionValue
        // Experts are not always in order, so there the name says the layer.
        let layer = model.expertCount > 1 ? QuantizationRecipe.layer(tensor.name) ?? counter : counter
        let place = MixPlace(
            model: model, hasImportance: hasImportance, counter: counter, index: isCounted ? counter : layer,
            count: isCounted ? valueCount : model.layerCount)
        let match = mix.rules.first { rule in rule.kind == kind && rule.conditions.allSatisfy { $0.holds(place) } }
        var type = match?.type ?? mix.type
        guard !mix.isLowBit else { return type }
        if kind == .attentionValue, model.isLlama70B, ["Q3_K", "Q4_K"].contains(type.name) { type = .q5_K }
        // A hundred megabytes for all of Mixtral.
        if [.attentionValue, .attentionKey].contains(kind), model.expertCount == 8 { type = .q8_0 }
        return type
    }
}
