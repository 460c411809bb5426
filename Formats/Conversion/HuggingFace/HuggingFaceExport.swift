import ByteIO
import Foundation
import GGUF
import TensorTypes

/// A GGUF file as the Hugging Face folder it could have come from: tensors renamed and taken apart, `config.json`,
/// `generation_config.json` and the tokenizer's files.
struct HuggingFaceExport {
    let file: GGUFFile
    let mapping: any ArchitectureMapping
    let modelClass: ModelClass
    let dataType: TensorType
    let tensors: [PlannedTensor]
    /// Everything but the tensors.
    let files: [(name: String, bytes: [UInt8])]
    let warnings: [String]

    typealias TokenizerWriter = (GGUFMetadata) throws -> ExportedTokenizer

    /// - Parameter dataType: nil takes the file's own, F16 for quantized ones.
    init(
        _ file: GGUFFile, dataType requested: TensorType?,
        tokenizer writeTokenizer: TokenizerWriter = { try TokenizerExport.files(of: $0) }
    ) throws {
        var metadata = file.metadata
        metadata.path = file.path
        let mapping = try ArchitectureCatalog.mapping(of: metadata)
        guard let embedding = file.tensor(named: TensorDigests.embeddingName), embedding.dimensions.count == 2 else {
            throw ConversionError(
                .missingTensor, "there is no token embedding; this is no language model", path: file.path,
                tensor: TensorDigests.embeddingName)
        }
        let size = try ModelDimensions(metadata: metadata, vocabulary: embedding.dimensions[1])
        if let tokens = try metadata.arrayIfPresent("tokenizer.ggml.tokens"), tokens.count != size.vocabulary {
            throw ConversionError(
                .malformed, "there are \(tokens.count) tokens but the embedding has \(size.vocabulary) rows",
                path: file.path)
        }
        let dataType = requested ?? Self.usualType(file)
        var builder = TensorBuilder(file: file, dataType: dataType, isExplicit: requested != nil)
        try builder.add(mapping.tensors(size))

        let modelClass = Self.modelClass(metadata, mapping)
        let view = GGUFModelView(
            name: mapping.name, metadata: metadata, size: size, modelClass: modelClass,
            floats: { name in try file.tensor(named: name).map { try file.floats(of: $0) } },
            hasTensor: { file.tensor(named: $0) != nil })
        var config = JSONObject()
        config["architectures"] = [.string(modelClass.name)]
        config["model_type"] = .string(modelClass.type)
        config["vocab_size"] = JSONValue(size.vocabulary)
        for row in mapping.hyperparameters {
            if let value = try row.json(in: metadata, architecture: mapping.name) { config[row.names[0]] = value }
        }
        if mapping.hyperparameters.contains(where: { $0.key == Hyperparameter.keyValueHeads.key }) {
            config["num_key_value_heads"] = JSONValue(size.keyValueHeads)
        }
        try mapping.addFields(from: view, to: &config)
        config["tie_word_embeddings"] = .bool(builder.isTied)
        config["torch_dtype"] = .string(
            ["F32": "float32", "F16": "float16", "BF16": "bfloat16"][dataType.name] ?? "float32")
        for (field, id) in GeneralMetadata.tokenIds(metadata) { config[field] = id }
        config["use_cache"] = true

        let tokenizer = try writeTokenizer(metadata)
        func text(_ object: JSONObject) -> [UInt8] { JSONValue.object(object).prettyBytes() + [0x0A] }
        var files = [("config.json", text(config))]
        let generation = GeneralMetadata.generationConfig(metadata)
        if !generation.isEmpty { files.append(("generation_config.json", text(generation))) }
        for written in tokenizer.files {
            guard !written.name.contains("/"), written.name != "..", !written.name.isEmpty else { continue }
            files.append((written.name, written.bytes))
        }
        self.file = file
        self.mapping = mapping
        self.modelClass = modelClass
        self.dataType = dataType
        self.files = files
        tensors = builder.tensors
        warnings = file.warnings + tokenizer.warnings + builder.warnings
    }

    /// The float type that most bytes of matrices have; F16 when they are quantized.
    private static func usualType(_ file: GGUFFile) -> TensorType {
        var bytes: [TensorType: Int] = [:]
        for tensor in file.tensors where !GGUFTypeRule.isKeptF32(tensor.name, dimensions: tensor.dimensions) {
            bytes[tensor.type.isFloatWithinF32 ? tensor.type : .f16, default: 0] += tensor.byteCount
        }
        return bytes.max { ($0.value, $1.key.id) < ($1.value, $0.key.id) }?.key ?? .f32
    }

    /// The class it was made from where that was us, else the mapping's first.
    private static func modelClass(_ metadata: GGUFMetadata, _ mapping: any ArchitectureMapping) -> ModelClass {
        let name = try? metadata.stringIfPresent(GeneralMetadata.sourceClassKey)
        // Only the text part is in the file, and bare models have no output.
        let known = mapping.classes.first { $0.name == name && $0.name.hasSuffix("ForCausalLM") }
        return known ?? mapping.classes[0]
    }
}

extension HuggingFaceExport {
    /// Takes GGUF's tensors apart.
    private struct TensorBuilder {
        let file: GGUFFile
        let dataType: TensorType
        let isExplicit: Bool
        private(set) var tensors: [PlannedTensor] = []
        private(set) var isTied = true
        private var used: Set<String> = [
            RopeScaling.frequenciesName, RopeScaling.longName, RopeScaling.shortName,
        ]
        private var quantized: [TensorType: Int] = [:]
        private var widened = 0

        init(file: GGUFFile, dataType: TensorType, isExplicit: Bool) {
            self.file = file
            self.dataType = dataType
            self.isExplicit = isExplicit
        }

        mutating func add(_ rules: [TensorRule]) throws {
            for rule in rules {
                guard let tensor = file.tensor(named: rule.name) else {
                    if rule.isOptional { continue }
                    throw ConversionError(
                        .missingTensor, "tensor \(rule.name) is missing; the file is incomplete", path: file.path,
                        tensor: rule.name)
                }
                used.insert(rule.name)
                var dimensions = tensor.dimensions
                while dimensions.count > 1, dimensions.last == 1 { dimensions.removeLast() }
                guard dimensions == rule.dimensions else {
                    func text(_ list: [Int]) -> String { list.map(String.init).joined(separator: "x") }
                    throw ConversionError(
                        .unexpectedTensor,
                        "tensor \(rule.name) has the shape \(tensor.shapeText); the hyperparameters say \(text(rule.dimensions))",
                        path: file.path, tensor: rule.name)
                }
                try tensor.type.requireDecodable(tensor: tensor.name)
                if rule.name == "output.weight" {
                    if let embedding = file.tensor(named: TensorDigests.embeddingName), isSame(tensor, embedding) {
                        continue
                    }
                    isTied = false
                }
                try add(rule, tensor)
            }
        }

        private func isSame(_ left: TensorInfo, _ right: TensorInfo) -> Bool {
            guard left.type == right.type, left.dimensions == right.dimensions else { return false }
            let (a, b) = (file.bytes(of: left), file.bytes(of: right))
            guard a.count == b.count, let first = a.baseAddress, let second = b.baseAddress else {
                return a.count == b.count
            }
            return memcmp(first, second, a.count) == 0
        }

        private mutating func add(_ rule: TensorRule, _ tensor: TensorInfo) throws {
            let weight = MappedWeight(tensor, in: file)
            let inverse = rule.transform.inverse
            // In GGUF's orientation, which the inverse transposes back.
            let shape = rule.transform.transposes ? rule.shape.reversed() : rule.shape
            let rows = shape.count <= 1 ? 1 : shape.dropLast().reduce(1, *)
            if tensor.type.isQuantized { quantized[tensor.type, default: 0] += 1 }
            for (number, name) in rule.parts.enumerated() {
                let stream = RowStream(
                    parts: [.init(weight: weight, firstRow: rule.isStacked ? number * rows : 0)], shape: shape,
                    transform: inverse)
                let type = try outputType(stream)
                tensors.append(
                    PlannedTensor(
                        name: name, stream: stream, type: type, dimensions: rule.shape, origins: [rule.name]))
            }
        }

        /// The folder's type; F32 when that would lose digits of a vector that GGUF keeps as F32 for good reason.
        private mutating func outputType(_ stream: RowStream) throws -> TensorType {
            guard !isExplicit, stream.type == .f32, dataType != .f32, !stream.transform.transposes,
                !stream.parts[0].weight.type.isQuantized
            else { return dataType }
            let rows = PieceSize.pieces(of: stream)
            let type = dataType
            for piece in rows {
                let isExact = try withTemporary(piece.count * stream.rowBytes) { memory in
                    try stream.fill(piece, into: memory)
                    let values = memory.bindMemory(to: Float.self)
                    return type == .f16
                        ? values.allSatisfy { Half.float(Half.bits($0)) == $0 }
                        : values.allSatisfy { $0.bitPattern & 0xFFFF == 0 }
                }
                if !isExact {
                    widened += 1
                    return .f32
                }
            }
            return type
        }

        var warnings: [String] {
            var result: [String] = []
            if !quantized.isEmpty {
                let types = quantized.keys.map(\.name).sorted().joined(separator: ", ")
                result.append(
                    "\(quantized.values.reduce(0, +)) tensors are quantized (\(types)); what they lost when they were made "
                        + "does not come back")
            }
            let other = file.tensors.filter {
                $0.type.isFloatWithinF32 && $0.type != dataType && !($0.type == .f32 && !isExplicit)
            }
            if !other.isEmpty {
                result.append("\(other.count) tensors of another float type are rounded to \(dataType.name)")
            }
            if widened > 0 {
                result.append("\(widened) tensors stay F32, because \(dataType.name) would lose digits of theirs")
            }
            let unused = file.tensors.map(\.name).filter { !used.contains($0) }
            if !unused.isEmpty {
                let listed = unused.prefix(5).joined(separator: ", ") + (unused.count > 5 ? ", …" : "")
                result.append(
                    "\(unused.count) tensors have no place in a Hugging Face folder and are left out: \(listed)")
            }
            return result
        }
    }
}
