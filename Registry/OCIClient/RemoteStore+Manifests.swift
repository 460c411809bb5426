import AsyncHTTPClient
import Foundation
import OCIArtifacts
import PromptRegistry

// Manifests and referrers.
extension RemoteStore {
    private static let accepted =
        [MediaType.imageManifest, MediaType.imageIndex, MediaType.dockerManifest, MediaType.dockerManifestList]
        .joined(separator: ", ")

    public func manifest(
        _ reference: ManifestReference, in repository: RepositoryName
    ) async throws -> StoredManifest? {
        let call = Transport.Call(
            method: .GET, target: "/v2/\(repository)/manifests/\(reference)", headers: [("Accept", Self.accepted)],
            repository: repository, purpose: "fetch the manifest \(repository):\(reference)")
        let response = try await transport.send(call)
        if response.status == .notFound {
            try await discard(response)
            return nil
        }
        guard response.status == .ok else { throw await transport.failure(response, call) }
        let bytes = try await transport.collect(response, limit: Manifest.maximumSize, call)
        // The digest asked for, or else the one the registry claims: either way the bytes must have it.
        let claimed: Digest
        switch reference {
        case .digest(let digest): claimed = digest
        case .tag:
            let header = response.headers.first(name: "Docker-Content-Digest").flatMap { try? Digest($0) }
            claimed = header ?? .sha256(of: bytes)
        }
        let found = Digest.of(bytes, algorithm: claimed.algorithm)
        guard found == claimed else {
            throw corrupt(
                "\(host) sent a manifest with the digest \(found) for \(repository):\(reference), which is \(claimed)",
                repository, claimed)
        }
        let served = response.headers.first(name: "Content-Type").map { MediaType.withoutParameters($0) }
        do {
            let manifest = try Manifest.parse(bytes, mediaType: served.flatMap { $0.isEmpty ? nil : $0 })
            return StoredManifest(digest: claimed, mediaType: manifest.mediaType, bytes: bytes)
        } catch {
            throw RegistryError(
                .manifestInvalid, "what \(host) has as \(repository):\(reference) is no manifest: \(error.message)",
                repository: repository, digest: claimed)
        }
    }

    public func digest(of tag: Tag, in repository: RepositoryName) async throws -> Digest? {
        let call = Transport.Call(
            method: .HEAD, target: "/v2/\(repository)/manifests/\(tag)", headers: [("Accept", Self.accepted)],
            repository: repository, purpose: "look for \(repository):\(tag)")
        let response = try await transport.send(call)
        if response.status == .notFound { return nil }
        // The header was optional before 1.1, and some proxies know no HEAD.
        guard response.status == .ok,
            let digest = response.headers.first(name: "Docker-Content-Digest").flatMap({ try? Digest($0) })
        else { return try await manifest(.tag(tag), in: repository)?.digest }
        return digest
    }

    /// Pushes a manifest; further tags are set with it when the registry can, else one by one.
    ///
    /// When the manifest has a subject that the registry does not index, its fallback tag is brought up to date.
    public func putManifest(
        _ bytes: [UInt8], mediaType: String, as reference: ManifestReference, tags: [Tag],
        in repository: RepositoryName
    ) async throws -> ManifestReceipt {
        let manifest: Manifest
        do { manifest = try Manifest.parse(bytes, mediaType: mediaType.isEmpty ? nil : mediaType) } catch {
            throw RegistryError(.manifestInvalid, error.message, repository: repository)
        }
        let digest: Digest
        var wanted: [Tag] = []
        switch reference {
        case .tag(let tag):
            digest = .sha256(of: bytes)
            wanted.append(tag)
        case .digest(let claimed):
            digest = .of(bytes, algorithm: claimed.algorithm)
            guard digest == claimed else {
                throw RegistryError(
                    .digestInvalid, "the manifest to push as \(claimed) has the digest \(digest)",
                    repository: repository, digest: claimed)
            }
        }
        for tag in tags where !wanted.contains(tag) { wanted.append(tag) }
        for tag in wanted where tag.versionNumber != nil {
            // Other registries let any tag move; versions must not.
            if let known = try await self.manifest(.tag(tag), in: repository), known.digest != digest {
                throw RegistryError(
                    .denied,
                    "\(host)/\(repository):\(tag) is version \(known.digest.short) and versions never change; push "
                        + "\(digest.short) under another number",
                    repository: repository, digest: digest)
            }
        }
        var subject: Digest?
        var set: Set<Tag> = []
        if case .digest = reference {
            let query = wanted.isEmpty ? "" : "?" + formEncoded(wanted.map { ("tag", $0.description) })
            let response = try await put(bytes, manifest.mediaType, "\(digest)\(query)", "\(digest)", repository)
            subject = response.headers.first(name: "OCI-Subject").flatMap { try? Digest($0) }
            for value in response.headers["OCI-Tag"] {
                for part in value.split(separator: ",") {
                    if let tag = try? Tag(String(part.filter { $0 != " " })) { set.insert(tag) }
                }
            }
        }
        for tag in wanted where !set.contains(tag) {
            let response = try await put(bytes, manifest.mediaType, tag.description, tag.description, repository)
            subject = subject ?? response.headers.first(name: "OCI-Subject").flatMap { try? Digest($0) }
        }
        if let target = manifest.subject?.digest, subject != target {
            let descriptor = manifest.referrerDescriptor(digest: digest, size: bytes.count)
            try await updateFallback(of: target, in: repository) { index in
                guard !index.contains(where: { $0.digest == digest }) else { return false }
                index.append(descriptor)
                return true
            }
            subject = target
        }
        return ManifestReceipt(digest: digest, subject: subject)
    }

    private func put(
        _ bytes: [UInt8], _ mediaType: String, _ path: String, _ name: String, _ repository: RepositoryName
    ) async throws -> HTTPClientResponse {
        var call = Transport.Call(
            method: .PUT, target: "/v2/\(repository)/manifests/\(path)", headers: [("Content-Type", mediaType)],
            repository: repository, purpose: "push the manifest \(repository):\(name)")
        call.body = bytes
        let response = try await transport.send(call)
        guard response.status == .created || response.status == .ok else {
            throw await transport.failure(response, call)
        }
        try await discard(response)
        return response
    }

    public func deleteManifest(_ reference: ManifestReference, in repository: RepositoryName) async throws {
        // Read before it is gone: its subject's fallback tag may list it.
        var subject: Digest?
        if case .digest = reference, let stored = try await manifest(reference, in: repository) {
            subject = try? Manifest.parse(stored.bytes, mediaType: stored.mediaType).subject?.digest
        }
        let call = Transport.Call(
            method: .DELETE, target: "/v2/\(repository)/manifests/\(reference)", repository: repository,
            purpose: "delete \(repository):\(reference)")
        let response = try await transport.send(call)
        switch response.status.code {
        case 200, 202, 204: try await discard(response)
        case 404:
            try await discard(response)
            throw RegistryError.unknownManifest(reference, in: repository)
        case 400, 405:
            // What docker-registry answers to a tag is "invalid digest"; the spec has both statuses mean "not offered".
            let failure = await transport.failure(response, call)
            guard case .tag = reference, failure.code != .denied else { throw failure }
            throw RegistryError(
                .unsupported,
                "\(host) does not delete single tags (status \(response.status.code)); delete the manifest by its digest, "
                    + "which takes all its tags with it", repository: repository)
        default: throw await transport.failure(response, call)
        }
        if let subject, case .digest(let digest) = reference,
            try await referrersFromAPI(of: subject, artifactType: nil, in: repository) == nil
        {
            try await updateFallback(of: subject, in: repository) { index in
                let count = index.count
                index.removeAll { $0.digest == digest }
                return index.count != count
            }
        }
    }

    // MARK: - Referrers

    public func referrers(
        of digest: Digest, artifactType: String?, in repository: RepositoryName
    ) async throws -> [Descriptor] {
        let all =
            if let listed = try await referrersFromAPI(of: digest, artifactType: artifactType, in: repository) {
                listed
            } else {
                try await readFallback(of: digest, in: repository)
            }
        // Filters are optional for registries (OCI-Filters-Applied says so); filtering twice does no harm.
        guard let artifactType else { return all }
        return all.filter { $0.artifactType == artifactType }
    }

    /// Nil when the registry has no referrers API.
    private func referrersFromAPI(
        of digest: Digest, artifactType: String?, in repository: RepositoryName
    ) async throws -> [Descriptor]? {
        let query = artifactType.map { "?" + formEncoded([("artifactType", $0)]) } ?? ""
        var call = Transport.Call(
            method: .GET, target: "/v2/\(repository)/referrers/\(digest)\(query)",
            headers: [("Accept", MediaType.imageIndex)], repository: repository,
            purpose: "list what refers to \(digest) in \(repository)")
        var result: [Descriptor] = []
        var seen: Set<Digest> = []
        for _ in 0..<10_000 {
            let response = try await transport.send(call)
            switch response.status.code {
            case 200: break
            case 404, 405, 501:
                try await discard(response)
                return nil
            default: throw await transport.failure(response, call)
            }
            let type = MediaType.withoutParameters(response.headers.first(name: "Content-Type") ?? "")
            guard type == MediaType.imageIndex else {
                // Some web pages answer 200 to everything.
                try await discard(response)
                return nil
            }
            let bytes = try await transport.collect(response, limit: Manifest.maximumSize, call)
            do {
                for descriptor in try ImageIndex.parse(bytes, mediaType: type).manifests
                where seen.insert(descriptor.digest).inserted {
                    result.append(descriptor)
                }
            } catch {
                throw RegistryError(
                    .transport, "\(host) answers with a broken list of referrers of \(digest): \(error.message)",
                    repository: repository, digest: digest)
            }
            guard let next = nextLink(response.headers["Link"]) else { break }
            let base = try transport.resolve(call.target, against: host.baseURL + "/v2/", call)
            let target = try transport.resolve(next, against: base.absoluteString, call).absoluteString
            guard target != call.target else { break }
            call.target = target
        }
        return result
    }

    /// The index under the fallback tag; empty when there is none, or when the tag holds something else (GitLab answers
    /// with the subject itself).
    private func readFallback(of subject: Digest, in repository: RepositoryName) async throws -> [Descriptor] {
        guard let stored = try await manifest(.tag(.referrersFallback(for: subject)), in: repository),
            stored.mediaType == MediaType.imageIndex
        else { return [] }
        return (try? ImageIndex.parse(stored.bytes, mediaType: stored.mediaType).manifests) ?? []
    }

    /// Changes the index under the fallback tag.
    ///
    /// Two writers may overwrite each other's change, and registries ignore `If-Match`; so the tag is read back after
    /// a while, and the change made again if it got lost.
    private func updateFallback(
        of subject: Digest, in repository: RepositoryName, _ change: (inout [Descriptor]) -> Bool
    ) async throws {
        let tag = Tag.referrersFallback(for: subject)
        for attempt in 0..<8 {
            var entries = try await readFallback(of: subject, in: repository)
            guard change(&entries) else { return }
            let index = ImageIndex(manifests: entries).serialized
            _ = try await put(index, MediaType.imageIndex, tag.description, tag.description, repository)
            if attempt > 0 {
                try await Task.sleep(for: .milliseconds(Int.random(in: 10...100) * (1 << min(attempt, 4))))
            }
            var check = try await readFallback(of: subject, in: repository)
            if !change(&check) { return }
        }
        throw RegistryError(
            .transport,
            "the list of referrers \(repository):\(tag) at \(host) keeps being overwritten by others; push again",
            repository: repository, digest: subject)
    }
}
