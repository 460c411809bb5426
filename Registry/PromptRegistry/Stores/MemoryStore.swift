import Foundation
import OCIArtifacts
import Synchronization

/// A store that lives and dies with the process: for tests, and the reference that other stores are compared with.
public final class MemoryStore: UploadStore, VersionStore {
    private struct Repository {
        var blobs: Set<Digest> = []
        /// In the order of arrival.
        var manifests: [(stored: StoredManifest, manifest: Manifest)] = []
        var tags: [Tag: Digest] = [:]
        /// What each version tag has ever meant, also after its deletion.
        var versions: [Tag: Digest] = [:]

        func find(_ digest: Digest) -> StoredManifest? { manifests.first { $0.stored.digest == digest }?.stored }
    }

    private struct Upload {
        let repository: RepositoryName
        var bytes: [UInt8] = []
        var isAppending = false
    }

    private struct State {
        var blobs: [Digest: [UInt8]] = [:]
        var repositories: [RepositoryName: Repository] = [:]
        var uploads: [String: Upload] = [:]
    }

    private let state = Mutex(State())
    private let allowsVersionDeletion: Bool

    /// - Parameter allowsVersionDeletion: whether tags `v<N>` may be deleted (and then given away again).
    public init(allowsVersionDeletion: Bool = false) {
        self.allowsVersionDeletion = allowsVersionDeletion
    }

    // MARK: - Blobs

    public func blob(_ digest: Digest, in repository: RepositoryName) async throws -> BlobInfo? {
        state.withLock { state in
            guard state.repositories[repository]?.blobs.contains(digest) == true, let bytes = state.blobs[digest]
            else { return nil }
            return BlobInfo(digest: digest, size: bytes.count)
        }
    }

    public func readBlob(
        _ digest: Digest, in repository: RepositoryName, range: Range<Int>?,
        _ consume: @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        let found = state.withLock { state in
            state.repositories[repository]?.blobs.contains(digest) == true ? state.blobs[digest] : nil
        }
        guard let bytes = found else { throw RegistryError.unknownBlob(digest, in: repository) }
        let part = try ManifestAdmission.clamp(range, size: bytes.count, digest)
        let chunks = ChunkSource(Array(bytes[part]))
        while let chunk = chunks.next() { try await consume(chunk) }
    }

    public func writeBlob(
        _ digest: Digest, size: Int?, in repository: RepositoryName,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws {
        var bytes: [UInt8] = []
        while let chunk = try await source() {
            bytes += chunk
            if let size, bytes.count > size {
                throw RegistryError.sizeMismatch(expected: size, found: bytes.count, digest, in: repository)
            }
        }
        if let size, bytes.count != size {
            throw RegistryError.sizeMismatch(expected: size, found: bytes.count, digest, in: repository)
        }
        try commit(bytes, as: digest, to: repository)
    }

    private func commit(_ bytes: [UInt8], as digest: Digest, to repository: RepositoryName) throws {
        let found = Digest.of(bytes, algorithm: digest.algorithm)
        guard found == digest else {
            throw RegistryError.digestMismatch(expected: digest, found: found, size: bytes.count, in: repository)
        }
        state.withLock { state in
            state.blobs[digest] = bytes
            state.repositories[repository, default: Repository()].blobs.insert(digest)
        }
    }

    public func mountBlob(
        _ digest: Digest, from source: RepositoryName?, to repository: RepositoryName
    ) async throws -> Bool {
        state.withLock { state in
            let isThere =
                if let source {
                    state.repositories[source]?.blobs.contains(digest) == true
                } else {
                    state.repositories.values.contains { $0.blobs.contains(digest) }
                }
            if isThere { state.repositories[repository, default: Repository()].blobs.insert(digest) }
            return isThere
        }
    }

    public func deleteBlob(_ digest: Digest, in repository: RepositoryName) async throws {
        try state.withLock { state in
            guard state.repositories[repository]?.blobs.contains(digest) == true else {
                throw RegistryError.unknownBlob(digest, in: repository)
            }
            let isNeeded = state.repositories[repository]?.manifests.contains { entry in
                entry.manifest.blobs.contains { $0.digest == digest }
            }
            guard isNeeded != true else { throw RegistryError.blobInUse(digest, in: repository) }
            state.repositories[repository]?.blobs.remove(digest)
            if !state.repositories.values.contains(where: { $0.blobs.contains(digest) }) {
                state.blobs[digest] = nil
            }
        }
    }

    // MARK: - Manifests and tags

    public func manifest(
        _ reference: ManifestReference, in repository: RepositoryName
    ) async throws -> StoredManifest? {
        state.withLock { state in
            guard let entry = state.repositories[repository] else { return nil }
            switch reference {
            case .digest(let digest): return entry.find(digest)
            case .tag(let tag): return entry.tags[tag].flatMap { entry.find($0) }
            }
        }
    }

    public func putManifest(
        _ bytes: [UInt8], mediaType: String, as reference: ManifestReference, tags: [Tag],
        in repository: RepositoryName
    ) async throws -> ManifestReceipt {
        let admission = try ManifestAdmission(bytes, mediaType: mediaType, as: reference, tags: tags, in: repository)
        try state.withLock { state in try put(admission, tags: admission.tags, in: repository, &state) }
        return ManifestReceipt(digest: admission.stored.digest, subject: admission.manifest.subject?.digest)
    }

    public func putNextVersion(
        _ bytes: [UInt8], mediaType: String, tags: [Tag], in repository: RepositoryName
    ) async throws -> VersionReceipt {
        let admission = try ManifestAdmission(
            bytes, mediaType: mediaType, as: .digest(.sha256(of: bytes)), tags: tags, in: repository)
        let digest = admission.stored.digest
        return try state.withLock { state in
            let entry = state.repositories[repository] ?? Repository()
            let existing = entry.tags.filter { $0.value == digest }.compactMap(\.key.versionNumber).min()
            let number = existing ?? (entry.versions.keys.compactMap(\.versionNumber).max() ?? 0) + 1
            try put(
                admission, tags: admission.tags + [.version(number)] + (existing == nil ? [.latest] : []),
                in: repository, &state)
            return VersionReceipt(digest: digest, number: number, isNew: existing == nil)
        }
    }

    private func put(
        _ admission: ManifestAdmission, tags: [Tag], in repository: RepositoryName, _ state: inout State
    ) throws {
        let digest = admission.stored.digest
        var entry = state.repositories[repository] ?? Repository()
        for needed in admission.requiredBlobs {
            let size = entry.blobs.contains(needed.digest) ? state.blobs[needed.digest]?.count : nil
            try admission.check(needed, storedSize: size, in: repository)
        }
        for tag in tags {
            try ManifestAdmission.checkVersion(tag, was: entry.versions[tag], becomes: digest, in: repository)
        }
        for blob in admission.embedded {
            state.blobs[blob.digest] = blob.bytes
            entry.blobs.insert(blob.digest)
        }
        if entry.find(digest) == nil { entry.manifests.append((admission.stored, admission.manifest)) }
        for tag in tags {
            entry.tags[tag] = digest
            if tag.versionNumber != nil { entry.versions[tag] = digest }
        }
        state.repositories[repository] = entry
    }

    public func deleteManifest(_ reference: ManifestReference, in repository: RepositoryName) async throws {
        try state.withLock { state in
            guard var entry = state.repositories[repository] else {
                throw RegistryError.unknownManifest(reference, in: repository)
            }
            let doomed: [Tag]
            switch reference {
            case .tag(let tag):
                guard entry.tags[tag] != nil else { throw RegistryError.unknownManifest(reference, in: repository) }
                doomed = [tag]
            case .digest(let digest):
                guard entry.find(digest) != nil else {
                    throw RegistryError.unknownManifest(reference, in: repository)
                }
                doomed = entry.tags.filter { $0.value == digest }.map(\.key).sorted()
                entry.manifests.removeAll { $0.stored.digest == digest }
            }
            if !allowsVersionDeletion, let refusal = ManifestAdmission.versionGuard(doomed, in: repository) {
                throw refusal
            }
            for tag in doomed {
                entry.tags[tag] = nil
                if allowsVersionDeletion { entry.versions[tag] = nil }
            }
            state.repositories[repository] = entry
        }
    }

    public func tags(in repository: RepositoryName, last: String?, limit: Int?) async throws -> [Tag] {
        try state.withLock { state in
            guard let entry = state.repositories[repository] else { throw RegistryError.unknownRepository(repository) }
            var names = entry.tags.keys.sorted()
            if let last { names.removeAll { !last.utf8.lexicographicallyPrecedes($0.description.utf8) } }
            return limit.map { Array(names.prefix(max(0, $0))) } ?? names
        }
    }

    public func allTags(in repository: RepositoryName) async throws -> [Tag: Digest] {
        state.withLock { $0.repositories[repository]?.tags ?? [:] }
    }

    public func referrers(
        of digest: Digest, artifactType: String?, in repository: RepositoryName
    ) async throws -> [Descriptor] {
        state.withLock { state in
            guard let entry = state.repositories[repository] else { return [] }
            let known = entry.manifests.filter {
                $0.manifest.subject?.digest == digest
                    && (artifactType == nil || $0.manifest.effectiveArtifactType == artifactType)
            }.map { $0.manifest.referrerDescriptor(digest: $0.stored.digest, size: $0.stored.bytes.count) }
            let fallback = entry.tags[.referrersFallback(for: digest)].flatMap { entry.find($0) }
            return ManifestAdmission.mergeFallback(fallback, into: known, artifactType: artifactType) {
                entry.find($0) != nil
            }
        }
    }

    public func repositories() async throws -> [RepositoryName] {
        state.withLock { $0.repositories.keys.sorted() }
    }

    public func repositoryExists(_ repository: RepositoryName) async throws -> Bool {
        state.withLock { $0.repositories[repository] != nil }
    }

    public func repositories(holding digest: Digest) async throws -> [RepositoryName] {
        state.withLock { state in
            state.repositories.filter { $0.value.blobs.contains(digest) }.map(\.key).sorted()
        }
    }

    // MARK: - Uploads

    public func beginUpload(
        in repository: RepositoryName, algorithm: Digest.Algorithm?
    ) async throws -> UploadSession {
        let id = UUID().uuidString.lowercased()
        state.withLock { $0.uploads[id] = Upload(repository: repository) }
        return UploadSession(id: id, repository: repository, offset: 0)
    }

    public func upload(_ id: String, in repository: RepositoryName) async throws -> UploadSession? {
        state.withLock { state in
            guard let upload = state.uploads[id], upload.repository == repository else { return nil }
            return UploadSession(id: id, repository: repository, offset: upload.bytes.count)
        }
    }

    public func append(
        to id: String, in repository: RepositoryName, expectedOffset: Int?,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws -> UploadSession {
        try state.withLock { state in
            guard let upload = state.uploads[id], upload.repository == repository else {
                throw RegistryError.unknownUpload(id, in: repository)
            }
            guard !upload.isAppending else { throw RegistryError.uploadBusy(id, in: repository) }
            if let expectedOffset, expectedOffset != upload.bytes.count {
                throw RegistryError.wrongOffset(expectedOffset, actual: upload.bytes.count, in: repository)
            }
            state.uploads[id]?.isAppending = true
        }
        defer { state.withLock { $0.uploads[id]?.isAppending = false } }
        while let chunk = try await source() {
            try state.withLock { state in
                guard state.uploads[id] != nil else { throw RegistryError.unknownUpload(id, in: repository) }
                state.uploads[id]?.bytes += chunk
            }
        }
        guard let session = try await upload(id, in: repository) else {
            throw RegistryError.unknownUpload(id, in: repository)
        }
        return session
    }

    public func finishUpload(_ id: String, in repository: RepositoryName, digest: Digest) async throws {
        let bytes = try state.withLock { state -> [UInt8] in
            guard let upload = state.uploads[id], upload.repository == repository else {
                throw RegistryError.unknownUpload(id, in: repository)
            }
            guard !upload.isAppending else { throw RegistryError.uploadBusy(id, in: repository) }
            state.uploads[id] = nil
            return upload.bytes
        }
        try commit(bytes, as: digest, to: repository)
    }

    public func cancelUpload(_ id: String, in repository: RepositoryName) async throws {
        try state.withLock { state in
            guard state.uploads[id]?.repository == repository else {
                throw RegistryError.unknownUpload(id, in: repository)
            }
            state.uploads[id] = nil
        }
    }
}

extension RegistryError {
    static func uploadBusy(_ id: String, in repository: RepositoryName) -> RegistryError {
        RegistryError(
            .blobUploadInvalid, "another request is writing to upload \(id.prefix(40)); wait for it to end",
            repository: repository)
    }

    static func wrongOffset(_ expected: Int, actual: Int, in repository: RepositoryName) -> RegistryError {
        RegistryError(
            .rangeInvalid, "the chunk begins at byte \(expected) but the upload stands at byte \(actual)",
            repository: repository)
    }

    static func blobInUse(_ digest: Digest, in repository: RepositoryName) -> RegistryError {
        RegistryError(
            .denied, "blob \(digest) is part of a manifest of \(repository); delete the manifest first",
            repository: repository, digest: digest)
    }
}
