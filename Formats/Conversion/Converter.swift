import ByteIO
import Foundation
import GGUF
import Safetensors
import TensorTypes

/// Converts models between Hugging Face folders and GGUF files, in constant memory.
///
/// Opening reads headers and makes the whole plan; ``write(to:existing:rootFingerprint:shouldContinue:)`` then streams
/// tensor by tensor. Nothing appears at the destination before everything is complete.
///
///     let converter = try Converter(source: "SmolLM2-135M")
///     try converter.write(to: "smollm2.gguf")
public struct Converter: Sendable {
    public let plan: ConversionPlan
    /// The source in its canonical form, for its fingerprint.
    public let source: any ModelSource

    private enum Output: Sendable {
        case gguf(metadata: GGUFMetadata, type: TensorType)
        case huggingFace(files: [(name: String, bytes: [UInt8])], dataType: TensorType)
    }

    private let options: ConversionOptions
    private let tensors: [PlannedTensor]
    private let output: Output

    /// Opens a folder or a GGUF file, by what it is.
    /// - Throws: ``ConversionError`` and what reading throws.
    public init(source path: String, options: ConversionOptions = ConversionOptions()) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw ByteIOError(.notFound, "there is no such file or folder", path: path)
        }
        if isFolder.boolValue {
            try self.init(folder: HuggingFaceSource(folder: path, preTokenizer: options.preTokenizer), options: options)
        } else if path.hasSuffix(".safetensors") || path.hasSuffix(".json") {
            throw ConversionError(
                .invalidRequest, "give the folder that holds the file: config.json and tokenizer are needed as well",
                path: path)
        } else {
            let file = try GGUFFile(path: path)
            try self.init(file: file, export: HuggingFaceExport(file, dataType: options.dataType), options: options)
        }
    }

    /// To GGUF.
    init(folder source: HuggingFaceSource, options: ConversionOptions) throws {
        if options.dataType != nil {
            throw ConversionError(.invalidRequest, "--dtype is for Hugging Face folders; a GGUF file's type is --type")
        }
        let requested = options.type ?? GGUFTypeRule.automatic(source.tensors)
        guard GGUFTypeRule.possible.contains(requested.name), requested.isEncodable else {
            throw ConversionError(
                .invalidRequest,
                "a folder cannot be converted to \(requested.name) at once; convert to F16 or BF16, then `incipit quantize`"
            )
        }
        self.source = source
        self.options = options
        tensors = try source.tensors.map { tensor in
            PlannedTensor(
                name: tensor.name, stream: try source.stream(of: tensor),
                type: GGUFTypeRule.type(
                    tensor.name, dimensions: tensor.dimensions, source: tensor.type, requested: requested),
                dimensions: tensor.dimensions, origins: source.origins[tensor.name] ?? [])
        }
        for tensor in tensors { try tensor.stream.type.requireDecodable(tensor: tensor.name) }
        var metadata = source.metadata
        metadata["general.file_type"] = .uint32(GGUFTypeRule.fileType(requested))
        if tensors.contains(where: \.type.isQuantized) { metadata["general.quantization_version"] = .uint32(2) }
        output = .gguf(metadata: metadata, type: requested)
        var warnings = source.warnings
        if requested == .f16, source.tensors.contains(where: { $0.type == .bf16 }) {
            warnings.append(
                "BF16 has a wider range than F16: values beyond 65504 would become infinite, small ones lose digits")
        }
        plan = try Self.plan(
            .toGGUF, source.path, source.mapping,
            class: (try? source.metadata.string(GeneralMetadata.sourceClassKey)) ?? "",
            tensors, warnings, options, files: Self.ggufFiles(metadata, tensors, options))
    }

    /// To a Hugging Face folder.
    init(file: GGUFFile, export: HuggingFaceExport, options: ConversionOptions) throws {
        if options.type != nil {
            throw ConversionError(.invalidRequest, "--type is for GGUF files; a Hugging Face folder's type is --dtype")
        }
        source = GGUFSource(file)
        self.options = options
        tensors = export.tensors
        output = .huggingFace(files: export.files, dataType: export.dataType)
        let shards = try Self.shards(export.tensors, options, metadata: []) { _ in { _ in } }
        plan = try Self.plan(
            .toHuggingFace, file.path, export.mapping, class: export.modelClass.name, export.tensors, export.warnings,
            options,
            files: shards.plan.map { .init(name: $0.fileName, bytes: $0.byteCount) }
                + export.files.map { .init(name: $0.name, bytes: $0.bytes.count) })
    }

    private static func plan(
        _ direction: ConversionPlan.Direction, _ path: String, _ mapping: any ArchitectureMapping,
        class modelClass: String,
        _ tensors: [PlannedTensor], _ warnings: [String], _ options: ConversionOptions, files: [ConversionPlan.File]
    ) throws -> ConversionPlan {
        ConversionPlan(
            direction: direction, source: path, architecture: mapping.name, modelClass: modelClass,
            tensors: tensors.map(\.row), files: files,
            parameterCount: tensors.reduce(0) { $0 + $1.dimensions.reduce(1, *) },
            peakMemory: PiecePipeline.peakMemory(tensors, threadCount: options.threadCount), warnings: warnings)
    }

    // MARK: - Writing

    /// What a conversion did.
    public struct Result: Sendable {
        /// The files written, the one to open first.
        public let paths: [String]
        public let bytes: Int
        /// What the user should know, a sentence each.
        public let warnings: [String]
    }

    /// Writes the result: a GGUF file (in parts when a part's size was given), or a folder.
    /// - Parameters:
    ///   - existing: whether what is there is replaced.
    ///   - rootFingerprint: of the source, recorded in the result.
    ///   - shouldContinue: asked now and then with the bytes written so far; false stops and leaves nothing behind.
    /// - Throws: ``ConversionError``, ``ByteIO/ByteIOError`` (code `cancelled` when stopped).
    public func write(
        to destination: String, existing: AtomicFile.Existing = .refuse, rootFingerprint: String? = nil,
        shouldContinue: ((_ written: Int) -> Bool)? = nil
    ) throws -> Result {
        let path = destination.count > 1 && destination.hasSuffix("/") ? String(destination.dropLast()) : destination
        try Destination.check(path, source: source, isFolder: plan.direction == .toHuggingFace, existing: existing)
        try Destination.checkSpace(path, needed: plan.fileBytes)
        do {
            switch output {
            case .gguf(let metadata, let type):
                return try writeGGUF(path, metadata, type, existing, rootFingerprint, shouldContinue)
            case .huggingFace(let files, let type):
                return try writeFolder(path, files, type, existing, rootFingerprint, shouldContinue)
            }
        } catch let error as ByteIOError where error.systemError == ENOSPC || error.systemError == EDQUOT {
            throw ConversionError(
                .destination,
                "the disk is full: \(plan.fileBytes) bytes are needed; nothing was left behind", path: path)
        }
    }

    private func recipe(_ type: TensorType) -> String {
        var recipe = JSONObject([
            ("operation", "convert"), ("to", .string(plan.direction == .toGGUF ? "gguf" : "huggingface")),
            ("type", .string(type.name)),
        ])
        if let name = (source as? HuggingFaceSource)?.packing { recipe["unpacked"] = .string(name) }
        return JSONValue.object(recipe).canonicalText
    }

    private func writeGGUF(
        _ path: String, _ metadata: GGUFMetadata, _ type: TensorType, _ existing: AtomicFile.Existing,
        _ fingerprint: String?, _ shouldContinue: ((Int) -> Bool)?
    ) throws -> Result {
        var metadata = metadata
        if let fingerprint { metadata[GeneralMetadata.fingerprintKey] = .text(fingerprint) }
        metadata[GeneralMetadata.recipeKey] = .text(recipe(type))
        let pipeline = PiecePipeline(
            tensors, order: Array(tensors.indices), threadCount: options.threadCount, checksValues: options.checksValues
        )
        defer { pipeline.stop() }
        let writer = try Self.ggufWriter(metadata, tensors) { number in
            { output in try pipeline.write(number, into: &output) }
        }
        var paths = [path]
        if let limit = options.maximumPartSize {
            let parts = try writer.writeParts(
                prefix: Self.prefix(path), limits: .init(byteCount: limit), existing: existing,
                shouldContinue: shouldContinue)
            paths = parts.map(\.path)
        } else {
            try writer.write(to: path, existing: existing, shouldContinue: shouldContinue)
        }
        return result(paths, pipeline)
    }

    private func result(_ paths: [String], _ pipeline: PiecePipeline) -> Result {
        let names = pipeline.overflowingNames
        let warnings =
            names.isEmpty
            ? []
            : [
                "\(names.count) tensors hold values beyond F16's range, which became infinite: "
                    + names.prefix(5).joined(separator: ", ") + (names.count > 5 ? ", …" : "")
                    + "; use --type bf16 or f32"
            ]
        return Result(
            paths: paths, bytes: paths.reduce(0) { $0 + ((try? FileIdentity(path: $1).size) ?? 0) }, warnings: warnings)
    }

    private static func prefix(_ path: String) -> String {
        path.hasSuffix(".gguf") ? String(path.dropLast(".gguf".count)) : path
    }

    private static func ggufWriter(
        _ metadata: GGUFMetadata, _ tensors: [PlannedTensor], source: (Int) -> GGUFWriter.Source
    ) throws -> GGUFWriter {
        var writer = try GGUFWriter(metadata: metadata)
        for (number, tensor) in tensors.enumerated() {
            try writer.add(
                name: tensor.name, type: tensor.type, dimensions: tensor.dimensions, source: source(number))
        }
        return writer
    }

    private static func ggufFiles(
        _ metadata: GGUFMetadata, _ tensors: [PlannedTensor], _ options: ConversionOptions
    ) throws -> [ConversionPlan.File] {
        let writer = try ggufWriter(metadata, tensors) { _ in { _ in } }
        guard let limit = options.maximumPartSize else { return [.init(name: "", bytes: writer.fileByteCount)] }
        return try writer.plan(prefix: "", limits: .init(byteCount: limit)).map {
            .init(name: $0.path, bytes: $0.byteCount)
        }
    }

    // MARK: - Folders

    private static func safetensorsType(_ type: TensorType) -> SafetensorsType {
        type == .f16 ? .f16 : type == .bf16 ? .bf16 : .f32
    }

    private static func shards(
        _ tensors: [PlannedTensor], _ options: ConversionOptions, metadata: [(key: String, value: String)],
        source: (Int) -> SafetensorsWriter.Source
    ) throws -> SafetensorsShardedWriter {
        var writer = SafetensorsShardedWriter(
            metadata: [("format", "pt")] + metadata, maximumShardSize: options.maximumShardSize)
        for (number, tensor) in tensors.enumerated() {
            try writer.add(
                name: tensor.name, type: safetensorsType(tensor.type), shape: tensor.dimensions, source: source(number))
        }
        return writer
    }

    private func writeFolder(
        _ path: String, _ files: [(name: String, bytes: [UInt8])], _ type: TensorType,
        _ existing: AtomicFile.Existing, _ fingerprint: String?, _ shouldContinue: ((Int) -> Bool)?
    ) throws -> Result {
        // The order in which the writer asks: shard by shard, within one by type and name.
        let plan = try Self.shards(tensors, options, metadata: []) { _ in { _ in } }.plan
        var order: [Int] = []
        for shard in plan {
            order += (order.count..<order.count + shard.tensorCount).sorted { left, right in
                let (a, b) = (Self.safetensorsType(tensors[left].type), Self.safetensorsType(tensors[right].type))
                return a == b ? ExactString(tensors[left].name) < ExactString(tensors[right].name) : a > b
            }
        }
        let pipeline = PiecePipeline(
            tensors, order: order, threadCount: options.threadCount, checksValues: options.checksValues)
        defer { pipeline.stop() }
        var metadata: [(key: String, value: String)] = []
        if let fingerprint { metadata.append((GeneralMetadata.fingerprintKey, fingerprint)) }
        metadata.append((GeneralMetadata.recipeKey, recipe(type)))
        let writer = try Self.shards(tensors, options, metadata: metadata) { number in
            { output in try pipeline.write(number, into: &output) }
        }
        return try Destination.writeFolder(path, existing: existing) { folder in
            for file in files { try AtomicFile.write(file.bytes, to: "\(folder)/\(file.name)") }
            let paths = try writer.write(to: folder, shouldContinue: shouldContinue)
            let names = paths.map { String($0.dropFirst(folder.count + 1)) } + files.map(\.name)
            return result(names.map { "\(folder)/\($0)" }, pipeline).moved(to: path, names: names)
        }
    }
}

extension Converter.Result {
    fileprivate func moved(to folder: String, names: [String]) -> Self {
        .init(paths: names.map { "\(folder)/\($0)" }, bytes: bytes, warnings: warnings)
    }
}
