import Foundation
import HTTPTypes
import Hummingbird
import OCIArtifacts
import PromptRegistry

/// A request past the gate: what it wants, and who wants it.
struct Admitted: Sendable {
    let endpoint: Endpoint
    /// nil when the registry is open to everyone.
    let identity: Identity?

    /// Whether the repository's content may be read: for what a request names besides its own repository.
    func mayPull(_ repository: RepositoryName) -> Bool { identity?.allows(.pull, on: repository) ?? true }
}

// Who may come in. Nothing of the store is looked at before this, so that an answer does not tell whether a repository
// that the asker may not see exists.
extension OCIRoutes {
    /// What an endpoint's method needs: a repository and an action; nil where being let in at all is enough.
    static func requirement(
        _ endpoint: Endpoint, _ method: HTTPRequest.Method
    ) -> (repository: RepositoryName, action: AccessList.Action)? {
        let isReading = method == .get || method == .head
        switch endpoint {
        case .base, .catalog: return nil
        case .tags(let name), .referrers(let name, _): return (name, .pull)
        case .uploads(let name), .upload(let name, _): return (name, .push)
        case .blob(let name, _), .manifest(let name, _):
            return (name, isReading ? .pull : method == .delete ? .delete : .push)
        }
    }

    /// - Throws: 401 with a challenge, 403, or 429.
    func admit(_ request: Request, peer: String) throws -> Admitted {
        let endpoint = try Endpoint(path: request.uri.path)
        guard let access = options.access else {
            try limitRate(peer)
            return Admitted(endpoint: endpoint, identity: nil)
        }
        let needed = Self.requirement(endpoint, request.method)
        let identity = try identity(of: request, access, peer: peer, needed: needed)
        try limitRate(identity.isAnonymous ? peer : "principal \(identity.name)")
        guard let needed else {
            // The catalogue lists what one may pull. The base is how clients find out that they have to log in, and check
            // that they are: by Bearer they then fetch a token, as nobody where they have no name.
            guard !identity.isAnonymous else { throw challenge(request, access, needed: nil) }
            return Admitted(endpoint: endpoint, identity: identity)
        }
        if identity.allows(needed.action, on: needed.repository) {
            return Admitted(endpoint: endpoint, identity: identity)
        }
        let couldBe = identity.rules.contains {
            $0.actions.contains(needed.action) && $0.repositories.matches(needed.repository)
        }
        // A token for too little is exchanged; who has proved who they are and may not is told so.
        if identity.isAnonymous || couldBe { throw challenge(request, access, needed: needed, isInsufficient: couldBe) }
        if case .claims(let claims, _) = identity, claims.subject == nil {
            throw challenge(request, access, needed: needed)
        }
        throw OCIError(
            .forbidden, .denied, "\(identity.name) may not \(needed.action.rawValue) in \(needed.repository)",
            repository: needed.repository)
    }

    private func identity(
        of request: Request, _ access: AccessControl, peer: String,
        needed: (repository: RepositoryName, action: AccessList.Action)?
    ) throws -> Identity {
        if let identity = access.identity(authorization: request.headers[.authorization]) { return identity }
        try countFailedLogin(peer)
        throw challenge(request, access, needed: needed)
    }

    private func limitRate(_ key: String) throws {
        guard let wait = requests?.take(key) else { return }
        throw OCIError(
            .tooManyRequests, .tooManyRequests, "too many requests; wait \(wait) seconds",
            headers: [.retryAfter: String(wait)])
    }

    private func challenge(
        _ request: Request, _ access: AccessControl, needed: (repository: RepositoryName, action: AccessList.Action)?,
        isInsufficient: Bool = false
    ) -> OCIError {
        var value: String
        switch access.challenge {
        case .basic: value = "Basic realm=\"incipit\", charset=\"UTF-8\""
        case .bearer:
            value = "Bearer realm=\"\(baseURL(request))/token\",service=\"incipit\""
            if let needed {
                let actions =
                    switch needed.action {
                    case .push: "pull,push"
                    case .delete: "delete,pull"
                    default: needed.action.rawValue
                    }
                value += ",scope=\"repository:\(needed.repository):\(actions)\""
            }
            if isInsufficient { value += ",error=\"insufficient_scope\"" }
        }
        return OCIError(
            .unauthorized, .unauthorized,
            "log in to this registry first, with a principal's name and one of its tokens",
            repository: needed?.repository, headers: [.wwwAuthenticate: value])
    }

    /// The registry's own URL: as configured, else as the client called it, if that is the name of a host.
    private func baseURL(_ request: Request) -> String {
        if let url = options.externalURL { return url }
        let host = request.head.authority ?? request.headers[.init("Host")!] ?? ""
        let isPlausible =
            (1...260).contains(host.utf8.count)
            && host.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || ".-:[]".utf8.contains(byte)
            }
        return (options.usesTLS ? "https://" : "http://") + (isPlausible ? host : "localhost")
    }

    // MARK: - The token endpoint

    /// `GET /token?service=…&scope=…` with Basic credentials, or `POST` with a form (OAuth 2: `password`, or a registry
    /// token as `refresh_token`).
    func issueToken(_ request: Request, peer: String) async throws -> Response {
        guard let access = options.access else { throw OCIError.noSuchPath }
        var authorization = request.headers[.authorization]
        var parameters = QueryParameters(request.uri.query)
        if request.method == .post {
            let tooLarge = OCIError(.contentTooLarge, .sizeInvalid, "a token request has 16 KiB at most")
            let body = RequestBytes(request.body, limit: 16 << 10, excess: tooLarge)
            var bytes: [UInt8] = []
            while let chunk = try await body.next() { bytes += chunk }
            parameters = QueryParameters(String(decoding: bytes, as: UTF8.self).replacing("+", with: "%20"))
            switch parameters["grant_type"] {
            case "password":
                let pair = "\(parameters["username"] ?? ""):\(parameters["password"] ?? "")"
                authorization = "Basic " + Data(pair.utf8).base64EncodedString()
            case "refresh_token": authorization = "Bearer \(parameters["refresh_token"] ?? "")"
            default:
                throw OCIError(.badRequest, .unsupported, "grant_type must be password or refresh_token")
            }
        }
        let identity = try identity(of: request, access, peer: peer, authorization: authorization)
        try limitRate(identity.isAnonymous ? peer : "principal \(identity.name)")
        let scopes = parameters.all("scope").flatMap { $0.split(separator: " ") }.compactMap { TokenScope($0) }
        let token = JSONNode.string(try access.token(for: identity, scopes: scopes))
        return json(
            .object(["token": token, "access_token": token, "expires_in": .integer(TokenSigner.lifetime)]),
            headers: [.cacheControl: "no-store"])
    }

    /// - Throws: 429 when wrong credentials come too often from this address.
    private func countFailedLogin(_ peer: String) throws {
        metrics.countFailedLogin()
        if let wait = failures.take(peer) {
            throw OCIError(
                .tooManyRequests, .tooManyRequests,
                "too many wrong credentials from this address; wait \(wait) seconds",
                headers: [.retryAfter: String(wait)])
        }
    }

    /// A token must not beget tokens: only a registry token, or nothing at all, is exchanged.
    private func identity(
        of request: Request, _ access: AccessControl, peer: String, authorization: String?
    ) throws -> Identity {
        switch access.identity(authorization: authorization) {
        case .principal(let principal): return .principal(principal)
        case .anonymous(let rules): return .anonymous(rules: rules)
        case .claims, nil: break
        }
        try countFailedLogin(peer)
        throw OCIError(
            .unauthorized, .unauthorized, "wrong name or token",
            headers: [.wwwAuthenticate: "Basic realm=\"incipit\", charset=\"UTF-8\""])
    }
}
