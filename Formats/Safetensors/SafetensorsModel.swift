import ByteIO
import Foundation

/// The tensors of a model in safetensors form, whether in one file or in many.
///
/// A folder is read through its `model.safetensors.index.json`; without one, all its files `model*.safetensors` are
/// taken. The path of an index, or of a single file, will do as well. Opening maps each file and checks each header;
/// tensor data is not touched.
///
///     let model = try SafetensorsModel(path: "SmolLM2-135M")
///     let embedding = try model.requireTensor(named: "model.embed_tokens.weight")
///     let values = try model.floats(of: embedding)
///
/// Every tensor of the index must be in the file it names, each file must hold nothing else, and no tensor may be in
/// two files. A `total_size` that does not fit is only a warning.
public final class SafetensorsModel: Sendable {
    /// The folder, index or file as given.
    public let path: String
    /// The files, in byte order of their names.
    public let files: [SafetensorsFile]
    /// File by file, in the order of their data. ``SafetensorsTensor/part`` is the position in ``files``.
    public let tensors: [SafetensorsTensor]
    /// Nil when the model is one file, or a folder without an index.
    public let index: SafetensorsIndex?
    /// What is unusual but harmless, a sentence each.
    public let warnings: [String]

    private let positions: [ExactString: Int]

    /// Opens the model at `path`: a folder, an index (`*.index.json`) or one file (`*.safetensors`).
    /// - Throws: ``SafetensorsError``, or `ByteIOError` when a file cannot be read.
    public init(path: String) throws {
        let place = try Self.locate(path)
        self.path = path
        index = place.index
        files = try place.files.map { try SafetensorsFile(path: $0) }
        var tensors: [SafetensorsTensor] = []
        var positions: [ExactString: Int] = [:]
        tensors.reserveCapacity(files.reduce(0) { $0 + $1.tensors.count })
        positions.reserveCapacity(tensors.capacity)
        for (part, file) in files.enumerated() {
            for var tensor in file.tensors {
                tensor.part = part
                if let other = positions.updateValue(tensors.count, forKey: ExactString(tensor.name)) {
                    throw SafetensorsError(
                        .duplicateName,
                        "tensor \(tensor.name.quotedForMessage) is in this file and in "
                            + "\(files[tensors[other].part].path); remove the file that does not belong to the model",
                        path: file.path, tensor: tensor.name)
                }
                tensors.append(tensor)
            }
        }
        self.tensors = tensors
        self.positions = positions
        var warnings: [String] = []
        if let index {
            try Self.compare(index, with: tensors, positions, place)
            let size = tensors.reduce(0) { $0 + $1.byteCount }
            if let total = index.totalSize, total != size {
                warnings.append("the index gives a total size of \(total) bytes; the tensors have \(size)")
            }
        }
        self.warnings = warnings
    }

    /// Bytes of all tensors together.
    public var byteCount: Int { tensors.reduce(0) { $0 + $1.byteCount } }

    public func tensor(named name: String) -> SafetensorsTensor? { positions[ExactString(name)].map { tensors[$0] } }

    /// The tensor of this name.
    /// - Throws: ``SafetensorsError`` of code `missingTensor`.
    public func requireTensor(named name: String) throws(SafetensorsError) -> SafetensorsTensor {
        if let tensor = tensor(named: name) { return tensor }
        throw SafetensorsError(
            .missingTensor,
            "tensor \(name.quotedForMessage) is missing; the model has "
                + SafetensorsFile.listing(tensors.map(\.name), limit: 5), path: path, tensor: name)
    }

    /// The bytes of one of this model's tensors, as they are in the file. Valid while the model object lives.
    public func bytes(of tensor: SafetensorsTensor) -> UnsafeRawBufferPointer {
        precondition(files.indices.contains(tensor.part), "\(tensor.name) is no tensor of this model")
        return files[tensor.part].bytes(of: tensor)
    }

    /// The values of a tensor as floats. F64 and wide integers are rounded, small floats are exact.
    /// - Throws: ``SafetensorsError`` of code `unexpectedType` for complex numbers.
    public func floats(of tensor: SafetensorsTensor) throws -> [Float] {
        precondition(files.indices.contains(tensor.part), "\(tensor.name) is no tensor of this model")
        return try files[tensor.part].floats(of: tensor)
    }

    /// The file a tensor lies in.
    public func file(of tensor: SafetensorsTensor) -> SafetensorsFile { files[tensor.part] }
}

// MARK: - Finding and comparing the files

extension SafetensorsModel {
    private struct Place {
        var index: SafetensorsIndex?
        var indexPath: String?
        var files: [String] = []
    }

    private static func locate(_ path: String) throws -> Place {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw ByteIOError(.notFound, "there is no such file or folder", path: path)
        }
        if !isFolder.boolValue {
            guard path.hasSuffix(".json") else { return Place(files: [path]) }
            return try indexed(path)
        }
        let folder = path.hasSuffix("/") ? String(path.dropLast()) : path
        let names: [String]
        do { names = try FileManager.default.contentsOfDirectory(atPath: path).sorted() } catch {
            throw ByteIOError(.accessDenied, "the folder cannot be listed", path: path)
        }
        if names.contains(SafetensorsIndex.fileName) { return try indexed(folder + "/" + SafetensorsIndex.fileName) }
        let parts = names.filter { $0.hasPrefix("model") && $0.hasSuffix(".safetensors") }
        guard !parts.isEmpty else {
            let others = names.filter { $0.hasSuffix(".safetensors") || $0.hasSuffix(".bin") || $0.hasSuffix(".pth") }
            throw SafetensorsError(
                .missingFile,
                "the folder has neither \(SafetensorsIndex.fileName) nor a file model*.safetensors"
                    + (others.isEmpty ? "" : "; it has \(SafetensorsFile.listing(others, limit: 5))"), path: path)
        }
        try checkNumbers(parts, folder: path)
        return Place(files: parts.map { folder + "/" + $0 })
    }

    private static func indexed(_ path: String) throws -> Place {
        let index = try SafetensorsIndex(path: path)
        let folder = AtomicFile.folder(of: path)
        let names = index.files
        let missing = names.filter { !FileManager.default.fileExists(atPath: folder + "/" + $0) }
        guard missing.isEmpty else {
            throw SafetensorsError(
                .missingFile,
                "\(missing.count) of the \(names.count) files that the index names are missing: "
                    + "\(SafetensorsFile.listing(missing, limit: 5)); the download is incomplete", path: path)
        }
        return Place(index: index, indexPath: path, files: names.map { folder + "/" + $0 })
    }

    /// Without an index, names like `model-00001-of-00003.safetensors` still tell whether one is missing.
    private static func checkNumbers(_ names: [String], folder: String) throws(SafetensorsError) {
        let pattern = /model-(\d{5})-of-(\d{5})\.safetensors/
        var present: [Int: Set<Int>] = [:]
        for name in names {
            guard let match = name.wholeMatch(of: pattern), let number = Int(match.1), let count = Int(match.2) else {
                continue
            }
            present[count, default: []].insert(number)
        }
        for (count, numbers) in present.sorted(by: { $0.key < $1.key }) {
            let missing = (0..<count).map { $0 + 1 }.filter { !numbers.contains($0) }
            guard missing.isEmpty else {
                throw SafetensorsError(
                    .missingFile,
                    "of \(count) files model-…-of-….safetensors, number \(missing.prefix(5).map(String.init).joined(separator: ", "))"
                        + "\(missing.count > 5 ? ", …" : "") is missing; the download is incomplete", path: folder)
            }
        }
    }

    private static func compare(
        _ index: SafetensorsIndex, with tensors: [SafetensorsTensor], _ positions: [ExactString: Int], _ place: Place
    ) throws(SafetensorsError) {
        var parts: [ExactString: Int] = [:]
        for (part, name) in index.files.enumerated() { parts[ExactString(name)] = part }
        var missing: [String] = []
        for entry in index.entries {
            let position = positions[ExactString(entry.tensor)]
            if position.map({ tensors[$0].part }) != parts[ExactString(entry.file)] { missing.append(entry.tensor) }
        }
        let listed = Set(index.entries.map { ExactString($0.tensor) })
        let extra = tensors.map(\.name).filter { !listed.contains(ExactString($0)) }
        guard missing.isEmpty, extra.isEmpty else {
            var parts: [String] = []
            if !missing.isEmpty {
                parts.append("not in the file it names: \(SafetensorsFile.listing(missing, limit: 10))")
            }
            if !extra.isEmpty {
                parts.append("in a file but not in the index: \(SafetensorsFile.listing(extra, limit: 10))")
            }
            throw SafetensorsError(
                .indexMismatch,
                "index and files do not belong together; " + parts.joined(separator: "; "), path: place.indexPath,
                tensor: missing.first ?? extra.first)
        }
    }
}
