import ByteIO
import Foundation
import GGUF
import Safetensors
import TensorTypes

/// A Hugging Face folder as a ``ModelSource``: its tensors with GGUF's names and layout, its configuration and
/// tokenizer as GGUF metadata.
///
/// Opening reads the small files and the headers of the safetensors files and checks every shape against the
/// configuration; no tensor data is touched. Tensors that are stored as GGUF has them are lent from the mapped files,
/// the others are made in pieces when they are asked for. Weights packed by GPTQ, as FP8 with scales, by
/// compressed-tensors or as MXFP4 are unpacked to F32.
///
///     let source = try HuggingFaceSource(folder: "SmolLM2-135M")
///     let fingerprint = try ModelFingerprint.compute(of: source)
public struct HuggingFaceSource: ModelSource {
    public let path: String
    public let metadata: GGUFMetadata
    public let tensors: [SourceTensor]
    /// What the user should know but need not act on, a sentence each.
    public let warnings: [String]
    public let mapping: any ArchitectureMapping
    public let dimensions: ModelDimensions
    /// How weights are packed: "GPTQ"; nil for plain numbers.
    public let packing: String?
    let model: SafetensorsModel
    let streams: [String: RowStream]
    /// The names in the folder of what each tensor is made of.
    let origins: [String: [String]]

    typealias TokenizerReader = (_ folder: String, _ architecture: String, _ rows: Int) throws -> ImportedTokenizer

    /// Opens a folder.
    /// - Parameter preTokenizer: overrides the recognition of the pre-tokenizer.
    /// - Throws: ``ConversionError``, ``Safetensors/SafetensorsError`` or ``ByteIO/ByteIOError``.
    public init(folder: String, preTokenizer: String? = nil) throws {
        try self.init(folder: folder) { folder, architecture, rows in
            try TokenizerImport.read(
                folder: folder, architecture: architecture, vocabularySize: rows, preTokenizer: preTokenizer)
        }
    }

    init(folder: String, tokenizer readTokenizer: TokenizerReader) throws {
        let path = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
        let config = try HuggingFaceConfig(folder: path)
        let (mapping, modelClass) = try ArchitectureCatalog.mapping(of: config)
        let packing = try PackingCatalog.packing(of: config)
        let model = try SafetensorsModel(path: path)
        var builder = try Builder(path: path, config: config, mapping: mapping, packing: packing, model: model)

        let rows = try builder.embeddingRows()
        let keys = try mapping.keys(from: config)
        let derived = try mapping.derivedTensors(from: config, keys: try Self.withArchitecture(keys, mapping, config))
        let tokenizer = try readTokenizer(path, mapping.name, rows)
        guard tokenizer.tokenCount == rows else {
            throw ConversionError(
                .malformed,
                "the tokenizer has \(tokenizer.tokenCount) tokens but the embedding has \(rows) rows; the files do not "
                    + "belong together", path: path)
        }
        var metadata = GeneralMetadata.pairs(folder: path, config: config, mapping: mapping, modelClass: modelClass)
        for entry in keys.entries { metadata.append(entry.key, entry.value) }
        for pair in tokenizer.pairs { metadata.append(pair.key, pair.value) }
        metadata.path = config.path
        let dimensions = try ModelDimensions(metadata: metadata, vocabulary: rows)
        try builder.add(rules: mapping.tensors(dimensions), derived: derived)

        self.path = path
        self.metadata = metadata
        self.mapping = mapping
        self.dimensions = dimensions
        self.model = model
        self.packing = packing?.name
        tensors = builder.tensors
        streams = builder.streams
        origins = builder.origins
        warnings = try model.warnings + tokenizer.warnings + mapping.notes(on: config) + builder.finalWarnings()
    }

    private static func withArchitecture(
        _ keys: GGUFMetadata, _ mapping: any ArchitectureMapping, _ config: HuggingFaceConfig
    ) throws -> GGUFMetadata {
        var keys = keys
        keys["general.architecture"] = .text(mapping.name)
        keys.path = config.path
        return keys
    }

    public func withBytes<R>(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        let stream = try stream(of: tensor)
        return try withExtendedLifetime(model) {
            if let lent = stream.lend(0..<stream.rowCount) { return try body(lent) }
            return try withTemporary(stream.byteCount) { memory in
                try stream.fill(0..<stream.rowCount, into: memory)
                return try body(UnsafeRawBufferPointer(memory))
            }
        }
    }

    public func withPieces(of tensor: SourceTensor, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        let stream = try stream(of: tensor)
        try withExtendedLifetime(model) {
            for (index, rows) in PieceSize.pieces(of: stream).enumerated() {
                if index > 0, index % PieceSize.piecesInMemory == 0 { stream.forget() }
                if let lent = stream.lend(rows) {
                    try body(lent)
                } else {
                    try withTemporary(rows.count * stream.rowBytes) { memory in
                        try stream.fill(rows, into: memory)
                        try body(UnsafeRawBufferPointer(memory))
                    }
                }
            }
            stream.forget()
        }
    }

    func stream(of tensor: SourceTensor) throws -> RowStream {
        guard let stream = streams[tensor.name] else { preconditionFailure("\(tensor.name) is no tensor of \(path)") }
        return stream
    }

    public var files: [SourceFile] {
        let small = [
            "config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt",
            "vocab.txt", "added_tokens.json", "special_tokens_map.json",
        ]
        return model.files.map { SourceFile(path: $0.path, identity: $0.file.identity) }
            + small.compactMap { name in
                let path = "\(path)/\(name)"
                return (try? FileIdentity(path: path)).map { SourceFile(path: path, identity: $0) }
            }
    }
}

/// Where a large tensor is cut.
enum PieceSize {
    /// Bytes of a piece, about: large enough that starting one costs nothing, small enough for the cache of a core.
    static let bytes = 1 << 22
    /// Mapped pages of a tensor are given back each time so many pieces were used.
    static let piecesInMemory = 16

    /// Row ranges that cover a tensor and never cross a part, so that pieces can be lent.
    static func pieces(of stream: RowStream, multiple: Int = 1) -> [Range<Int>] {
        if stream.isWhole { return [0..<stream.rowCount] }
        let rows = max(1, bytes / max(1, stream.rowBytes) / multiple * multiple)
        var result: [Range<Int>] = []
        for part in stream.parts.indices {
            for first in stride(from: 0, to: stream.partRows, by: rows) {
                let start = part * stream.partRows + first
                result.append(start..<start + min(rows, stream.partRows - first))
            }
        }
        return result
    }
}
