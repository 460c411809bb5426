import OCIArtifacts

/// A pushed manifest after every check that needs no store: it parses, has the digest it claims, and its embedded data
/// is what its descriptors say. Every local store admits manifests through this.
struct ManifestAdmission: Sendable {
    let manifest: Manifest
    let stored: StoredManifest
    /// All tags to set, without repetition.
    let tags: [Tag]
    /// Blobs that came inside the manifest (`data`), to be stored as if they had been pushed.
    let embedded: [(digest: Digest, bytes: [UInt8])]

    init(
        _ bytes: [UInt8], mediaType: String, as reference: ManifestReference, tags: [Tag],
        in repository: RepositoryName
    ) throws {
        let manifest: Manifest
        do {
            manifest = try Manifest.parse(bytes, mediaType: mediaType.isEmpty ? nil : mediaType)
        } catch {
            throw RegistryError(error, repository: repository).asManifestError
        }
        var allTags: [Tag] = []
        let digest: Digest
        switch reference {
        case .tag(let tag):
            digest = .sha256(of: bytes)
            allTags = [tag]
        case .digest(let claimed):
            digest = .of(bytes, algorithm: claimed.algorithm)
            guard digest == claimed else {
                throw RegistryError(
                    .digestInvalid, "the manifest was pushed as \(claimed) but its bytes have the digest \(digest)",
                    repository: repository, digest: claimed)
            }
        }
        for tag in tags where !allTags.contains(tag) { allTags.append(tag) }
        var embedded: [(digest: Digest, bytes: [UInt8])] = []
        for descriptor in manifest.blobs {
            guard let data = descriptor.data else { continue }
            guard Digest.of(data, algorithm: descriptor.digest.algorithm) == descriptor.digest else {
                throw RegistryError(
                    .manifestInvalid, "the data embedded for \(descriptor.digest) has another digest",
                    repository: repository, digest: descriptor.digest)
            }
            embedded.append((descriptor.digest, Array(data)))
        }
        self.manifest = manifest
        self.tags = allTags
        self.embedded = embedded
        stored = StoredManifest(digest: digest, mediaType: manifest.mediaType, bytes: bytes)
    }

    /// The blobs that must be in the repository before the manifest is.
    var requiredBlobs: [Descriptor] {
        manifest.requiredBlobs.filter { needed in !embedded.contains { $0.digest == needed.digest } }
    }

    /// Checks one required blob against what the store holds under its digest (nil: nothing).
    func check(_ descriptor: Descriptor, storedSize: Int?, in repository: RepositoryName) throws {
        guard let storedSize else {
            throw RegistryError(
                .manifestBlobUnknown,
                "the manifest needs blob \(descriptor.digest), which repository \(repository) lacks; push it first",
                repository: repository, digest: descriptor.digest)
        }
        guard storedSize == descriptor.size else {
            throw RegistryError(
                .sizeInvalid,
                "the manifest says blob \(descriptor.digest) has \(descriptor.size) bytes, but it has \(storedSize)",
                repository: repository, digest: descriptor.digest)
        }
    }

    /// Refuses to give a version tag a second meaning.
    static func checkVersion(
        _ tag: Tag, was previous: Digest?, becomes digest: Digest, in repository: RepositoryName
    ) throws {
        guard tag.versionNumber != nil, let previous, previous != digest else { return }
        throw RegistryError(
            .denied,
            "\(repository):\(tag) is version \(previous.short) and versions never change; store \(digest.short) as the "
                + "next version",
            repository: repository, digest: digest)
    }

    /// The refusal to delete what a version names.
    static func versionGuard(_ tags: [Tag], in repository: RepositoryName) -> RegistryError? {
        guard let tag = tags.first(where: { $0.versionNumber != nil }) else { return nil }
        return RegistryError(
            .denied, "\(repository):\(tag) is a version and kept; deleting it must be forced", repository: repository)
    }

    /// Referrers found in the index under a fallback tag (pushed by clients that did not know this store keeps its
    /// own), restricted to manifests that are here and not listed yet.
    static func mergeFallback(
        _ index: StoredManifest?, into known: [Descriptor], artifactType: String?, isPresent: (Digest) throws -> Bool
    ) rethrows -> [Descriptor] {
        guard let index, let entries = try? ImageIndex.parse(index.bytes, mediaType: index.mediaType).manifests else {
            return known
        }
        var result = known
        for entry in entries where artifactType == nil || entry.artifactType == artifactType {
            if !result.contains(where: { $0.digest == entry.digest }), try isPresent(entry.digest) {
                result.append(entry)
            }
        }
        return result
    }

    /// `size` bytes, `range` of which are asked for: the part to send.
    static func clamp(_ range: Range<Int>?, size: Int, _ digest: Digest) throws -> Range<Int> {
        guard let range else { return 0..<size }
        guard range.lowerBound >= 0, range.upperBound <= size else {
            throw RegistryError(
                .rangeInvalid,
                "bytes \(range.lowerBound)..<\(range.upperBound) lie outside blob \(digest) of \(size) bytes",
                digest: digest)
        }
        return range
    }
}

extension RegistryError {
    /// Digests and names inside a manifest are the manifest's mistakes.
    fileprivate var asManifestError: RegistryError {
        code == .sizeInvalid
            ? self : RegistryError(.manifestInvalid, message, repository: repository, digest: digest)
    }

    static func unknownUpload(_ id: String, in repository: RepositoryName) -> RegistryError {
        let shown = id.unicodeScalars.allSatisfy { $0.isASCII && $0.value > 0x20 } ? String(id.prefix(40)) : "?"
        return RegistryError(
            .blobUploadUnknown, "repository \(repository) has no open upload \(shown); begin a new one",
            repository: repository)
    }

    static func unknownRepository(_ repository: RepositoryName) -> RegistryError {
        RegistryError(.nameUnknown, "there is no repository \(repository)", repository: repository)
    }

    static func digestMismatch(expected: Digest, found: Digest, size: Int, in repository: RepositoryName)
        -> RegistryError
    {
        RegistryError(
            .digestInvalid, "the \(size) bytes sent as \(expected) have the digest \(found); nothing was stored",
            repository: repository, digest: expected)
    }

    static func sizeMismatch(expected: Int, found: Int, _ digest: Digest, in repository: RepositoryName)
        -> RegistryError
    {
        RegistryError(
            .sizeInvalid,
            "blob \(digest) was announced with \(expected) bytes but \(found > expected ? "more" : "only \(found)") came; "
                + "nothing was stored",
            repository: repository, digest: digest)
    }
}
