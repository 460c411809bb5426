import ByteIO
import Crypto
import Foundation
import SoftPrompts

/// Fingerprints of files seen before, one small JSON file each.
struct FingerprintCache {
    /// Raised whenever the definition of the fingerprint or this record changes.
    private static let version = 1

    private let path: String
    private let folder: String
    private let key: JSONValue

    /// Nil when the source is not on disk.
    init?(folder: String, source: any ModelSource) {
        let identities = source.identities.compactMap { $0 }
        guard let first = identities.first, source.identities.first != .some(nil) else { return nil }
        let full = URL(fileURLWithPath: source.path).standardizedFileURL.path
        func fields(_ identity: FileIdentity) -> [(String, JSONValue)] {
            [
                ("device", .string(String(identity.device))), ("inode", .string(String(identity.inode))),
                ("size", JSONValue(identity.size)), ("modified", .integer(identity.modificationTime)),
            ]
        }
        var object = JSONObject([("path", .string(full))] + fields(first) + [("version", JSONValue(Self.version))])
        if identities.count > 1 {
            object["files"] = .array(identities.dropFirst().map { .object(JSONObject(fields($0))) })
        }
        key = .object(object)
        self.folder = folder
        let name = Digests.text(SHA256.hash(data: Array(full.utf8))).dropFirst("sha256:".count).prefix(32)
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
