import ByteIO
import Crypto
import Foundation
import SoftPrompts

/// Fingerprints of files seen before, one small JSON file each.
struct FingerprintCache {
    /// Raised whenever the definition of the fingerprint or this record changes.
    private static let version = 2

    private let path: String
    private let folder: String
    private let key: JSONValue

    /// Nil when a file of the model is not one on disk.
    /// - Parameter files: all files that decide the content, in order.
    init?(folder: String, files: [SourceFile]) {
        var parts: [JSONValue] = []
        var paths: [UInt8] = []
        for file in files {
            guard let identity = file.identity else { return nil }
            let full = URL(fileURLWithPath: file.path).standardizedFileURL.path
            parts.append([
                "path": .string(full), "device": .string(String(identity.device)),
                "inode": .string(String(identity.inode)), "size": JSONValue(identity.size),
                "modified": .integer(identity.modificationTime),
            ])
            paths += Array(full.utf8) + [0]
        }
        key = ["files": .array(parts), "version": JSONValue(Self.version)]
        self.folder = folder
        let name = Digests.text(SHA256.hash(data: paths)).dropFirst("sha256:".count).prefix(32)
        path = "\(folder)/\(name).json"
    }

    /// What was stored for exactly this state of the file; nil when there is nothing, or it cannot be read.
    func read() -> ModelFingerprint? {
        guard let file = try? MappedFile(path: path), let json = try? JSONValue.parse(file.copyBytes()),
            json["key"] == key, let base = try? BaseFingerprint(json: json["base"] ?? .null),
            let rows = json["tensors"]?.arrayValue, let tokenizer = json["tokenizer"],
            let architecture = json["architecture"]
        else { return nil }
        var tensors: [ModelFingerprint.Tensor] = []
        for row in rows {
            guard let fields = row.arrayValue?.map(\.stringValue), fields.count == 4, let name = fields[0],
                let type = fields[1], let dimensions = fields[2], let digest = fields[3]
            else { return nil }
            tensors.append(.init(name: name, type: type, dimensions: dimensions, digest: digest))
        }
        return ModelFingerprint(
            base: base, tensors: tensors, source: json["source"]?.stringValue, tokenizerDetails: tokenizer,
            architectureDetails: architecture, isFromCache: true)
    }

    /// Stores a result. A cache that cannot be written costs time only, so failures are not reported.
    func write(_ result: ModelFingerprint) {
        let rows = result.tensors.map { tensor -> JSONValue in
            [.string(tensor.name), .string(tensor.type), .string(tensor.dimensions), .string(tensor.digest)]
        }
        let json: JSONValue = [
            "key": key, "base": result.base.json, "tensors": .array(rows),
            "source": result.source.map { .string($0) } ?? .null, "tokenizer": result.tokenizerDetails,
            "architecture": result.architectureDetails,
        ]
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try? AtomicFile.write(json.compactBytes(), to: path)
    }
}
