import AsyncHTTPClient
import Foundation
import NIOCore
import OCIArtifacts
import PromptRegistry

// Blobs.
extension RemoteStore {
    public func blob(_ digest: Digest, in repository: RepositoryName) async throws -> BlobInfo? {
        let call = Transport.Call(
            method: .HEAD, target: "/v2/\(repository)/blobs/\(digest)", repository: repository,
            purpose: "look for blob \(digest) of \(repository)")
        let response = try await transport.send(call)
        if response.status == .notFound { return nil }
        guard response.status == .ok else { throw await transport.failure(response, call) }
        guard let text = response.headers.first(name: "Content-Length"), let size = Int(text), size >= 0 else {
            throw RegistryError(
                .transport, "\(host) does not say how large blob \(digest) is; check that it is an OCI registry",
                repository: repository, digest: digest)
        }
        return BlobInfo(digest: digest, size: size)
    }

    /// Streams a blob. When the connection breaks, the rest is asked for again, from the byte where it broke.
    ///
    /// The bytes of a whole blob are hashed as they pass. With a wrong digest the call throws `.corrupt` after the last
    /// byte, so a caller must not use what it got before the call returns.
    public func readBlob(
        _ digest: Digest, in repository: RepositoryName, range: Range<Int>?,
        _ consume: @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        var next = range?.lowerBound ?? 0
        var end = range?.upperBound
        if let range, range.isEmpty { return }
        var hasher = range == nil ? DigestHasher(algorithm: digest.algorithm) : nil
        var attempt = 1
        while true {
            let from = next
            do {
                let (response, size) = try await openBlob(digest, in: repository, from: from, to: end)
                let limit = end ?? size
                // A server without ranges sends everything: skip what is known.
                var skip = response.status == .partialContent ? 0 : from
                for try await buffer in response.body {
                    var bytes = Array(buffer.readableBytesView)
                    if skip > 0 {
                        let dropped = min(skip, bytes.count)
                        bytes.removeFirst(dropped)
                        skip -= dropped
                    }
                    if let limit, bytes.count > limit - next {
                        guard range != nil else {
                            throw corrupt(
                                "\(host) sent more bytes of blob \(digest) than announced", repository, digest)
                        }
                        bytes.removeLast(bytes.count - (limit - next))
                    }
                    if bytes.isEmpty {
                        if let limit, next >= limit { break }
                        continue
                    }
                    hasher?.update(bytes)
                    next += bytes.count
                    do { try await consume(bytes) } catch { throw ConsumerFailure(underlying: error) }
                }
                if let limit, next < limit { throw Interrupted() }
                if end == nil { end = size }
                break
            } catch let error as ConsumerFailure {
                throw error.underlying
            } catch let error as RegistryError {
                throw error
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                // Progress earns a fresh set of attempts.
                attempt = next > from ? 1 : attempt + 1
                guard attempt <= options.maximumAttempts else {
                    throw RegistryError(
                        .transport,
                        "the transfer of blob \(digest) from \(host) breaks off at byte \(next); try again later",
                        repository: repository, digest: digest, cause: error is Interrupted ? nil : error)
                }
                try await Task.sleep(for: options.retryDelay * (1 << min(attempt - 1, 6)))
            }
        }
        if let found = hasher?.finalize(), found != digest {
            throw corrupt(
                "\(host) sent \(next) bytes with the digest \(found) for blob \(digest); nothing of it can be used",
                repository, digest)
        }
    }

    /// Begins to fetch a blob at byte `from`; also answers the blob's whole size when known.
    private func openBlob(
        _ digest: Digest, in repository: RepositoryName, from: Int, to end: Int?
    ) async throws -> (HTTPClientResponse, Int?) {
        var call = Transport.Call(
            method: .GET, target: "/v2/\(repository)/blobs/\(digest)", repository: repository,
            purpose: "fetch blob \(digest) of \(repository)")
        if from > 0 || end != nil {
            call.headers.append(("Range", "bytes=\(from)-\(end.map { String($0 - 1) } ?? "")"))
        }
        let response = try await transport.send(call)
        switch response.status.code {
        case 200:
            return (response, response.headers.first(name: "Content-Length").flatMap { Int($0) })
        case 206:
            // "bytes 500-999/1000"
            let text = response.headers.first(name: "Content-Range") ?? ""
            let first = text.hasPrefix("bytes ") ? Int(text.dropFirst(6).prefix { $0 != "-" }) : nil
            guard first == from else {
                throw RegistryError(
                    .transport, "\(host) sent another part of blob \(digest) than asked for", repository: repository,
                    digest: digest)
            }
            return (response, text.split(separator: "/").last.flatMap { Int($0) })
        case 404:
            try? await discard(response)
            throw RegistryError.unknownBlob(digest, in: repository)
        default:
            throw await transport.failure(response, call)
        }
    }

    public func writeBlob(
        _ digest: Digest, size: Int?, in repository: RepositoryName,
        from source: @Sendable () async throws -> [UInt8]?
    ) async throws {
        var hasher = DigestHasher(algorithm: digest.algorithm)
        var pending: [UInt8] = []
        var upload: BlobPush?
        do {
            while let chunk = try await source() {
                hasher.update(chunk)
                if let size, hasher.byteCount > size {
                    throw RegistryError(
                        .sizeInvalid, "blob \(digest) was announced with \(size) bytes but more came",
                        repository: repository,
                        digest: digest)
                }
                pending += chunk
                while pending.count > options.chunkSize {
                    let piece = Array(pending.prefix(options.chunkSize))
                    pending.removeFirst(options.chunkSize)
                    if upload == nil { upload = try await beginPush(digest, repository) }
                    try await upload?.append(piece)
                }
            }
            if let size, hasher.byteCount != size {
                throw RegistryError(
                    .sizeInvalid, "blob \(digest) was announced with \(size) bytes but \(hasher.byteCount) came",
                    repository: repository, digest: digest)
            }
            let found = hasher.finalize()
            guard found == digest else {
                throw RegistryError(
                    .digestInvalid, "the bytes to push as \(digest) have the digest \(found)", repository: repository,
                    digest: digest)
            }
            if upload == nil { upload = try await beginPush(digest, repository) }
            if upload?.offset ?? 0 > 0, !pending.isEmpty {
                try await upload?.append(pending)
                pending = []
            }
            try await upload?.finish(pending)
        } catch {
            await upload?.cancel()
            throw error
        }
    }

    private func beginPush(_ digest: Digest, _ repository: RepositoryName) async throws -> BlobPush {
        let parameter = digest.algorithm == .sha256 ? "" : "?digest-algorithm=\(digest.algorithm.rawValue)"
        let call = Transport.Call(
            method: .POST, target: "/v2/\(repository)/blobs/uploads/\(parameter)", headers: [("Content-Length", "0")],
            repository: repository, purpose: "begin the upload of blob \(digest) to \(repository)")
        let response = try await transport.send(call)
        guard response.status == .accepted else { throw await transport.failure(response, call) }
        try await discard(response)
        return BlobPush(
            store: self, digest: digest, repository: repository, location: try location(response, call))
    }

    /// Where an upload goes on: the `Location` of the last answer.
    func location(_ response: HTTPClientResponse, _ call: Transport.Call) throws -> String {
        guard let text = response.headers.first(name: "Location") else {
            throw RegistryError(
                .transport, "cannot \(call.purpose): \(host) gives no Location; check that it is an OCI registry",
                repository: call.repository)
        }
        let base = try transport.resolve(call.target, against: host.baseURL + "/v2/", call)
        return try transport.resolve(text, against: base.absoluteString, call).absoluteString
    }

    public func mountBlob(
        _ digest: Digest, from source: RepositoryName?, to repository: RepositoryName
    ) async throws -> Bool {
        var items = [("mount", digest.description)]
        if let source { items.append(("from", source.description)) }
        let call = Transport.Call(
            method: .POST, target: "/v2/\(repository)/blobs/uploads/?" + formEncoded(items),
            headers: [("Content-Length", "0")], repository: repository,
            otherScopes: source.map { ["repository:\($0):pull"] } ?? [],
            purpose: "mount blob \(digest) into \(repository)")
        let response = try await transport.send(call)
        switch response.status.code {
        case 201:
            try await discard(response)
            return true
        case 202:
            // The registry opened an upload instead; nobody will use it.
            try await discard(response)
            let place = try location(response, call)
            await BlobPush(store: self, digest: digest, repository: repository, location: place).cancel()
            return false
        case 404, 405:
            try await discard(response)
            return false
        default:
            throw await transport.failure(response, call)
        }
    }

    public func deleteBlob(_ digest: Digest, in repository: RepositoryName) async throws {
        let call = Transport.Call(
            method: .DELETE, target: "/v2/\(repository)/blobs/\(digest)", repository: repository,
            purpose: "delete blob \(digest) of \(repository)")
        let response = try await transport.send(call)
        switch response.status.code {
        case 200, 202, 204: try await discard(response)
        case 404:
            try await discard(response)
            throw RegistryError.unknownBlob(digest, in: repository)
        default: throw await transport.failure(response, call)
        }
    }
}

/// The connection closed before all announced bytes came.
private struct Interrupted: Error {}

/// The receiver of the bytes failed, not the network: no reason to ask again.
private struct ConsumerFailure: Error { let underlying: any Error }

/// A blob on its way to a registry.
struct BlobPush: Sendable {
    let store: RemoteStore
    let digest: Digest
    let repository: RepositoryName
    var location: String
    var offset = 0

    init(store: RemoteStore, digest: Digest, repository: RepositoryName, location: String) {
        self.store = store
        self.digest = digest
        self.repository = repository
        self.location = location
    }

    /// Sends a piece. When the answer is lost, the registry is asked how far it got and only the rest is sent again.
    mutating func append(_ piece: [UInt8]) async throws {
        let end = offset + piece.count
        var attempt = 1
        while offset < end {
            let rest = Array(piece.suffix(end - offset))
            var call = Transport.Call(
                method: .PATCH, target: location, repository: repository,
                purpose: "upload bytes \(offset)-\(end - 1) of blob \(digest) to \(repository)")
            call.headers = [
                ("Content-Type", MediaType.octetStream), ("Content-Range", "\(offset)-\(end - 1)"),
            ]
            call.body = rest
            call.isRepeatable = false
            do {
                let response = try await store.transport.send(call)
                if response.status == .accepted {
                    try await store.discard(response)
                    location = try store.location(response, call)
                    offset = end
                    return
                }
                guard response.status.code == 416 || response.status.code >= 500,
                    attempt < store.options.maximumAttempts
                else { throw await store.transport.failure(response, call) }
                try? await store.discard(response)
            } catch let error as RegistryError where error.code == .transport && attempt < store.options.maximumAttempts
            {
                // Fall through to asking for the offset.
            }
            attempt += 1
            try await Task.sleep(for: store.options.retryDelay * (1 << min(attempt - 2, 6)))
            let known = try await status(call)
            guard (offset...end).contains(known) else {
                throw RegistryError(
                    .transport, "\(store.host) lost bytes of the upload of blob \(digest); start it again",
                    repository: repository, digest: digest)
            }
            offset = known
        }
    }

    /// How many bytes the registry has.
    private mutating func status(_ last: Transport.Call) async throws -> Int {
        let call = Transport.Call(
            method: .GET, target: location, repository: repository,
            purpose: "ask how far the upload of blob \(digest) is")
        let response = try await store.transport.send(call)
        guard response.status == .noContent else { throw await store.transport.failure(response, call) }
        if response.headers.contains(name: "Location") { location = try store.location(response, call) }
        guard let text = response.headers.first(name: "Range"), let dash = text.firstIndex(of: "-"),
            let end = Int(text[text.index(after: dash)...])
        else { return offset }
        // "0-0" is also how registries say "nothing yet".
        return end == 0 ? offset : end + 1
    }

    /// Sends what is left and names the digest. The blob then is in the repository.
    func finish(_ rest: [UInt8]) async throws {
        var call = Transport.Call(
            method: .PUT,
            target: location + (location.contains("?") ? "&" : "?") + formEncoded([("digest", digest.description)]),
            repository: repository, purpose: "upload blob \(digest) to \(repository)")
        call.headers = [("Content-Type", MediaType.octetStream), ("Content-Length", String(rest.count))]
        call.body = rest
        call.isRepeatable = false
        do {
            let response = try await store.transport.send(call)
            if response.status == .created || response.status == .noContent {
                try await store.discard(response)
                return
            }
            throw await store.transport.failure(response, call)
        } catch let error as RegistryError where error.code == .transport {
            // The upload may have ended all the same: only the answer was lost.
            guard try await store.blob(digest, in: repository) != nil else { throw error }
        }
    }

    /// Tells the registry to forget the upload; whether it listens does not matter.
    func cancel() async {
        var call = Transport.Call(
            method: .DELETE, target: location, repository: repository, purpose: "cancel the upload of blob \(digest)")
        call.isRepeatable = false
        if let response = try? await store.transport.send(call) { try? await store.discard(response) }
    }
}
