import ByteIO
import Safetensors
import TensorTypes

extension HuggingFaceSource {
    /// Finds the weights of every rule and checks their shapes.
    struct Builder {
        let path: String
        let config: HuggingFaceConfig
        let mapping: any ArchitectureMapping
        let packing: (any WeightPacking)?
        let model: SafetensorsModel
        private(set) var folder: FolderTensors
        private(set) var tensors: [SourceTensor] = []
        private(set) var streams: [String: RowStream] = [:]
        private(set) var origins: [String: [String]] = [:]
        private var warnings: [String] = []

        init(
            path: String, config: HuggingFaceConfig, mapping: any ArchitectureMapping, packing: (any WeightPacking)?,
            model: SafetensorsModel
        ) throws {
            self.path = path
            self.config = config
            self.mapping = mapping
            self.packing = packing
            self.model = model
            folder = try FolderTensors(model)
        }

        private static let embeddings = [
            "model.embed_tokens.weight", "transformer.wte.weight", "gpt_neox.embed_in.weight",
        ]

        /// Rows of the embedding, which must be the configuration's vocabulary size where that is given.
        mutating func embeddingRows() throws -> Int {
            for name in Self.embeddings {
                guard let tensor = folder.take(name) else { continue }
                guard tensor.shape.count == 2, let rows = tensor.dimensions.first, rows > 0,
                    rows <= ModelDimensions.sizeLimit
                else {
                    throw ConversionError(
                        .unexpectedTensor, "tensor \(name) has the shape \(tensor.shapeText); a matrix is expected",
                        path: path, tensor: name)
                }
                if let size = try config.int("vocab_size"), size != rows {
                    throw ConversionError(
                        .unexpectedTensor,
                        "the embedding has \(rows) rows but \"vocab_size\" is \(size)", path: path, tensor: name)
                }
                return rows
            }
            throw ConversionError(
                .missingTensor, "there is no token embedding (\(Self.embeddings.joined(separator: ", ")))", path: path,
                tensor: Self.embeddings[0])
        }

        mutating func add(rules: [TensorRule], derived: [DerivedTensor]) throws {
            let isTied = try config.bool("tie_word_embeddings") ?? mapping.isTiedByDefault
            for rule in rules {
                if rule.name == "output.weight" {
                    try addOutput(rule, isTied: isTied, embedding: rules.first)
                } else {
                    try add(rule)
                }
            }
            for tensor in derived {
                let stream = RowStream(
                    parts: [.init(weight: ComputedWeight(values: tensor.values))], shape: [tensor.values.count],
                    transform: .copy)
                append(tensor.name, [tensor.values.count], stream, origins: [])
            }
        }

        private mutating func add(_ rule: TensorRule) throws {
            guard let parts = try parts(of: rule) else {
                if rule.isOptional { return }
                let name = rule.parts.first { !folder.has($0) } ?? rule.parts[0]
                throw ConversionError(
                    .missingTensor,
                    "tensor \(name) is missing; \(mapping.name) needs it for \(rule.name)", path: path, tensor: name)
            }
            let stream = RowStream(parts: parts, shape: rule.shape, transform: rule.transform)
            append(rule.name, rule.dimensions, stream, origins: rule.parts)
        }

        /// The output matrix may be the embedding: then it is left out, unless the architecture's readers insist.
        private mutating func addOutput(_ rule: TensorRule, isTied: Bool, embedding: TensorRule?) throws {
            let isPresent = folder.has(rule.parts[0])
            if isPresent {
                guard isTied, let embedding, !mapping.needsOutput else { return try add(rule) }
                guard let own = try parts(of: rule), let other = try parts(of: embedding) else { return }
                if try Self.isSame(own[0].weight, other[0].weight) { return }
                warnings.append(
                    "\"tie_word_embeddings\" is true but \(rule.parts[0]) differs from the embedding; it is kept, while "
                        + "transformers would not use it")
                return try add(rule)
            }
            guard isTied else {
                if config.classes.first?.hasSuffix("Model") ?? false { return }
                throw ConversionError(
                    .missingTensor,
                    "tensor \(rule.parts[0]) is missing, and \"tie_word_embeddings\" does not say that the embedding "
                        + "takes its place", path: path, tensor: rule.parts[0])
            }
            guard mapping.needsOutput, let embedding, let parts = try parts(of: embedding) else { return }
            warnings.append(
                "the output matrix is the embedding; \(mapping.name) of GGUF needs it as a tensor, so that it is written twice"
            )
            append(
                rule.name, rule.dimensions, RowStream(parts: parts, shape: rule.shape, transform: rule.transform),
                origins: embedding.parts)
        }

        private static func isSame(_ left: any StoredWeight, _ right: any StoredWeight) throws -> Bool {
            guard left.type == right.type, left.shape == right.shape else { return false }
            if let a = left.mapped, let b = right.mapped { return a.elementsEqual(b) }
            return false
        }

        private mutating func append(
            _ name: String, _ dimensions: [Int], _ stream: RowStream, origins: [String]
        ) {
            tensors.append(SourceTensor(name: name, type: stream.type, dimensions: dimensions))
            streams[name] = stream
            self.origins[name] = origins
        }

        // MARK: - Finding weights

        /// The weights a rule names; nil when one is missing.
        private mutating func parts(of rule: TensorRule) throws -> [RowStream.Part]? {
            var result: [RowStream.Part] = []
            for name in rule.parts {
                guard let weight = try weight(name, shape: rule.shape) else {
                    return try fusedParts(of: rule)
                }
                result.append(.init(weight: weight))
            }
            guard let first = result.first else { return nil }
            guard result.allSatisfy({ $0.weight.type == first.weight.type }) else {
                throw ConversionError(
                    .unexpectedTensor, "the parts of \(rule.name) (\(rule.parts[0]), …) have different types",
                    path: path,
                    tensor: rule.parts[0])
            }
            return result
        }

        /// All experts in one tensor, as transformers holds them in memory since version 5.
        private mutating func fusedParts(of rule: TensorRule) throws -> [RowStream.Part]? {
            guard let fused = rule.fused, let columns = rule.shape.last else { return nil }
            let shape = [rule.parts.count, fused.rowsPerPart, columns]
            guard let weight = try weight(fused.name, shape: shape) else { return nil }
            return rule.parts.indices.map {
                .init(weight: weight, firstRow: $0 * fused.rowsPerPart + fused.firstRow)
            }
        }

        /// One weight, unpacked where it is packed.
        /// - Throws: ``ConversionError`` when its shape is another.
        private mutating func weight(_ name: String, shape: [Int]) throws -> (any StoredWeight)? {
            var found: (any StoredWeight)?
            if let packing { found = try packing.weight(name, in: &folder) }
            if found == nil, let tensor = folder.take(name) {
                found = try MappedWeight(tensor, in: model) ?? WidenedWeight(tensor, in: model)
            }
            guard let found else { return nil }
            guard found.shape == shape else {
                func text(_ shape: [Int]) -> String { shape.map(String.init).joined(separator: "x") }
                throw ConversionError(
                    .unexpectedTensor,
                    "tensor \(name) has the shape \(text(found.shape)); config.json says \(text(shape))", path: path,
                    tensor: name)
            }
            return found
        }

        func finalWarnings() -> [String] {
            var result = warnings
            if folder.skippedCount > 0 {
                result.append("\(folder.skippedCount) tensors are no part of the language model's weights and left out")
            }
            let unused = folder.unused
            if !unused.isEmpty {
                let listed = unused.prefix(5).joined(separator: ", ") + (unused.count > 5 ? ", …" : "")
                result.append("\(unused.count) tensors are not known to \(mapping.name) and left out: \(listed)")
            }
            return result
        }
    }
}
