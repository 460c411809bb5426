import HTTPTypes
import Hummingbird
import OCIArtifacts
import PromptRegistry

// Manifests: end-3, end-7, end-9.
extension OCIRoutes {
    func getManifest(_ text: String, _ name: RepositoryName, isHead: Bool) async throws -> Response {
        let reference = try reference(text, name, invalidTag: .notFound)
        guard let stored = try await store.manifest(reference, in: name) else {
            throw RegistryError.unknownManifest(reference, in: name)
        }
        // The stored type, whatever the client says it accepts: a manifest has one form.
        let headers: HTTPFields = [
            .contentType: stored.mediaType, .contentLength: String(stored.bytes.count),
            .dockerContentDigest: stored.digest.description, .eTag: "\"\(stored.digest)\"",
        ]
        let body: ResponseBody = isHead ? .init() : .init(byteBuffer: ByteBuffer(bytes: stored.bytes))
        return Response(status: .ok, headers: headers, body: body)
    }

    func putManifest(
        _ text: String, _ name: RepositoryName, _ query: QueryParameters, _ request: Request
    ) async throws -> Response {
        let reference = try reference(text, name, invalidTag: .badRequest)
        let tags = try query.all("tag").map { try tag($0, name) }
        let tooLarge = OCIError(
            .contentTooLarge, .sizeInvalid, "a manifest may have \(Manifest.maximumSize) bytes (4 MiB) at most",
            repository: name)
        if let size = try contentLength(request), size > Manifest.maximumSize { throw tooLarge }
        let body = RequestBytes(request.body, limit: Manifest.maximumSize, excess: tooLarge)
        var bytes: [UInt8] = []
        while let chunk = try await body.next() { bytes += chunk }
        if let size = try contentLength(request), size != bytes.count {
            throw OCIError(
                .badRequest, .sizeInvalid, "the body ended after \(bytes.count) of \(size) bytes", repository: name)
        }
        let receipt = try await store.putManifest(
            bytes, mediaType: MediaType.withoutParameters(request.headers[.contentType] ?? ""), as: reference,
            tags: tags, in: name)
        var headers: HTTPFields = [
            .location: "/v2/\(name)/manifests/\(receipt.digest)",
            .dockerContentDigest: receipt.digest.description,
        ]
        if options.offersReferrers, let subject = receipt.subject { headers[.ociSubject] = subject.description }
        for tag in tags { headers.append(HTTPField(name: .ociTag, value: tag.description)) }
        return Response(status: .created, headers: headers)
    }

    func deleteManifest(_ text: String, _ name: RepositoryName) async throws -> Response {
        let reference = try reference(text, name, invalidTag: .notFound)
        try await deleting(leaving: "GET, HEAD, PUT") { try await store.deleteManifest(reference, in: name) }
        return Response(status: .accepted)
    }

    /// - Parameter invalidTag: the status for what can be no tag; a malformed digest is always 400.
    private func reference(
        _ text: String, _ name: RepositoryName, invalidTag: HTTPResponse.Status
    ) throws -> ManifestReference {
        do {
            return try ManifestReference(text)
        } catch let error where error.code == .digestInvalid {
            throw OCIError(.badRequest, .digestInvalid, error.message, repository: name)
        } catch {
            let code: RegistryError.Code = invalidTag == .notFound ? .manifestUnknown : .manifestInvalid
            throw OCIError(invalidTag, code, error.message, repository: name)
        }
    }

    private func tag(_ text: String, _ name: RepositoryName) throws -> Tag {
        do {
            return try Tag(text)
        } catch {
            throw OCIError(.badRequest, .manifestInvalid, error.message, repository: name)
        }
    }
}
