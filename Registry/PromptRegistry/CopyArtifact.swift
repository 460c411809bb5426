import OCIArtifacts
import Synchronization

/// How far a copy has come.
public struct CopyProgress: Hashable, Sendable {
    /// Blob bytes moved so far, and to move in all as far as is known.
    public var bytesCopied = 0
    public var bytesTotal = 0
    /// Blobs moved, and those the destination already had.
    public var blobsCopied = 0
    public var blobsSkipped = 0

    public init() {}
}

/// What a copy did.
public struct CopyReceipt: Hashable, Sendable {
    public let digest: Digest
    public let progress: CopyProgress

    public init(digest: Digest, progress: CopyProgress) {
        self.digest = digest
        self.progress = progress
    }
}

/// Copies a manifest with everything it needs from one store to another: push, pull, and re-tag are all this.
///
/// The subject (the base anchor) goes first, then the members of an index, the blobs, and the manifest last, so that a
/// copy that breaks off leaves nothing that refers to missing content. Blobs that the destination has are skipped.
/// All bytes are hashed on the way, whatever the stores promise.
///
/// - Parameters:
///   - reference: what to copy.
///   - tags: the tags to set at the destination; when empty, the tag of `reference`, if it is one.
///   - includeReferrers: whether manifests whose subject is the copied one (signatures, evaluations) come too.
///   - parallelism: how many blobs travel at once.
///   - progress: called from any thread, in order.
/// - Throws: ``RegistryError``: `.manifestUnknown`, `.digestInvalid`, `.sizeInvalid`, and what the stores throw.
@discardableResult
public func copyArtifact(
    _ reference: ManifestReference,
    from source: any RegistryStore, repository sourceRepository: RepositoryName,
    to destination: any RegistryStore, repository destinationRepository: RepositoryName,
    as tags: [Tag] = [], includeReferrers: Bool = false, parallelism: Int = 4,
    progress: (@Sendable (CopyProgress) -> Void)? = nil
) async throws -> CopyReceipt {
    let copy = ArtifactCopy(
        source: source, from: sourceRepository, destination: destination, to: destinationRepository,
        includeReferrers: includeReferrers, parallelism: max(1, parallelism), report: progress)
    var tags = tags
    if tags.isEmpty, case .tag(let tag) = reference { tags = [tag] }
    guard let stored = try await source.manifest(reference, in: sourceRepository) else {
        throw RegistryError.unknownManifest(reference, in: sourceRepository)
    }
    if case .digest(let digest) = reference, stored.digest != digest {
        throw RegistryError(
            .digestInvalid, "asked for manifest \(digest), the store answered with \(stored.digest)",
            repository: sourceRepository, digest: digest)
    }
    try await copy.run(stored, tags: tags, depth: 0)
    return CopyReceipt(digest: stored.digest, progress: copy.progress)
}

/// One copy under way.
private final class ArtifactCopy: Sendable {
    /// How deep indexes and referrers may nest. Real ones need 2.
    static let maximumDepth = 8

    let source: any RegistryStore
    let from: RepositoryName
    let destination: any RegistryStore
    let to: RepositoryName
    let includeReferrers: Bool
    let parallelism: Int
    private let report: (@Sendable (CopyProgress) -> Void)?
    private let state = Mutex(CopyProgress())

    init(
        source: any RegistryStore, from: RepositoryName, destination: any RegistryStore, to: RepositoryName,
        includeReferrers: Bool, parallelism: Int, report: (@Sendable (CopyProgress) -> Void)?
    ) {
        self.source = source
        self.from = from
        self.destination = destination
        self.to = to
        self.includeReferrers = includeReferrers
        self.parallelism = parallelism
        self.report = report
    }

    var progress: CopyProgress { state.withLock { $0 } }

    private func note(_ change: (inout CopyProgress) -> Void) {
        state.withLock { state in
            change(&state)
            report?(state)
        }
    }

    func run(_ stored: StoredManifest, tags: [Tag], depth: Int) async throws {
        guard depth <= Self.maximumDepth else {
            throw RegistryError(
                .manifestInvalid, "manifests refer to one another more than \(Self.maximumDepth) levels deep",
                repository: from, digest: stored.digest)
        }
        let found = Digest.of(stored.bytes, algorithm: stored.digest.algorithm)
        guard found == stored.digest else {
            throw RegistryError(
                .digestInvalid, "manifest \(stored.digest) of \(from) came with bytes whose digest is \(found)",
                repository: from, digest: stored.digest)
        }
        let manifest: Manifest
        do {
            manifest = try Manifest.parse(stored.bytes, mediaType: stored.mediaType)
        } catch {
            throw RegistryError(error, repository: from)
        }
        for related in (manifest.subject.map { [$0] } ?? []) + manifest.manifests {
            // Both may be absent: subjects are weak links, and indexes may be sparse.
            if try await destination.manifest(.digest(related.digest), in: to) != nil { continue }
            if let other = try await source.manifest(.digest(related.digest), in: from) {
                try await run(other, tags: Self.anchorTag(other), depth: depth + 1)
            } else if related.digest == manifest.subject?.digest {
                try await putAnchor(of: manifest)
            }
        }
        try await copyBlobs(of: manifest)
        try await put(stored, tags: tags)
        if includeReferrers {
            for referrer in try await source.referrers(of: stored.digest, artifactType: nil, in: from) {
                if try await destination.manifest(.digest(referrer.digest), in: to) != nil { continue }
                guard let other = try await source.manifest(.digest(referrer.digest), in: from) else { continue }
                try await run(other, tags: [], depth: depth + 1)
            }
        }
    }

    /// A source that lost the base anchor is no obstacle: the fingerprint is all it takes to make it again.
    private func putAnchor(of manifest: Manifest) async throws {
        guard let text = manifest.annotations[AnnotationKey.baseFingerprint], let fingerprint = try? Digest(text) else {
            return
        }
        let anchor = BaseAnchor(fingerprint: fingerprint)
        guard anchor.digest == manifest.subject?.digest else { return }
        if try await destination.blob(Descriptor.empty.digest, in: to) == nil {
            try await destination.writeBlob(Descriptor.emptyContent, in: to)
        }
        let stored = StoredManifest(digest: anchor.digest, mediaType: MediaType.imageManifest, bytes: anchor.bytes)
        try await put(stored, tags: [anchor.tag])
    }

    private func put(_ stored: StoredManifest, tags: [Tag]) async throws {
        let receipt: ManifestReceipt
        if let first = tags.first, stored.digest.algorithm == .sha256 {
            receipt = try await destination.putManifest(
                stored.bytes, mediaType: stored.mediaType, as: .tag(first), tags: Array(tags.dropFirst()), in: to)
        } else {
            receipt = try await destination.putManifest(
                stored.bytes, mediaType: stored.mediaType, as: .digest(stored.digest), tags: tags, in: to)
        }
        guard receipt.digest == stored.digest else {
            throw RegistryError(
                .digestInvalid, "manifest \(stored.digest) arrived in \(to) as \(receipt.digest)", repository: to,
                digest: stored.digest)
        }
    }

    private func copyBlobs(of manifest: Manifest) async throws {
        var seen: Set<Digest> = []
        var missing: [Descriptor] = []
        for blob in manifest.blobs where seen.insert(blob.digest).inserted {
            if let there = try await destination.blob(blob.digest, in: to) {
                guard there.size == blob.size else {
                    throw RegistryError.sizeMismatch(expected: blob.size, found: there.size, blob.digest, in: to)
                }
                note { $0.blobsSkipped += 1 }
            } else if MediaType.isNonDistributable(blob.mediaType),
                try await source.blob(blob.digest, in: from) == nil
            {
                continue
            } else {
                missing.append(blob)
            }
        }
        let total = missing.reduce(0) { $0 &+ $1.size }
        note { $0.bytesTotal += total }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, blob) in missing.enumerated() {
                if index >= parallelism { try await group.next() }
                group.addTask { try await self.copy(blob) }
            }
            try await group.waitForAll()
        }
    }

    private func copy(_ blob: Descriptor) async throws {
        if (source as AnyObject) === (destination as AnyObject),
            try await destination.mountBlob(blob.digest, from: from, to: to)
        {
            note {
                $0.blobsSkipped += 1
                $0.bytesTotal -= blob.size
            }
            return
        }
        let pipe = ChunkPipe()
        let source = source
        let from = from
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await self.read(blob, from: source, in: from, into: pipe)
                    await pipe.finish()
                } catch {
                    // The writer gets this error in place of the end, and throws it.
                    await pipe.finish(error)
                }
            }
            do {
                try await destination.writeBlob(blob.digest, size: blob.size, in: to) { try await pipe.next() }
            } catch {
                await pipe.finish(error)
                throw error
            }
            // Some destinations stop reading when they have enough.
            await pipe.finish()
        }
        note { $0.blobsCopied += 1 }
    }

    /// Sends a verified blob into the pipe. The end is only reached when size and digest were right.
    private func read(
        _ blob: Descriptor, from source: any RegistryStore, in repository: RepositoryName, into pipe: ChunkPipe
    ) async throws {
        let hasher = Mutex(DigestHasher(algorithm: blob.digest.algorithm))
        try await source.readBlob(blob.digest, in: repository, range: nil) { chunk in
            let count = hasher.withLock { hasher in
                hasher.update(chunk)
                return hasher.byteCount
            }
            guard count <= blob.size else {
                throw RegistryError.sizeMismatch(expected: blob.size, found: count, blob.digest, in: repository)
            }
            try await pipe.send(chunk)
            self.note { $0.bytesCopied += chunk.count }
        }
        let (count, found) = hasher.withLock { ($0.byteCount, $0.finalize()) }
        guard count == blob.size else {
            throw RegistryError.sizeMismatch(expected: blob.size, found: count, blob.digest, in: repository)
        }
        guard found == blob.digest else {
            throw RegistryError.digestMismatch(expected: blob.digest, found: found, size: count, in: repository)
        }
    }

    /// The tag that a base anchor has wherever it goes, so that collectors of untagged manifests leave it alone.
    private static func anchorTag(_ stored: StoredManifest) -> [Tag] {
        guard let manifest = try? Manifest.parse(stored.bytes, mediaType: stored.mediaType),
            let text = manifest.annotations[AnnotationKey.baseFingerprint], let fingerprint = try? Digest(text)
        else { return [] }
        let anchor = BaseAnchor(fingerprint: fingerprint)
        return anchor.digest == stored.digest ? [anchor.tag] : []
    }
}
