import OCIArtifacts

/// A blob that a repository holds.
public struct BlobInfo: Hashable, Sendable {
    public let digest: Digest
    /// Uncompressed bytes: what the digest is computed over.
    public let size: Int

    public init(digest: Digest, size: Int) {
        self.digest = digest
        self.size = size
    }
}

/// A manifest, byte for byte as it was pushed.
public struct StoredManifest: Hashable, Sendable {
    public let digest: Digest
    public let mediaType: String
    public let bytes: [UInt8]

    public init(digest: Digest, mediaType: String, bytes: [UInt8]) {
        self.digest = digest
        self.mediaType = mediaType
        self.bytes = bytes
    }
}

/// What a store answers to a pushed manifest.
public struct ManifestReceipt: Hashable, Sendable {
    public let digest: Digest
    /// Set when the store indexed the manifest as a referrer of this subject; nil means that the client keeps the
    /// fallback tag (`Tag.referrersFallback(for:)`) itself.
    public let subject: Digest?

    public init(digest: Digest, subject: Digest?) {
        self.digest = digest
        self.subject = subject
    }
}

/// Somewhere that versioned artifacts live: the embedded database, memory, or another registry over HTTP.
///
/// Promises of every conformer (`RegistryStoreChecks` in Tests/TestSupport runs them on any store):
/// - Bytes are verified against their digest before they become visible, and manifests come back byte for byte.
/// - A manifest is accepted only while all blobs it needs are present in the repository.
/// - Tags `v1`, `v2`, … never move: giving one a different digest throws `.denied`.
/// - Operations are atomic: after an error, or a crash, nothing of a half-done one is seen.
///
/// Errors are ``RegistryError``.
public protocol RegistryStore: Sendable {
    /// Digest and size of a blob, nil when the repository lacks it. Keeps the blob safe from garbage collection for
    /// the time of a lease, so that a client may skip the upload.
    func blob(_ digest: Digest, in repository: RepositoryName) async throws -> BlobInfo?

    /// Streams a blob's bytes (or the part in `range`, which must lie inside) in order, in chunks of at most 1 MiB.
    ///
    /// - Throws: `.blobUnknown`; `.rangeInvalid`; `.corrupt` when the stored bytes are damaged; what `consume` throws.
    func readBlob(
        _ digest: Digest, in repository: RepositoryName, range: Range<Int>?,
        _ consume: @Sendable ([UInt8]) async throws -> Void) async throws

    /// Stores a blob whose bytes come from `source`, chunk by chunk until nil.
    ///
    /// - Throws: `.digestInvalid` or `.sizeInvalid` when the bytes are not the promised ones (nothing is stored then).
    func writeBlob(
        _ digest: Digest, size: Int?, in repository: RepositoryName,
        from source: @Sendable () async throws -> [UInt8]?) async throws

    /// Makes a blob of `source` (any repository when nil) appear in `repository` without moving bytes; false when it
    /// cannot, and the bytes must be written.
    func mountBlob(_ digest: Digest, from source: RepositoryName?, to repository: RepositoryName) async throws -> Bool

    /// Takes the blob out of the repository. Throws `.blobUnknown` when it is not there, `.denied` when a manifest of
    /// the repository still needs it.
    func deleteBlob(_ digest: Digest, in repository: RepositoryName) async throws

    /// The manifest under a tag or digest, nil when there is none.
    func manifest(_ reference: ManifestReference, in repository: RepositoryName) async throws -> StoredManifest?

    /// What a tag points at, nil when there is no such tag: for stores to answer without reading the manifest.
    func digest(of tag: Tag, in repository: RepositoryName) async throws -> Digest?

    /// Stores a manifest and points tags at it.
    ///
    /// - Parameters:
    ///   - bytes: the exact bytes.
    ///   - mediaType: what the manifest is pushed as.
    ///   - reference: the tag to set, or the digest that the bytes must have.
    ///   - tags: further tags to set in the same step.
    /// - Throws: `.manifestInvalid`, `.manifestBlobUnknown`, `.digestInvalid`, `.sizeInvalid`, `.denied` (a version tag
    ///   that already means something else).
    func putManifest(
        _ bytes: [UInt8], mediaType: String, as reference: ManifestReference, tags: [Tag],
        in repository: RepositoryName
    ) async throws -> ManifestReceipt

    /// Deletes a tag, or by digest the manifest with all its tags. Throws `.manifestUnknown` when there is nothing to
    /// delete, `.denied` when a version would be lost and the store guards versions.
    func deleteManifest(_ reference: ManifestReference, in repository: RepositoryName) async throws

    /// Tags in ASCII order, those after `last`, at most `limit` (nil: all). Throws `.nameUnknown`.
    func tags(in repository: RepositoryName, last: String?, limit: Int?) async throws -> [Tag]

    /// Descriptors of the manifests whose subject is `digest`, oldest first, with their annotations; those of
    /// `artifactType` only when given. Empty when there are none or the repository is unknown.
    func referrers(
        of digest: Digest, artifactType: String?, in repository: RepositoryName
    ) async throws -> [Descriptor]

    /// All repositories, in ASCII order.
    func repositories() async throws -> [RepositoryName]

    func repositoryExists(_ repository: RepositoryName) async throws -> Bool
}

/// What only a local store can do: uploads that go on after a restart.
public protocol UploadStore: RegistryStore {
    /// Opens an upload. `algorithm` is the expected digest's, when known, so that hashing can begin with the first byte.
    func beginUpload(in repository: RepositoryName, algorithm: Digest.Algorithm?) async throws -> UploadSession

    /// The upload's state; nil when unknown, expired (24 hours without a byte) or of another repository.
    func upload(_ id: String, in repository: RepositoryName) async throws -> UploadSession?

    /// Appends bytes. What `source` gave before it threw stays, so that the client can ask for the offset and go on.
    ///
    /// - Throws: `.rangeInvalid` when `expectedOffset` is not the upload's offset (which stays usable);
    ///   `.blobUploadUnknown`; `.blobUploadInvalid` when another request is appending to the same upload.
    func append(
        to id: String, in repository: RepositoryName, expectedOffset: Int?,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws -> UploadSession

    /// Appends the last bytes, where there are any, and finishes: what ``append(to:in:expectedOffset:from:)`` and
    /// ``finishUpload(_:in:digest:)`` do after one another, in one step for stores that gain by it.
    func finishUpload(
        _ id: String, in repository: RepositoryName, digest: Digest, expectedOffset: Int?,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws

    /// Verifies the digest and makes the blob visible. On `.digestInvalid` the upload is gone and nothing is stored.
    func finishUpload(_ id: String, in repository: RepositoryName, digest: Digest) async throws

    /// Forgets the upload and its bytes. Throws `.blobUploadUnknown`.
    func cancelUpload(_ id: String, in repository: RepositoryName) async throws

    /// The repositories that hold a blob, in ASCII order: candidates for a mount without a source.
    func repositories(holding digest: Digest) async throws -> [RepositoryName]

    /// Counts for monitoring; nil when the store keeps none.
    func statistics() async throws -> StoreStatistics?

    /// Throws when the store cannot work now.
    func checkReadiness() async throws
}

extension UploadStore {
    public func finishUpload(
        _ id: String, in repository: RepositoryName, digest: Digest, expectedOffset: Int?,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws {
        _ = try await append(to: id, in: repository, expectedOffset: expectedOffset, from: source)
        try await finishUpload(id, in: repository, digest: digest)
    }

    public func repositories(holding digest: Digest) async throws -> [RepositoryName] { [] }
    public func statistics() async throws -> StoreStatistics? { nil }
    public func checkReadiness() async throws {}
}

/// How much a store holds.
public struct StoreStatistics: Hashable, Sendable {
    public var repositories = 0
    public var manifests = 0
    public var tags = 0
    public var blobs = 0
    /// Uncompressed.
    public var blobBytes = 0
    /// As stored.
    public var storedBytes = 0
    public var openUploads = 0
    /// In the trash: deleted, and kept for their grace.
    public var deletedManifests = 0

    public init() {}
}

/// The state of one upload.
public struct UploadSession: Hashable, Sendable {
    /// A UUID, lower case.
    public let id: String
    public let repository: RepositoryName
    /// Bytes received and durable.
    public let offset: Int

    public init(id: String, repository: RepositoryName, offset: Int) {
        self.id = id
        self.repository = repository
        self.offset = offset
    }
}

// MARK: - Small blobs

extension RegistryStore {
    /// A whole blob in memory.
    ///
    /// - Parameter limit: the most bytes to accept; larger blobs throw `.sizeInvalid` before anything is read.
    public func readBlob(
        _ digest: Digest, in repository: RepositoryName, limit: Int = 64 << 20
    ) async throws -> [UInt8] {
        guard let info = try await blob(digest, in: repository) else {
            throw RegistryError.unknownBlob(digest, in: repository)
        }
        guard info.size <= limit else {
            throw RegistryError(
                .sizeInvalid, "blob \(digest) has \(info.size) bytes; at most \(limit) are read into memory",
                repository: repository, digest: digest)
        }
        let collected = ByteCollector(capacity: info.size)
        try await readBlob(digest, in: repository, range: nil) { chunk in
            guard collected.append(chunk, limit: limit) else {
                throw RegistryError(
                    .sizeInvalid, "blob \(digest) is larger than the \(info.size) bytes announced",
                    repository: repository, digest: digest)
            }
        }
        return collected.bytes
    }

    /// Stores bytes that are in memory and answers their SHA-256 digest.
    @discardableResult
    public func writeBlob(_ bytes: [UInt8], in repository: RepositoryName) async throws -> Digest {
        let digest = Digest.sha256(of: bytes)
        let source = ChunkSource(bytes)
        try await writeBlob(digest, size: bytes.count, in: repository) { source.next() }
        return digest
    }
}

extension RegistryError {
    /// The blob is not in the repository.
    public static func unknownBlob(_ digest: Digest, in repository: RepositoryName) -> RegistryError {
        RegistryError(
            .blobUnknown, "repository \(repository) has no blob \(digest)", repository: repository, digest: digest)
    }

    /// The tag or manifest is not in the repository.
    public static func unknownManifest(_ reference: ManifestReference, in repository: RepositoryName) -> RegistryError {
        let digest: Digest? = if case .digest(let digest) = reference { digest } else { nil }
        return RegistryError(
            .manifestUnknown, "repository \(repository) has no manifest \(reference)", repository: repository,
            digest: digest)
    }
}
