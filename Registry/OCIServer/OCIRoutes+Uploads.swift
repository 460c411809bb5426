import HTTPTypes
import Hummingbird
import OCIArtifacts
import PromptRegistry

// Uploads: end-4, end-5, end-6, end-11, end-13, end-14.
extension OCIRoutes {
    func beginUpload(_ name: RepositoryName, _ query: QueryParameters, _ request: Request) async throws -> Response {
        if let text = query["mount"] {
            let digest = try digest(text, name)
            let source: RepositoryName?
            do { source = try query["from"].map { try RepositoryName($0) } } catch {
                throw OCIError(.badRequest, .nameInvalid, "from: \(error)", repository: name)
            }
            if try await store.mountBlob(digest, from: source, to: name) { return created(digest, name) }
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

    /// `POST …?digest=` with the whole blob.
    private func uploadWhole(_ digest: Digest, _ name: RepositoryName, _ request: Request) async throws -> Response {
        let size = try contentLength(request)
        let bytes = try requestBytes(request, announced: size, already: 0, name)
        try await slots.withSlot {
            try await store.writeBlob(digest, size: size, in: name) { try await bytes.next() }
        }
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
        if hasBody { _ = try await append(request, to: id, name) }
        try await store.finishUpload(id, in: name, digest: digest)
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

    /// Adds the body to the upload: at its end when there is no `Content-Range`, else exactly where that says.
    private func append(
        _ request: Request, to id: String, _ name: RepositoryName
    ) async throws -> UploadSession {
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
        let after: UploadSession
        do {
            after = try await slots.withSlot {
                try await store.append(to: id, in: name, expectedOffset: range?.first) { try await bytes.next() }
            }
        } catch let error as RegistryError where error.code == .rangeInvalid {
            throw OCIError(
                .rangeNotSatisfiable, .blobUploadInvalid, error.message, repository: name,
                headers: headers(of: before))
        }
        if let size, bytes.count != size {
            throw OCIError(
                .badRequest, .sizeInvalid,
                "the body ended after \(bytes.count) of \(size) bytes; go on from byte \(after.offset)",
                repository: name, headers: headers(of: after))
        }
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
