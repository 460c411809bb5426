import OCIArtifacts

/// What a stored version is called.
public struct VersionReceipt: Hashable, Sendable {
    public let digest: Digest
    /// N of the tag `v<N>`.
    public let number: Int
    /// False when the very same manifest already was a version: it keeps its number.
    public let isNew: Bool

    public init(digest: Digest, number: Int, isNew: Bool) {
        self.digest = digest
        self.number = number
        self.isNew = isNew
    }

    public var tag: Tag { .version(number) }
}

/// A store that picks the next version number and sets its tag in one transaction.
public protocol VersionStore: RegistryStore {
    /// Stores a manifest as the next version, moves `latest` to it, and sets `tags` too. A manifest that already is a
    /// version keeps its number, and `latest` stays where it is.
    func putNextVersion(
        _ bytes: [UInt8], mediaType: String, tags: [Tag], in repository: RepositoryName
    ) async throws -> VersionReceipt

    /// All tags and what they point at, in one look.
    func allTags(in repository: RepositoryName) async throws -> [Tag: Digest]
}

extension RegistryStore {
    public func digest(of tag: Tag, in repository: RepositoryName) async throws -> Digest? {
        try await manifest(.tag(tag), in: repository)?.digest
    }

    /// All tags of a repository and what they point at.
    public func tagDigests(in repository: RepositoryName) async throws -> [Tag: Digest] {
        if let store = self as? any VersionStore { return try await store.allTags(in: repository) }
        let tags = try await tags(in: repository, last: nil, limit: nil)
        let digests = try await concurrentMap(tags) { try await digest(of: $0, in: repository) }
        var result: [Tag: Digest] = [:]
        for (tag, digest) in zip(tags, digests) { result[tag] = digest }
        return result
    }

    /// ``VersionStore/putNextVersion(_:mediaType:tags:in:)`` where the store offers it; elsewhere the next free number
    /// is tried until no one else has taken it meanwhile.
    public func storeNextVersion(
        _ bytes: [UInt8], mediaType: String, tags: [Tag], in repository: RepositoryName
    ) async throws -> VersionReceipt {
        if let store = self as? any VersionStore {
            return try await store.putNextVersion(bytes, mediaType: mediaType, tags: tags, in: repository)
        }
        let digest = Digest.sha256(of: bytes)
        for _ in 0..<16 {
            var highest = 0
            let existing =
                try await repositoryExists(repository) ? self.tags(in: repository, last: nil, limit: nil) : []
            for tag in existing {
                guard let number = tag.versionNumber else { continue }
                highest = max(highest, number)
                if try await manifest(.tag(tag), in: repository)?.digest == digest {
                    for tag in tags {
                        _ = try await putManifest(bytes, mediaType: mediaType, as: .tag(tag), tags: [], in: repository)
                    }
                    return VersionReceipt(digest: digest, number: number, isNew: false)
                }
            }
            do {
                let tag = Tag.version(highest + 1)
                _ = try await putManifest(
                    bytes, mediaType: mediaType, as: .tag(tag), tags: [.latest] + tags, in: repository)
                return VersionReceipt(digest: digest, number: highest + 1, isNew: true)
            } catch let error as RegistryError where error.code == .denied { continue }
        }
        throw RegistryError(
            .denied,
            "no free version number in \(repository) after 16 attempts: others keep storing versions; try again",
            repository: repository)
    }
}
