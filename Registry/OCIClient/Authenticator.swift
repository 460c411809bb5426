import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import OCIArtifacts
import PromptRegistry

/// Remembers how one registry wants to be convinced: with a password, or with a token for each scope.
actor Authenticator {
    private struct Token {
        let value: String
        let expires: ContinuousClock.Instant
    }

    private let host: RegistryHost
    private let credentials: @Sendable (RepositoryName?) -> Credentials?
    private let client: Result<HTTPClient, any Error>
    private var usesBasic = false
    private var tokens: [Set<String>: Token] = [:]

    init(
        host: RegistryHost, client: Result<HTTPClient, any Error>,
        credentials: @escaping @Sendable (RepositoryName?) -> Credentials?
    ) {
        self.host = host
        self.client = client
        self.credentials = credentials
    }

    /// The header value to send at once, nil as long as the registry has not asked.
    func known(scopes: Set<String>, repository: RepositoryName?) -> String? {
        if let token = tokens[scopes], token.expires > .now { return "Bearer \(token.value)" }
        if usesBasic { return basic(repository) }
        return nil
    }

    /// Answers a 401. Nil when there is nothing (new) to offer.
    func answer(
        _ challenges: [Challenge], scopes: Set<String>, repository: RepositoryName?, rejected: String?
    ) async throws -> String? {
        tokens[scopes] = nil
        if let bearer = challenges.first(where: { $0.scheme == "bearer" }) {
            let token = try await fetchToken(bearer, scopes: scopes, repository: repository)
            tokens[scopes] = token
            return "Bearer \(token.value)"
        }
        guard challenges.contains(where: { $0.scheme == "basic" }), let value = basic(repository), value != rejected
        else { return nil }
        usesBasic = true
        return value
    }

    private func basic(_ repository: RepositoryName?) -> String? {
        guard case .password(let user, let password) = credentials(repository) else { return nil }
        return "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()
    }

    private func fetchToken(
        _ challenge: Challenge, scopes: Set<String>, repository: RepositoryName?
    ) async throws -> Token {
        guard let realm = challenge.parameters["realm"], let target = URLComponents(string: realm),
            let scheme = target.scheme?.lowercased(), let name = target.host,
            scheme == "https" || (scheme == "http" && Self.mayGoInTheClear(to: name, from: host))
        else {
            throw RegistryError(
                .unauthorized, "\(host) names a token server that credentials may not be sent to; ask its operator")
        }
        var wanted = scopes
        for scope in (challenge.parameters["scope"] ?? "").split(separator: " ") { wanted.insert(String(scope)) }
        var items: [(String, String)] = []
        if let service = challenge.parameters["service"] { items.append(("service", service)) }
        for scope in wanted.sorted() { items.append(("scope", scope)) }
        var request: HTTPClientRequest
        switch credentials(repository) {
        case .identityToken(let refresh):
            items = items.filter { $0.0 != "scope" } + [("scope", wanted.sorted().joined(separator: " "))]
            items += [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "incipit")]
            request = HTTPClientRequest(url: realm)
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
            request.body = .bytes(ByteBuffer(string: formEncoded(items)))
        case .password(let user, let password):
            items.append(("account", user))
            request = HTTPClientRequest(url: realm + (realm.contains("?") ? "&" : "?") + formEncoded(items))
            request.headers.add(
                name: "Authorization", value: "Basic " + Data("\(user):\(password)".utf8).base64EncodedString())
        case nil:
            request = HTTPClientRequest(url: realm + (realm.contains("?") ? "&" : "?") + formEncoded(items))
        }
        request.headers.add(name: "User-Agent", value: Transport.userAgent)
        let response: HTTPClientResponse
        let body: ByteBuffer
        do {
            response = try await client.get().execute(request, timeout: .seconds(60))
            body = try await response.body.collect(upTo: 1 << 20)
        } catch {
            throw RegistryError(
                .transport, "cannot reach the token server of \(host); check the network and try again", cause: error)
        }
        guard response.status == .ok, let root = try? JSONNode.parse(Array(body.readableBytesView)),
            let value = root["token"]?.string ?? root["access_token"]?.string, Self.isHeaderSafe(value)
        else {
            throw RegistryError(
                .unauthorized,
                "the token server of \(host) gave no token (status \(response.status.code)); check user and password")
        }
        // Stop using it a little before it expires.
        let seconds = max(60, min(root["expires_in"]?.integer ?? 60, 86_400))
        return Token(value: value, expires: .now + .seconds(seconds - 10))
    }

    /// Passwords go without TLS only to this machine, or to a registry's own host when that is spoken to so anyway.
    private static func mayGoInTheClear(to name: String, from host: RegistryHost) -> Bool {
        RegistryHost.isLoopback(name) || (!host.usesTLS && name == RegistryHost.name(of: host.authority))
    }

    private static func isHeaderSafe(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
}

/// `a=b&c=d` with everything but unreserved characters escaped.
func formEncoded(_ items: [(String, String)]) -> String {
    items.map { "\(percentEncoded($0.0))=\(percentEncoded($0.1))" }.joined(separator: "&")
}

func percentEncoded(_ text: String) -> String {
    var out = ""
    for byte in text.utf8 {
        switch byte {
        case 48...57, 65...90, 97...122, 45, 46, 95, 126: out.unicodeScalars.append(Unicode.Scalar(byte))
        default:
            let hex = String(byte, radix: 16, uppercase: true)
            out += hex.utf8.count == 1 ? "%0\(hex)" : "%\(hex)"
        }
    }
    return out
}
