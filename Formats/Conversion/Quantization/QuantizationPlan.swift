import ByteIO
import GGUF
import TensorTypes

/// What quantizing a model will do, tensor by tensor; made without touching tensor data.
public struct QuantizationPlan: Sendable {
    /// One tensor of the result.
    public struct Entry: Sendable {
        public let source: SourceTensor
        public let type: TensorType
        public let byteCount: Int
        /// The type that the recipe wanted but rows of this length cannot have.
        public let replaced: TensorType?
        /// Whether the importance matrix weighs this tensor's columns.
        public let usesImportance: Bool

        /// Whether the bytes stay as they are.
        public var isCopied: Bool { type == source.type }
    }

    /// In the order in which they are written.
    public let entries: [Entry]
    /// The result's metadata.
    public let metadata: GGUFMetadata
    /// Why the plan cannot be carried out, a sentence each. ``Quantizer/run(_:source:importance:destination:options:)``
    /// throws the first.
    public let problems: [ConversionError]
    /// What the user should know, a sentence each.
    public let warnings: [String]

    public var sourceByteCount: Int { entries.reduce(0) { $0 + $1.source.byteCount } }
    /// Bytes of all tensors, without header and padding.
    public var byteCount: Int { entries.reduce(0) { $0 + $1.byteCount } }
    public var elementCount: Int { entries.reduce(0) { $0 + $1.source.elementCount } }
    /// Mean bits a weight takes, block scales included.
    public var bitsPerWeight: Double { elementCount == 0 ? 0 : Double(byteCount) * 8 / Double(elementCount) }

    /// - Parameters:
    ///   - importance: from `incipit imatrix`; nil weighs all columns alike.
    ///   - allowsRequantizing: whether quantized tensors may be quantized again, which adds one rounding to another.
    ///     Turning them into floats, and keeping them, is always possible.
    ///   - provenance: `incipit.*` keys that say where the file is from; nil leaves them out.
    /// - Throws: ``ConversionError`` when the source is no model, or metadata of the wrong type.
    public init(
        source: any ModelSource, recipe: QuantizationRecipe, importance: ImportanceMatrix?, allowsRequantizing: Bool,
        provenance: Provenance?
    ) throws {
        let kind = try source.metadata.stringIfPresent("general.type") ?? "model"
        guard !["imatrix", "adapter"].contains(kind) else {
            throw ConversionError(
                .invalidRequest, "this file is of the kind \(kind.debugDescription); only models can be quantized",
                path: source.path)
        }
        guard !source.tensors.isEmpty else {
            throw ConversionError(
                .missingTensor, "there are no tensors, only a vocabulary; nothing can be quantized", path: source.path)
        }
        let tensors = QuantizationRecipe.ordered(source.tensors)
        let choices = recipe.types(
            of: tensors, model: try MixModel(source.metadata), hasImportance: importance != nil)
        var entries: [Entry] = []
        var problems = PlanProblems(path: source.path, allowsRequantizing: allowsRequantizing)
        for (tensor, choice) in zip(tensors, choices) {
            let rows = importance?.entries[tensor.name]
            let fits = problems.check(tensor, choice.type, recipe: recipe, importance: rows)
            guard
                let byteCount = choice.type.byteCount(elements: tensor.elementCount),
                tensor.rowLength % choice.type.blockSize == 0
            else {
                throw ConversionError(
                    .unexpectedTensor, "\(tensor.name): rows of \(tensor.rowLength) values are no whole blocks",
                    path: source.path, tensor: tensor.name)
            }
            entries.append(
                Entry(
                    source: tensor, type: choice.type, byteCount: byteCount, replaced: choice.replaced,
                    usesImportance: fits && choice.type != tensor.type && choice.type.usesImportance))
        }
        self.entries = entries
        self.problems = problems.errors
        warnings = Self.warnings(
            entries, choices, recipe, hasImportance: importance != nil, tensorsWithoutImportance: problems.unweighted)
        metadata = Self.metadata(of: source, recipe: recipe, importance: importance, provenance: provenance)
    }

    private static func warnings(
        _ entries: [Entry], _ choices: [QuantizationRecipe.Choice], _ recipe: QuantizationRecipe, hasImportance: Bool,
        tensorsWithoutImportance: [String]
    ) -> [String] {
        var warnings: [String] = []
        let used = Set(choices.compactMap(\.rule))
        for (index, rule) in recipe.rules.enumerated() where !used.contains(index) {
            let matches = entries.contains { rule.matches($0.source.name) }
            let fate =
                matches
                ? "only matches tensors that an earlier rule or option decides, or that always keep their type"
                : "matches no tensor"
            warnings.append("the rule \(rule.pattern)=\(rule.type) \(fate)")
        }
        let replaced = entries.filter { $0.replaced != nil }
        if let first = replaced.first {
            warnings.append(
                "\(replaced.count) of \(entries.count) tensors have rows that do not fill blocks of the type chosen and get "
                    + "another: \(first.source.name) has rows of \(first.source.rowLength), so \(first.type) in place of "
                    + "\(first.replaced?.name ?? "")")
        }
        if hasImportance, let first = tensorsWithoutImportance.first {
            warnings.append(
                "the importance matrix says nothing about \(tensorsWithoutImportance.count) of the tensors, such as "
                    + "\(first); their columns weigh alike")
        }
        let twice = entries.filter { !$0.isCopied && $0.source.type.isQuantized && $0.type.isQuantized }
        if let first = twice.first {
            warnings.append(
                "\(twice.count) tensors are quantized a second time, such as \(first.source.name) from "
                    + "\(first.source.type) to \(first.type): the errors add up, so start from the original when there is one"
            )
        }
        return warnings
    }

    /// llama-quantize's metadata: those of the source, version and file type at the end, no split keys.
    private static func metadata(
        of source: any ModelSource, recipe: QuantizationRecipe, importance: ImportanceMatrix?, provenance: Provenance?
    ) -> GGUFMetadata {
        var metadata = source.metadata
        let dropped = [
            "general.quantization_version", "general.file_type", "split.no", "split.count", "split.tensors.count",
            GeneralMetadata.fingerprintKey, GeneralMetadata.recipeKey,
        ]
        for key in dropped { metadata[key] = nil }
        metadata["general.quantization_version"] = .uint32(2)
        metadata["general.file_type"] = .uint32(recipe.mix.fileType)
        if let importance {
            for (key, value) in importance.provenance {
                metadata[key] = nil
                metadata[key] = value
            }
        }
        if let provenance {
            if let fingerprint = provenance.fingerprint {
                metadata[GeneralMetadata.fingerprintKey] = .text(fingerprint)
            }
            metadata[GeneralMetadata.recipeKey] = .text(provenance.recipe(recipe.mix))
        }
        return metadata
    }
}

/// Where a file made here is from.
public struct Provenance: Sendable {
    /// The base fingerprint of the source, or nil when it has none.
    public var fingerprint: String?
    /// Options that decided, as on the command line; empty when the mix alone did.
    public var options: String

    public init(fingerprint: String?, options: String) {
        self.fingerprint = fingerprint
        self.options = options
    }

    /// What is recorded, as canonical JSON.
    func recipe(_ mix: QuantizationMix) -> String {
        var recipe = JSONObject([("operation", "quantize"), ("type", .string(mix.name))])
        if !options.isEmpty { recipe["options"] = .string(options) }
        return JSONValue.object(recipe).canonicalText
    }
}

/// Collects why tensors cannot become what the recipe wants.
private struct PlanProblems {
    let path: String
    let allowsRequantizing: Bool
    var errors: [ConversionError] = []
    /// Tensors whose type could use an importance that the matrix does not have.
    var unweighted: [String] = []

    /// Types of which llama.cpp demands an importance in layers.
    private static let demanding: Set<String> = ["IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"]

    /// - Returns: whether the tensor has an importance that fits.
    mutating func check(
        _ tensor: SourceTensor, _ type: TensorType, recipe: QuantizationRecipe, importance: ImportanceMatrix.Entry?
    ) -> Bool {
        guard type != tensor.type else { return false }
        if !tensor.type.isDecodable {
            errors.append(problem(.unsupported, tensor, "\(tensor.type) cannot be read, only copied"))
        } else if !type.isEncodable {
            errors.append(problem(.unsupported, tensor, "\(type) cannot be written by this version"))
        } else if tensor.type.isQuantized, type.isQuantized, !allowsRequantizing {
            errors.append(
                problem(
                    .invalidRequest, tensor,
                    "it is quantized already (\(tensor.type)), and quantizing it again to \(type) adds one error to "
                        + "another. Start from the F16, BF16 or F32 original, or insist with --allow-requantize"))
        }
        let isOutside = [.tokenEmbedding, .output].contains(TensorKind(name: tensor.name))
        let isDemanded =
            type.requiresImportance
            || !isOutside
                && (Self.demanding.contains(type.name) || (recipe.mix.needsImportance && type.name == "Q2_K"))
        guard let importance else {
            if isDemanded {
                errors.append(
                    problem(
                        .invalidRequest, tensor,
                        "\(type) needs an importance matrix that knows this tensor: make one with `incipit imatrix MODEL TEXT` "
                            + "and pass --imatrix, or choose a type of more bits"))
            } else if type.usesImportance, !isOutside {
                unweighted.append(tensor.name)
            }
            return false
        }
        let matrices = tensor.dimensions.count > 2 ? tensor.dimensions[2] : 1
        let wanted = tensor.rowLength.multipliedReportingOverflow(by: matrices)
        guard !wanted.overflow, importance.sums.count == wanted.partialValue else {
            if type.usesImportance, !isOutside || isDemanded {
                errors.append(
                    problem(
                        .invalidRequest, tensor,
                        "the importance matrix has \(importance.sums.count) values for it; \(tensor.rowLength) columns of "
                            + "\(matrices) matrices are needed. It was made with another model"))
            }
            return false
        }
        return true
    }

    private func problem(_ code: ConversionError.Code, _ tensor: SourceTensor, _ text: String) -> ConversionError {
        ConversionError(code, "tensor \(tensor.name): \(text)", path: path, tensor: tensor.name)
    }
}
