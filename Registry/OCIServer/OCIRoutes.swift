import Foundation
import HTTPTypes
import Hummingbird
import Logging
import OCIArtifacts
import PromptRegistry
import Synchronization

/// The endpoints of the OCI distribution spec (1.1 and what `main` adds to it) over any local store.
///
///     let router = Router()
///     OCIRoutes(store: store).add(to: router)
///
/// Nothing is kept between requests but counters: all state is the store's, so that a restarted server goes on where the
/// old one stopped.
public final class OCIRoutes: Sendable {
    /// What the registry refuses.
    public struct Options: Sendable {
        /// The most bytes a blob may have; more is answered with 413.
        public var maximumBlobSize = 64 << 30
        /// Request bodies received at once; more are answered with 429.
        public var maximumConcurrentUploads = 256
        /// Whether to offer the referrers API. Without it clients keep fallback tags, as older registries ask of them.
        public var offersReferrers = true
        /// Who may do what; nil lets everyone do everything (except moving protected tags).
        public var access: AccessControl?
        /// The registry's URL as clients know it, without a slash at the end; needed behind a proxy that ends TLS.
        public var externalURL: String?
        /// Whether this server itself speaks TLS.
        public var usesTLS = false
        /// Requests a second that a principal, or an address without one, may send in the long run; nil: any number.
        public var requestsPerSecond: Double?
        /// Requests it may send at once after a pause.
        public var requestBurst = 100.0
        /// Wrong credentials that an address may send a minute; more are answered with 429.
        public var failedLoginsPerMinute = 10.0

        public init() {}
    }

    let store: any UploadStore
    let options: Options
    let slots: UploadSlots
    let metrics = ServerMetrics()
    let failures: RateLimiter
    let requests: RateLimiter?
    /// Set when the server begins to shut down: not ready for new work, though it still answers.
    let isDraining = Atomic(false)

    public init(store: any UploadStore, options: Options = Options()) {
        self.store = store
        self.options = options
        slots = UploadSlots(limit: options.maximumConcurrentUploads)
        failures = RateLimiter(rate: options.failedLoginsPerMinute / 60, burst: options.failedLoginsPerMinute)
        requests = options.requestsPerSecond.map { RateLimiter(rate: $0, burst: options.requestBurst) }
    }

    /// Takes over everything under `/v2`, and the paths beside it: `/token`, `/healthz`, `/readyz`, `/metrics`.
    public func add<Context: RequestContext>(to router: some RouterMethods<Context>) {
        for path: RouterPath in ["v2", "v2/**", "token", "healthz", "readyz", "metrics"] {
            for method: HTTPRequest.Method in [.get, .head, .post, .put, .patch, .delete] {
                router.on(path, method: method) { request, context in
                    let address = (context as? any RemoteAddressRequestContext)?.remoteAddress?.ipAddress
                    return await self.respond(to: request, logger: context.logger, peer: address ?? "unknown")
                }
            }
        }
    }

    /// Answers one request, errors included.
    public func respond(to request: Request, logger: Logger, peer: String = "unknown") async -> Response {
        let start = ContinuousClock.now
        metrics.begin()
        var response: Response
        var who = "-"
        var kind = "other"
        do {
            if let answer = try await respondBeside(request, peer: peer, kind: &kind) {
                response = answer
            } else {
                let admitted = try admit(request, peer: peer)
                kind = admitted.endpoint.kind
                who = admitted.identity?.name ?? "-"
                response = try await ChangeNote.$current.withValue(note(admitted, peer)) {
                    try await route(request, admitted)
                }
            }
        } catch {
            response = OCIError(error, logger: logger).response(isHead: request.method == .head)
            if kind == "other", let endpoint = try? Endpoint(path: request.uri.path) { kind = endpoint.kind }
        }
        response.headers[.dockerDistributionAPIVersion] = "registry/2.0"
        // Blobs are what strangers uploaded: no browser shall take them for pages of this server.
        response.headers[.xContentTypeOptions] = "nosniff"
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        metrics.end(method: request.method, endpoint: kind, status: response.status.code, seconds: seconds)
        logger.info(
            "request",
            metadata: [
                "method": "\(request.method.rawValue)", "path": "\(request.uri.path)",
                "status": "\(response.status.code)", "peer": "\(peer)", "principal": "\(who)",
                "ms": "\((seconds * 10_000).rounded() / 10)",
            ])
        return response
    }

    /// Who moves tags by this request, for the journal. Protected tags need an account that may promote.
    private func note(_ admitted: Admitted, _ peer: String) -> ChangeNote {
        guard let identity = admitted.identity else { return ChangeNote(who: "anonymous@\(peer)", why: "push") }
        var mayMove = false
        if let repository = admitted.endpoint.repository { mayMove = identity.allows(.promote, on: repository) }
        return ChangeNote(who: identity.name, why: "push", mayMoveProtectedTags: mayMove)
    }

    /// The table: endpoint and method to operation.
    private func route(_ request: Request, _ admitted: Admitted) async throws -> Response {
        let query = QueryParameters(request.uri.query)
        switch (admitted.endpoint, request.method) {
        case (.base, .get), (.base, .head): return ping()  // end-1
        case (.blob(let name, let digest), .get): return try await getBlob(digest, name, request)  // end-2
        case (.blob(let name, let digest), .head): return try await getBlob(digest, name, request)
        case (.manifest(let name, let text), .get): return try await getManifest(text, name, isHead: false)  // end-3
        case (.manifest(let name, let text), .head): return try await getManifest(text, name, isHead: true)
        case (.uploads(let name), .post): return try await beginUpload(name, query, request, admitted)  // end-4, end-11
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
        case (.catalog, .get), (.catalog, .head): return try await listRepositories(query, admitted)
        case (.base, _), (.catalog, _), (.tags, _), (.referrers, _): throw OCIError.methodNotAllowed([.get, .head])
        case (.blob, _): throw OCIError.methodNotAllowed([.get, .head, .delete])
        case (.manifest, _): throw OCIError.methodNotAllowed([.get, .head, .put, .delete])
        case (.uploads, _): throw OCIError.methodNotAllowed([.post])
        case (.upload, _): throw OCIError.methodNotAllowed([.get, .patch, .put, .delete])
        }
    }

    private func ping() -> Response { json(.object([:])) }

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
    ///
    /// - Parameter allowed: the methods that the path answers all the same, for the header Allow.
    func deleting(leaving allowed: String, _ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as RegistryError where error.code == .denied {
            throw OCIError(
                .methodNotAllowed, .denied, error.message, repository: error.repository, digest: error.digest,
                headers: [.allow: allowed])
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
    static let xContentTypeOptions = HTTPField.Name("X-Content-Type-Options")!
}
