import Foundation
import OCIArtifacts
import Synchronization

// What every store does.
extension LayoutStore {
    public func blob(_ digest: Digest, in repository: RepositoryName) async throws -> BlobInfo? {
        guard try look({ $0.repositories[repository]?.has(digest) == true }),
            let file = try medium.file(Self.name(of: digest))
        else { return nil }
        return BlobInfo(digest: digest, size: file.size)
    }

    public func readBlob(
        _ digest: Digest, in repository: RepositoryName, range: Range<Int>?,
        _ consume: @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        guard try look({ $0.repositories[repository]?.has(digest) == true }),
            let file = try medium.file(Self.name(of: digest))
        else { throw RegistryError.unknownBlob(digest, in: repository) }
        let part = try ManifestAdmission.clamp(range, size: file.size, digest)
        try await readVerified(
            digest, part, of: file.size, path: path, mismatch: "has the digest",
            read: { try file.read($0, at: $1) }, consume)
    }

    public func writeBlob(
        _ digest: Digest, size: Int?, in repository: RepositoryName,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws {
        let folder = try writable()
        let temporary = folder.path + "/.incoming-" + UUID().uuidString.lowercased()
        let output = try OutputFile(path: temporary, isNew: true)
        defer { StorageFiles.remove(temporary) }
        var hasher = DigestHasher(algorithm: digest.algorithm)
        while let chunk = try await source() {
            hasher.update(chunk)
            if let size, hasher.byteCount > size {
                throw RegistryError.sizeMismatch(expected: size, found: hasher.byteCount, digest, in: repository)
            }
            try output.write(chunk)
        }
        if let size, hasher.byteCount != size {
            throw RegistryError.sizeMismatch(expected: size, found: hasher.byteCount, digest, in: repository)
        }
        let found = hasher.finalize()
        guard found == digest else {
            throw RegistryError.digestMismatch(expected: digest, found: found, size: hasher.byteCount, in: repository)
        }
        try await offload { try output.synchronize() }
        try change { state in
            try folder.publish(temporary, as: Self.name(of: digest))
            state.repositories[repository, default: Repository()].blobs.insert(digest)
        }
    }

    public func mountBlob(
        _ digest: Digest, from source: RepositoryName?, to repository: RepositoryName
    ) async throws -> Bool {
        guard folder != nil else { return false }
        return try change { state in
            let isThere =
                if let source { state.repositories[source]?.has(digest) == true } else {
                    state.repositories.values.contains { $0.has(digest) }
                }
            guard isThere, try medium.file(Self.name(of: digest)) != nil else { return false }
            state.repositories[repository, default: Repository()].blobs.insert(digest)
            return true
        }
    }

    public func deleteBlob(_ digest: Digest, in repository: RepositoryName) async throws {
        try change { state in
            guard state.repositories[repository]?.has(digest) == true else {
                throw RegistryError.unknownBlob(digest, in: repository)
            }
            let entries = state.repositories[repository]?.entries ?? []
            guard !entries.contains(where: { $0.manifest.blobs.contains { $0.digest == digest } }) else {
                throw RegistryError.blobInUse(digest, in: repository)
            }
            state.repositories[repository]?.blobs.remove(digest)
            try unlinkIfUnused(digest, state)
        }
    }

    public func manifest(
        _ reference: ManifestReference, in repository: RepositoryName
    ) async throws -> StoredManifest? {
        let entry = try look { state in
            switch reference {
            case .tag(let tag): state.repositories[repository]?.tag(tag)
            case .digest(let digest): state.repositories[repository]?.find(digest)
            }
        }
        guard let entry else { return nil }
        let digest = entry.descriptor.digest
        guard let file = try medium.file(Self.name(of: digest)) else {
            throw RegistryError(.corrupt, "manifest \(digest) is missing from the layout", digest: digest, path: path)
        }
        let bytes = try file.readAll(limit: Manifest.maximumSize, "manifest \(digest)")
        guard Digest.of(bytes, algorithm: digest.algorithm) == digest else {
            throw RegistryError(
                .corrupt, "manifest \(digest) in the layout has other bytes than its digest stands for", digest: digest,
                path: path)
        }
        return StoredManifest(digest: digest, mediaType: entry.manifest.mediaType, bytes: bytes)
    }

    public func putManifest(
        _ bytes: [UInt8], mediaType: String, as reference: ManifestReference, tags: [Tag],
        in repository: RepositoryName
    ) async throws -> ManifestReceipt {
        let folder = try writable()
        let admission = try ManifestAdmission(bytes, mediaType: mediaType, as: reference, tags: tags, in: repository)
        let digest = admission.stored.digest
        try change { state in
            var copy = state
            var held = copy.repositories[repository] ?? Repository()
            for needed in admission.requiredBlobs {
                let size = held.has(needed.digest) ? try medium.file(Self.name(of: needed.digest))?.size : nil
                try admission.check(needed, storedSize: size, in: repository)
            }
            for tag in admission.tags {
                try ManifestAdmission.checkVersion(
                    tag, was: held.tag(tag)?.descriptor.digest, becomes: digest, in: repository)
            }
            for entry in admission.embedded {
                try folder.write(entry.bytes, to: Self.name(of: entry.digest))
                held.blobs.insert(entry.digest)
            }
            try folder.write(bytes, to: Self.name(of: digest))
            for index in held.entries.indices { held.entries[index].tags.removeAll { admission.tags.contains($0) } }
            let descriptor = Descriptor(mediaType: admission.manifest.mediaType, digest: digest, size: bytes.count)
            if let index = held.entries.firstIndex(where: { $0.descriptor.digest == digest }) {
                held.entries[index].tags += admission.tags
                held.entries[index].isImplied = false
            } else {
                held.entries.append(
                    Entry(descriptor: descriptor, manifest: admission.manifest, tags: admission.tags))
            }
            copy.repositories[repository] = held
            try save(&copy)
            state = copy
        }
        return ManifestReceipt(digest: digest, subject: admission.manifest.subject?.digest)
    }

    public func deleteManifest(_ reference: ManifestReference, in repository: RepositoryName) async throws {
        try change { state in
            var copy = state
            guard var held = copy.repositories[repository] else {
                throw RegistryError.unknownManifest(reference, in: repository)
            }
            var gone: Entry?
            switch reference {
            case .tag(let tag):
                guard let index = held.entries.firstIndex(where: { $0.tags.contains(tag) }) else {
                    throw RegistryError.unknownManifest(reference, in: repository)
                }
                if let refusal = ManifestAdmission.versionGuard([tag], in: repository) { throw refusal }
                held.entries[index].tags.removeAll { $0 == tag }
            case .digest(let digest):
                guard let entry = held.find(digest) else {
                    throw RegistryError.unknownManifest(reference, in: repository)
                }
                if let refusal = ManifestAdmission.versionGuard(entry.tags, in: repository) { throw refusal }
                held.entries.removeAll { $0.descriptor.digest == digest }
                // Its blobs stay in the repository, as they do elsewhere, until someone deletes them.
                held.blobs.formUnion(entry.manifest.blobs.map(\.digest))
                gone = entry
            }
            copy.repositories[repository] = held
            try save(&copy)
            state = copy
            if let gone { try unlinkIfUnused(gone.descriptor.digest, state) }
        }
    }

    private func unlinkIfUnused(_ digest: Digest, _ state: State) throws {
        let isUsed = state.repositories.values.contains { $0.has(digest) || $0.find(digest) != nil }
        if !isUsed { StorageFiles.remove(try writable().path + "/" + Self.name(of: digest)) }
    }

    public func tags(in repository: RepositoryName, last: String?, limit: Int?) async throws -> [Tag] {
        let all = try look { $0.repositories[repository]?.entries.flatMap(\.tags) }
        guard let all else { throw RegistryError.unknownRepository(repository) }
        let after = all.sorted().filter { tag in
            last.map { $0.utf8.lexicographicallyPrecedes(tag.description.utf8) } ?? true
        }
        return limit.map { Array(after.prefix(max(0, $0))) } ?? after
    }

    public func referrers(
        of digest: Digest, artifactType: String?, in repository: RepositoryName
    ) async throws -> [Descriptor] {
        guard let held = try look({ $0.repositories[repository] }) else { return [] }
        let known = held.entries.filter { $0.manifest.subject?.digest == digest }.map { entry in
            entry.manifest.referrerDescriptor(digest: entry.descriptor.digest, size: entry.descriptor.size)
        }.filter { artifactType == nil || $0.artifactType == artifactType }
        let fallback = try await manifest(.tag(.referrersFallback(for: digest)), in: repository)
        return ManifestAdmission.mergeFallback(fallback, into: known, artifactType: artifactType) {
            held.find($0) != nil
        }
    }

    public func repositories() async throws -> [RepositoryName] { try look { $0.repositories.keys.sorted() } }

    public func repositoryExists(_ repository: RepositoryName) async throws -> Bool {
        try look { $0.repositories[repository] != nil }
    }

    // MARK: - Archives

    /// Writes the layout of a folder as a tar archive, which appears when it is complete.
    public func writeArchive(to target: String) throws {
        let temporary = target + ".part-" + UUID().uuidString.lowercased()
        let output = try OutputFile(path: temporary, isNew: true)
        do {
            let writer = TarWriter(output)
            var names = ["oci-layout", "index.json"]
            let digests = try look { state in
                Set(
                    state.repositories.values.flatMap {
                        $0.entries.flatMap { [$0.descriptor.digest] + $0.manifest.blobs.map(\.digest) }
                    })
            }
            names += digests.sorted().map(Self.name)
            for name in names {
                guard let file = try medium.file(name) else { continue }
                var position = 0
                try writer.add(name, size: file.size) {
                    let chunk = try file.read(1 << 20, at: position)
                    position += chunk.count
                    return chunk.isEmpty ? nil : chunk
                }
            }
            try writer.finish()
            try output.synchronize()
            guard rename(temporary, target) == 0 else { throw RegistryError.system("cannot move into place", target) }
        } catch {
            StorageFiles.remove(temporary)
            throw error
        }
    }
}
