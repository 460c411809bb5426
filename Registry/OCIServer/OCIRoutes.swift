import Foundation
import HTTPTypes
import Hummingbird
import Logging
import OCIArtifacts
import PromptRegistry

/// The endpoints of the OCI distribution spec (1.1 and what `main` adds to it) over any local store.
///
///     let router = Router()
///     OCIRoutes(store: store).add(to: router)
///
/// Nothing is kept between requests but the number of uploads under way: all state is the store's, so that a restarted
/// server goes on where the old one stopped.
public struct OCIRoutes: Sendable {
    /// What the registry refuses.
    public struct Options: Sendable {
        /// The most bytes a blob may have; more is answered with 413.
        public var maximumBlobSize = 64 << 30
        /// Request bodies received at once; more are answered with 429.
        public var maximumConcurrentUploads = 256
        /// Whether to offer the referrers API. Without it clients keep fallback tags, as older registries ask of them.
        public var offersReferrers = true
        /// Who may come in, by user and password; nil lets everyone.
        public var authenticate: (@Sendable (_ user: String, _ password: String) async -> Bool)?

        public init() {}
    }

    let store: any UploadStore
    let options: Options
    let slots: UploadSlots

    public init(store: any UploadStore, options: Options = Options()) {
        self.store = store
        self.options = options
        slots = UploadSlots(limit: options.maximumConcurrentUploads)
    }

    /// Takes over everything under `/v2`.
    public func add<Context: RequestContext>(to router: some RouterMethods<Context>) {
        for path: RouterPath in ["v2", "v2/**"] {
            for method: HTTPRequest.Method in [.get, .head, .post, .put, .patch, .delete] {
                router.on(path, method: method) { request, context in
                    await respond(to: request, logger: context.logger)
                }
            }
        }
    }

    /// Answers one request, errors included.
    public func respond(to request: Request, logger: Logger) async -> Response {
        var response: Response
        do {
            try await admit(request)
            response = try await route(request)
        } catch {
            response = OCIError(error, logger: logger).response(isHead: request.method == .head)
        }
        response.headers[.dockerDistributionAPIVersion] = "registry/2.0"
        return response
    }

    /// The table: endpoint and method to operation.
    private func route(_ request: Request) async throws -> Response {
        let query = QueryParameters(request.uri.query)
        switch (try Endpoint(path: request.uri.path), request.method) {
        case (.base, .get), (.base, .head): return ping()  // end-1
        case (.blob(let name, let digest), .get): return try await getBlob(digest, name, request)  // end-2
        case (.blob(let name, let digest), .head): return try await getBlob(digest, name, request)
        case (.manifest(let name, let text), .get): return try await getManifest(text, name, isHead: false)  // end-3
        case (.manifest(let name, let text), .head): return try await getManifest(text, name, isHead: true)
        case (.uploads(let name), .post): return try await beginUpload(name, query, request)  // end-4, end-11
        case (.upload(let name, let id), .patch): return try await appendToUpload(id, name, request)  // end-5
        case (.upload(let name, let id), .put): return try await finishUpload(id, name, query, request)  // end-6
        case (.manifest(let name, let text), .put): return try await putManifest(text, name, query, request)  // end-7
        case (.tags(let name), .get), (.tags(let name), .head): return try await listTags(name, query)  // end-8
        case (.manifest(let name, let text), .delete): return try await deleteManifest(text, name)  // end-9
        case (.blob(let name, let digest), .delete): return try await deleteBlob(digest, name)  // end-10
        case (.referrers(let name, let digest), .get), (.referrers(let name, let digest), .head):
            return try await listReferrers(digest, name, query)  // end-12
        case (.upload(let name, let id), .get), (.upload(let name, let id), .head):
            return try await uploadStatus(id, name)  // end-13
        case (.upload(let name, let id), .delete): return try await cancelUpload(id, name)  // end-14
        case (.catalog, .get), (.catalog, .head): return try await listRepositories(query)
        case (.base, _), (.catalog, _), (.tags, _), (.referrers, _): throw OCIError.methodNotAllowed([.get, .head])
        case (.blob, _): throw OCIError.methodNotAllowed([.get, .head, .delete])
        case (.manifest, _): throw OCIError.methodNotAllowed([.get, .head, .put, .delete])
        case (.uploads, _): throw OCIError.methodNotAllowed([.post])
        case (.upload, _): throw OCIError.methodNotAllowed([.get, .patch, .put, .delete])
        }
    }

    private func ping() -> Response { json(.object([:])) }

    /// Basic authentication, when the options ask for it. `/v2/` answers 401 too: that is how clients find out.
    private func admit(_ request: Request) async throws {
        guard let authenticate = options.authenticate else { return }
        if let header = request.headers[.authorization], header.lowercased().hasPrefix("basic "),
            let data = Data(base64Encoded: String(header.dropFirst(6).drop { $0 == " " }))
        {
            let text = String(decoding: data, as: UTF8.self)
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, await authenticate(String(parts[0]), String(parts[1])) { return }
        }
        throw OCIError(
            .unauthorized, .unauthorized, "this registry wants a user and a password",
            headers: [.wwwAuthenticate: "Basic realm=\"incipit\", charset=\"UTF-8\""])
    }

    // MARK: - Helpers for the operations

    func json(_ node: JSONNode, type: String = "application/json", headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = type
        return Response(
            status: .ok, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: node.canonical)))
    }

    /// A digest from a path or query. 400 for what is none.
    func digest(_ text: String, _ name: RepositoryName) throws -> Digest {
        do {
            return try Digest(text)
        } catch {
            throw OCIError(.badRequest, .digestInvalid, error.message, repository: name)
        }
    }

    /// Runs a deletion. One that the store refuses (a version, a blob in use) is 405: the spec knows no 403 here, and
    /// clients take 405 for "this cannot be deleted", which is what is meant.
    func deleting(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as RegistryError where error.code == .denied {
            throw OCIError(
                .methodNotAllowed, .denied, error.message, repository: error.repository, digest: error.digest)
        }
    }

    /// The body's length as announced, nil when it comes in pieces of unknown number.
    func contentLength(_ request: Request) throws -> Int? {
        guard let text = request.headers[.contentLength] else { return nil }
        guard let length = parseOffset(text.utf8) else {
            throw OCIError(.badRequest, .sizeInvalid, "Content-Length must be a whole number of bytes")
        }
        return length
    }
}

extension HTTPField.Name {
    static let dockerContentDigest = HTTPField.Name("Docker-Content-Digest")!
    static let dockerDistributionAPIVersion = HTTPField.Name("Docker-Distribution-Api-Version")!
    static let dockerUploadUUID = HTTPField.Name("Docker-Upload-UUID")!
    static let ociSubject = HTTPField.Name("OCI-Subject")!
    static let ociTag = HTTPField.Name("OCI-Tag")!
    static let ociFiltersApplied = HTTPField.Name("OCI-Filters-Applied")!
    static let link = HTTPField.Name("Link")!
}
