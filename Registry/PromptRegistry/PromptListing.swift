import OCIArtifacts
import SoftPrompts

// Finding prompts in any store: by base through the anchor's referrers, otherwise by what the tags name.
extension PromptRegistry {
    /// The prompts that a query describes, in the order of their arrival where the store knows it, else by name and
    /// version; by the first metric, the best first, when the embedded store is asked for metrics and for neither labels,
    /// task nor repository.
    ///
    /// - Parameter readingEveryTag: do not trust the list of referrers that a registry keeps, or that clients keep in
    ///   its fallback tag, but read the manifest under each tag. For prompts that were pushed by tools which keep no
    ///   such list.
    public func search(_ query: PromptQuery, readingEveryTag: Bool = false) async throws -> [PromptRecord] {
        if let store = backend as? EmbeddedStore { return try await store.search(query) }
        let found = try await list(
            anchor: readingEveryTag ? nil : query.base.map { BaseAnchor(fingerprint: $0) }, name: query.repository)
        var rest = found.filter { query.matches($0) }[...]
        if let after = query.after {
            guard let index = rest.firstIndex(where: { $0.name == after.name && $0.digest == after.digest }) else {
                throw RegistryError.nothingToGoOnBehind(after)
            }
            rest = rest[(index + 1)...]
        }
        rest = rest.dropFirst(max(0, query.offset))
        return query.limit.map { Array(rest.prefix(max(0, $0))) } ?? Array(rest)
    }

    /// The prompts of a repository, or of all, those for a base only when given; by name, then by version.
    public func list(base: BaseFingerprint? = nil, name: RepositoryName? = nil) async throws -> [PromptRecord] {
        try await list(anchor: try base.map { BaseAnchor(fingerprint: try Digest($0.fingerprint)) }, name: name)
    }

    private func list(anchor: BaseAnchor?, name: RepositoryName?) async throws -> [PromptRecord] {
        if let name {
            guard try await backend.repositoryExists(name) else { throw RegistryError.unknownRepository(name) }
            return try await records(in: name, anchor: anchor)
        }
        return try await concurrentMap(try await backend.repositories()) { name in
            try await self.records(in: name, anchor: anchor)
        }.flatMap { $0 }
    }

    private func records(in repository: RepositoryName, anchor: BaseAnchor?) async throws -> [PromptRecord] {
        let found =
            if let anchor { try await referrers(of: anchor, in: repository) } else { try await tagged(in: repository) }
        return found.sorted { ($0.version ?? .max, $0.digest) < ($1.version ?? .max, $1.digest) }
    }

    /// One indexed look-up, or one request: what refers to a manifest is listed with all its annotations.
    private func referrers(of anchor: BaseAnchor, in repository: RepositoryName) async throws -> [PromptRecord] {
        let entries = try await backend.referrers(
            of: anchor.digest, artifactType: MediaType.softPrompt, in: repository)
        guard !entries.isEmpty else { return [] }
        let names = try await backend.tagDigests(in: repository)
        let tags = Dictionary(grouping: names.keys, by: { names[$0] })
        return try await concurrentMap(entries) { entry in
            var annotations = entry.annotations ?? [:]
            if annotations[AnnotationKey.baseFingerprint] == nil {
                // Fallback tags are kept by clients, and some leave the annotations out.
                guard let manifest = try await self.prompt(entry.digest, in: repository)?.manifest else { return nil }
                annotations = manifest.annotations
            }
            return PromptRecord(
                name: repository, digest: entry.digest, tags: tags[entry.digest] ?? [], annotations: annotations,
                manifestSize: entry.size)
        }.compactMap { $0 }
    }

    private func tagged(in repository: RepositoryName) async throws -> [PromptRecord] {
        let names = try await backend.tagDigests(in: repository)
        let tags = Dictionary(grouping: names.keys, by: { names[$0] })
        return try await concurrentMap(Set(names.values).sorted()) { digest in
            guard let (stored, manifest) = try await self.prompt(digest, in: repository) else { return nil }
            return PromptRecord(
                name: repository, digest: digest, tags: tags[digest] ?? [], annotations: manifest.annotations,
                manifestSize: stored.bytes.count)
        }.compactMap { $0 }
    }

    /// A manifest that is a soft prompt's; nil for any other, and for one that is gone.
    private func prompt(
        _ digest: Digest, in repository: RepositoryName
    ) async throws -> (stored: StoredManifest, manifest: Manifest)? {
        guard let stored = try await backend.manifest(.digest(digest), in: repository),
            let manifest = try? Manifest.parse(stored.bytes, mediaType: stored.mediaType),
            manifest.effectiveArtifactType == MediaType.softPrompt
        else { return nil }
        return (stored, manifest)
    }
}
