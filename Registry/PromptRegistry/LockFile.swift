import Foundation
import OCIArtifacts

/// `incipit.lock`: the digests that a deployment is built with, whatever tags do later.
///
///     {"prompts":[{"base":"sha256:…","digest":"sha256:…","name":"team/task","reference":"production",
///                  "source":"registry.example.com/team/task"}],
///      "schemaVersion":1}
///
/// The bytes are canonical (sorted, one entry a prompt), so that the file compares well under version control.
public struct LockFile: Hashable, Sendable {
    public struct Entry: Hashable, Sendable {
        public let name: RepositoryName
        /// What was asked for: a tag, or nothing for a digest.
        public let reference: String?
        public let digest: Digest
        public let base: Digest?
        /// Where it came from, when that was a registry.
        public let source: String?

        public init(name: RepositoryName, reference: String?, digest: Digest, base: Digest?, source: String? = nil) {
            self.name = name
            self.reference = reference
            self.digest = digest
            self.base = base
            self.source = source
        }
    }

    public private(set) var entries: [Entry] = []

    public init() {}

    /// Reads a lock file; an absent one is empty.
    ///
    /// - Throws: `.corrupt` naming the file.
    public init(path: String) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        guard let data = FileManager.default.contents(atPath: path), data.count <= 16 << 20 else {
            throw RegistryError(.storage, "cannot read the lock file", path: path)
        }
        do {
            let root = try JSONNode.parse(Array(data))
            guard root["schemaVersion"]?.integer == 1, let items = root["prompts"]?.array else {
                throw OCIArtifactError(.jsonInvalid, "schemaVersion must be 1 and prompts a list")
            }
            for item in items {
                add(
                    Entry(
                        name: try RepositoryName(item["name"]?.string ?? ""), reference: item["reference"]?.string,
                        digest: try Digest(item["digest"]?.string ?? ""),
                        base: try item["base"]?.string.map { try Digest($0) }, source: item["source"]?.string))
            }
        } catch {
            throw RegistryError(
                .corrupt, "the lock file is damaged; restore it from version control, or lock anew", path: path,
                cause: error)
        }
    }

    /// Adds an entry; one of the same name and reference is replaced.
    public mutating func add(_ entry: Entry) {
        entries.removeAll { $0.name == entry.name && $0.reference == entry.reference }
        entries.append(entry)
        entries.sort { ($0.name, $0.reference ?? "") < ($1.name, $1.reference ?? "") }
    }

    public var bytes: [UInt8] {
        let items = entries.map { entry -> JSONNode in
            var members: [String: JSONNode] = [
                "name": .string(entry.name.description), "digest": .string(entry.digest.description),
            ]
            if let reference = entry.reference { members["reference"] = .string(reference) }
            if let base = entry.base { members["base"] = .string(base.description) }
            if let source = entry.source { members["source"] = .string(source) }
            return .object(members)
        }
        return JSONNode.object(["schemaVersion": .integer(1), "prompts": .array(items)]).canonical + [
            UInt8(ascii: "\n")
        ]
    }
}
