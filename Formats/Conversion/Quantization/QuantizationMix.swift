import TensorTypes

/// A named way to quantize a whole model: the type most weights get, and which weights get another.
///
/// The names and choices are llama.cpp's ("Q4_K_M"), so that a file made here has the types, and the bytes, that
/// `llama-quantize` would have given it. ``QuantizationRecipe`` applies a mix to a model.
public struct QuantizationMix: Sendable {
    /// "Q4_K_M".
    public let name: String
    /// The value of `general.file_type`.
    public let fileType: UInt32
    /// What weights get that no rule names.
    public let type: TensorType
    /// One line on what to expect.
    public let summary: String
    /// Whether results without an importance matrix are of no use, so that it is demanded. Types that cannot be encoded
    /// without one demand it themselves.
    public let needsImportance: Bool

    /// What the token embedding gets when it is not also the output; nil: ``type``.
    let embedding: TensorType?
    /// What the output projection (or the embedding that doubles as one) gets; nil: Q6_K, or Q8_0 if that is the mix.
    let output: TensorType?
    /// The first that applies decides; none: ``type``.
    let rules: [MixRule]
    /// Mixes of two bits and less have rules of their own for models of experts.
    let isLowBit: Bool

    /// The mix or type of this name, without regard to case: "q4_k_m", "Q4_K" (which means Q4_K_M), "F16".
    public init?(name: String) {
        let wanted = name.uppercased()
        let resolved = QuantizationMix.aliases[wanted] ?? wanted
        guard let match = QuantizationMix.all.first(where: { $0.name == resolved }) else { return nil }
        self = match
    }

    /// Short names for the middle mix of a family.
    public static let aliases = ["Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"]

    init(
        _ name: String, _ fileType: UInt32, _ type: String, _ summary: String, needsImportance: Bool = false,
        embedding: String? = nil, output: String? = nil, isLowBit: Bool = false, _ rules: [MixRule] = []
    ) {
        self.name = name
        self.fileType = fileType
        self.type = MixRule.type(type)
        self.summary = summary
        self.needsImportance = needsImportance
        self.embedding = embedding.map(MixRule.type)
        self.output = output.map(MixRule.type)
        self.isLowBit = isLowBit
        self.rules = rules
    }
}

/// A kind of tensor gets another type when all conditions hold.
struct MixRule: Sendable {
    let kind: TensorKind
    let type: TensorType
    let conditions: [MixCondition]

    init(_ kind: TensorKind, _ type: String, _ conditions: MixCondition...) {
        self.kind = kind
        self.type = Self.type(type)
        self.conditions = conditions
    }

    /// - Precondition: ggml has a type of this name; the names are ours.
    static func type(_ name: String) -> TensorType {
        guard let type = TensorType(name: name) else { preconditionFailure("\(name) is no tensor type") }
        return type
    }
}

/// What a rule may ask about a tensor and its model.
enum MixCondition: Sendable {
    /// At least four query heads share a key and value head.
    case grouped
    /// Grouped, or at least four experts.
    case groupedOrExperts
    /// Exactly eight experts, as in Mixtral; or any other number.
    case eightExperts, notEightExperts
    case withoutImportance, withImportance
    case falcon, notFalcon
    /// Among the first tensors of its kind.
    case first(Int)
    /// In the first 1/n of the layers.
    case firstLayers(Int)
    /// Among the first (layers / n) tensors of its kind: differs from layers where a layer has several.
    case firstCounted(Int)
    /// Neither in the first eighth nor in the last.
    case middleLayers
    /// In the first or last eighth, or each third in between.
    case moreBits

    func holds(_ place: MixPlace) -> Bool {
        switch self {
        case .grouped: place.model.isGrouped
        case .groupedOrExperts: place.model.isGrouped || place.model.expertCount >= 4
        case .eightExperts: place.model.expertCount == 8
        case .notEightExperts: place.model.expertCount != 8
        case .withoutImportance: !place.hasImportance
        case .withImportance: place.hasImportance
        case .falcon: place.model.isFalcon
        case .notFalcon: !place.model.isFalcon
        case .first(let count): place.counter < count
        case .firstLayers(let part): place.index < place.count / part
        case .firstCounted(let part): place.counter < place.count / part
        case .middleLayers: place.index >= place.count / 8 && place.index < 7 * place.count / 8
        case .moreBits:
            place.index < place.count / 8 || place.index >= 7 * place.count / 8
                || (place.index - place.count / 8) % 3 == 2
        }
    }
}

/// Where a tensor stands in its model, for rules that depend on it.
struct MixPlace {
    let model: MixModel
    let hasImportance: Bool
    /// How many of this kind came before.
    let counter: Int
    /// The layer, or the counter for kinds that are counted.
    let index: Int
    /// What `index` runs up to.
    let count: Int
}
