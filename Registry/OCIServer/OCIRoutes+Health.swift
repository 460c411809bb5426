import HTTPTypes
import Hummingbird
import PromptRegistry

// The paths beside the protocol: tokens, health, readiness, metrics.
extension OCIRoutes {
    /// nil when the path is none of these.
    func respondBeside(_ request: Request, peer: String, kind: inout String) async throws -> Response? {
        let isReading = request.method == .get || request.method == .head
        switch request.uri.path {
        case "/token":
            kind = "token"
            guard isReading || request.method == .post else { throw OCIError.methodNotAllowed([.get, .head, .post]) }
            return try await issueToken(request, peer: peer)
        case "/healthz":
            kind = "health"
            guard isReading else { throw OCIError.methodNotAllowed([.get, .head]) }
            return plain("ok\n")
        case "/readyz":
            kind = "health"
            guard isReading else { throw OCIError.methodNotAllowed([.get, .head]) }
            return await readiness()
        case "/metrics":
            kind = "metrics"
            guard isReading else { throw OCIError.methodNotAllowed([.get, .head]) }
            try admitToMetrics(request, peer: peer)
            let statistics = try? await store.statistics()
            return plain(
                metrics.exposition(uploadsUnderWay: slots.count, store: statistics),
                type: "text/plain; version=0.0.4; charset=utf-8")
        default: return nil
        }
    }

    /// Ready while the store answers and nobody has asked the server to end.
    private func readiness() async -> Response {
        if isDraining.load(ordering: .acquiring) { return plain("shutting down\n", .serviceUnavailable) }
        do {
            try await store.checkReadiness()
            return plain("ready\n")
        } catch {
            return plain("the store does not answer\n", .serviceUnavailable)
        }
    }

    /// With accounts, figures are for those whose rules say so.
    private func admitToMetrics(_ request: Request, peer: String) throws {
        guard let access = options.access else { return }
        let identity = access.identity(authorization: request.headers[.authorization])
        if identity?.rules.contains(where: { $0.actions.contains(.metrics) }) == true { return }
        if identity == nil {
            metrics.countFailedLogin()
            if let wait = failures.take(peer) {
                throw OCIError(
                    .tooManyRequests, .tooManyRequests, "too many wrong credentials from this address",
                    headers: [.retryAfter: String(wait)])
            }
        }
        throw OCIError(
            .unauthorized, .unauthorized, "metrics are for principals with a rule that has the action metrics",
            headers: [.wwwAuthenticate: "Basic realm=\"incipit\", charset=\"UTF-8\""])
    }

    private func plain(
        _ text: String, _ status: HTTPResponse.Status = .ok, type: String = "text/plain; charset=utf-8"
    ) -> Response {
        Response(
            status: status, headers: [.contentType: type, .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }
}
