import HTTPTypes
import Hummingbird
import OCIArtifacts
import PromptRegistry

// Uploads: end-4, end-5, end-6, end-11, end-13, end-14.
extension OCIRoutes {
    func beginUpload(
        _ name: RepositoryName, _ query: QueryParameters, _ request: Request, _ admitted: Admitted
    ) async throws -> Response {
        if let text = query["mount"] {
            let digest = try digest(text, name)
            let source: RepositoryName?
            do { source = try query["from"].map { try RepositoryName($0) } } catch {
                throw OCIError(.badRequest, .nameInvalid, "from: \(error)", repository: name)
            }
            if try await mount(digest, from: source, to: name, admitted) { return created(digest, name) }
        } else if let text = query["digest"] {
            return try await uploadWhole(try digest(text, name), name, request)
        }
        var algorithm: Digest.Algorithm?
        if let text = query["digest-algorithm"] {
            algorithm = Digest.Algorithm(rawValue: text)
            guard algorithm != nil else {
                throw OCIError(
                    .badRequest, .digestInvalid, "digest-algorithm must be sha256 or sha512", repository: name)
            }
        }
        let session = try await store.beginUpload(in: name, algorithm: algorithm)
        return Response(status: .accepted, headers: headers(of: session))
    }

    /// Mounts a blob of a repository that the asker may read. Without a name any such repository will do, and what is in
    /// others stays unknown: the answer is that of a blob that does not exist.
    private func mount(
        _ digest: Digest, from source: RepositoryName?, to name: RepositoryName, _ admitted: Admitted
    ) async throws -> Bool {
        if let source {
            guard admitted.mayPull(source) else { return false }
            return try await store.mountBlob(digest, from: source, to: name)
        }
        if admitted.identity == nil { return try await store.mountBlob(digest, from: nil, to: name) }
        for holder in try await store.repositories(holding: digest) where admitted.mayPull(holder) {
            if try await store.mountBlob(digest, from: holder, to: name) { return true }
        }
        return false
    }

    /// `POST …?digest=` with the whole blob.
    private func uploadWhole(_ digest: Digest, _ name: RepositoryName, _ request: Request) async throws -> Response {
        let size = try contentLength(request)
        let bytes = try requestBytes(request, announced: size, already: 0, name)
        try await slots.withSlot {
            try await store.writeBlob(digest, size: size, in: name) { try await bytes.next() }
        }
        metrics.countReceived(bytes.count)
        return created(digest, name)
    }

    func appendToUpload(_ id: String, _ name: RepositoryName, _ request: Request) async throws -> Response {
        let session = try await append(request, to: id, name)
        return Response(status: .accepted, headers: headers(of: session))
    }

    func finishUpload(
        _ id: String, _ name: RepositoryName, _ query: QueryParameters, _ request: Request
    ) async throws -> Response {
        guard let text = query["digest"] else {
            throw OCIError(
                .badRequest, .digestInvalid, "the request that ends an upload needs ?digest=<digest>", repository: name)
        }
        let digest = try digest(text, name)
        let hasBody = try contentLength(request).map { $0 > 0 } ?? request.headers.contains(.transferEncoding)
        if hasBody {
            try await receive(request, for: id, name) { offset, source in
                try await self.store.finishUpload(id, in: name, digest: digest, expectedOffset: offset, from: source)
                return nil
            }
        } else {
            try await store.finishUpload(id, in: name, digest: digest)
        }
        return created(digest, name)
    }

    func uploadStatus(_ id: String, _ name: RepositoryName) async throws -> Response {
        let session = try await session(id, name)
        return Response(status: .noContent, headers: headers(of: session))
    }

    func cancelUpload(_ id: String, _ name: RepositoryName) async throws -> Response {
        try await store.cancelUpload(id, in: name)
        return Response(status: .noContent)
    }

    // MARK: - Helpers

    /// Adds the body to the upload.
    private func append(
        _ request: Request, to id: String, _ name: RepositoryName
    ) async throws -> UploadSession {
        let after = try await receive(request, for: id, name) { offset, source in
            try await self.store.append(to: id, in: name, expectedOffset: offset, from: source)
        }
        return after ?? UploadSession(id: id, repository: name, offset: 0)
    }

    /// Hands the body to `take`: for the upload's end when there is no `Content-Range`, else for exactly where that says.
    ///
    /// A body that is shorter than announced fails while it is read, so that a whole upload is not finished with it.
    @discardableResult
    private func receive(
        _ request: Request, for id: String, _ name: RepositoryName,
        _ take: (_ expectedOffset: Int?, _ source: @escaping @Sendable () async throws -> [UInt8]?) async throws ->
            UploadSession?
    ) async throws -> UploadSession? {
        let before = try await session(id, name)
        let announced = try contentLength(request)
        var range: ContentRange?
        if let text = request.headers[.contentRange] {
            range = ContentRange(text)
            guard let range else {
                throw OCIError(
                    .rangeNotSatisfiable, .blobUploadInvalid,
                    "Content-Range must be <first byte>-<last byte>, as in 0-1023", repository: name,
                    headers: headers(of: before))
            }
            guard announced == nil || announced == range.count else {
                throw OCIError(
                    .badRequest, .sizeInvalid,
                    "Content-Range announces \(range.count) bytes and Content-Length \(announced ?? 0)",
                    repository: name)
            }
        }
        let size = range?.count ?? announced
        let bytes = try requestBytes(request, announced: size, already: before.offset, name)
        let after: UploadSession?
        let short = OCIError(
            .badRequest, .sizeInvalid, "the body ended before the \(size ?? 0) bytes announced", repository: name)
        do {
            after = try await slots.withSlot {
                try await take(range?.first) {
                    let piece = try await bytes.next()
                    if piece == nil, let size, bytes.count < size { throw short }
                    return piece
                }
            }
        } catch let error as RegistryError where error.code == .rangeInvalid {
            throw OCIError(
                .rangeNotSatisfiable, .blobUploadInvalid, error.message, repository: name,
                headers: headers(of: before))
        }
        metrics.countReceived(bytes.count)
        return after
    }

    private func requestBytes(
        _ request: Request, announced: Int?, already: Int, _ name: RepositoryName
    ) throws -> RequestBytes {
        let room = max(0, options.maximumBlobSize - already)
        let tooLarge = OCIError(
            .contentTooLarge, .sizeInvalid, "a blob may have \(options.maximumBlobSize) bytes at most",
            repository: name)
        guard let announced else { return RequestBytes(request.body, limit: room, excess: tooLarge) }
        guard announced <= room else { throw tooLarge }
        let tooMany = OCIError(
            .badRequest, .sizeInvalid, "the body has more than the \(announced) bytes announced", repository: name)
        return RequestBytes(request.body, limit: announced, excess: tooMany)
    }

    private func session(_ id: String, _ name: RepositoryName) async throws -> UploadSession {
        guard let session = try await store.upload(id, in: name) else {
            throw OCIError(
                .notFound, .blobUploadUnknown,
                "there is no such upload in \(name): it never was, is done, or got no byte for a day", repository: name)
        }
        return session
    }

    private func headers(of session: UploadSession) -> HTTPFields {
        [
            .location: "/v2/\(session.repository)/blobs/uploads/\(session.id)",
            .range: uploadRange(offset: session.offset), .dockerUploadUUID: session.id,
        ]
    }

    private func created(_ digest: Digest, _ name: RepositoryName) -> Response {
        Response(
            status: .created,
            headers: [
                .location: "/v2/\(name)/blobs/\(digest)", .dockerContentDigest: digest.description,
            ])
    }
}
