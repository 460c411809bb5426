import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import OCIArtifacts
import PromptRegistry
import Synchronization

/// Sends requests to one registry: authentication, redirects, retries and time limits in one place.
struct Transport: Sendable {
    static let userAgent = "incipit"

    /// One client for each set-up in the whole process: connections are shared and it is never shut down. Redirects are
    /// ours to follow, since `Authorization` must not go to another host.
    private static let clients = Mutex<[HTTPSetup: HTTPClient]>([:])

    static func client(_ host: RegistryHost, _ options: RemoteStore.Options) throws -> HTTPClient {
        let setup = try HTTPSetup(host: host, authorities: options.authorities, environment: options.environment)
        return try clients.withLock { clients in
            if let client = clients[setup] { return client }
            let client = try setup.makeClient()
            clients[setup] = client
            return client
        }
    }

    /// One thing asked of the registry.
    struct Call: Sendable {
        var method: HTTPMethod
        /// A path of the registry, or an absolute URL it gave us.
        var target: String
        var headers: [(String, String)] = []
        var body: [UInt8]?
        var repository: RepositoryName?
        /// Scopes besides the repository's own: the source of a mount.
        var otherScopes: Set<String> = []
        /// Whether sending it twice does no harm.
        var isRepeatable = true
        /// What the call does, for errors: "fetch the manifest demo/gloss:v1".
        var purpose: String

        var scopes: Set<String> {
            guard let repository else { return otherScopes }
            let actions =
                switch method {
                case .GET, .HEAD: "pull"
                case .DELETE: "delete,pull"
                default: "pull,push"
                }
            return otherScopes.union(["repository:\(repository):\(actions)"])
        }
    }

    let host: RegistryHost
    let client: Result<HTTPClient, any Error>
    let authenticator: Authenticator
    let maximumAttempts: Int
    /// The first wait between attempts; each further one doubles it.
    let initialDelay: Duration
    let onWarning: @Sendable (String) -> Void

    /// The answer's head has arrived when this returns; statuses are the caller's to judge, except those that were
    /// handled (redirects, 401 with an answer, 429 and 5xx with another attempt).
    func send(_ call: Call) async throws -> HTTPClientResponse {
        var attempt = 1
        while true {
            do {
                let response = try await sendOnce(call)
                let status = response.status.code
                let isTransient = status == 429 || [500, 502, 503, 504].contains(status)
                guard isTransient, call.isRepeatable || status == 429, attempt < maximumAttempts else {
                    return response
                }
                let wait = response.headers.first(name: "Retry-After").flatMap { Int($0) }.map { min(max($0, 0), 60) }
                _ = try? await response.body.collect(upTo: 1 << 16)
                try await Task.sleep(for: wait.map { .seconds($0) } ?? delay(attempt))
            } catch let error as RegistryError {
                throw error
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                // A host that does not even answer has had its time.
                let isSilent = (error as? HTTPClientError) == .connectTimeout
                guard call.isRepeatable, !isSilent, attempt < maximumAttempts else {
                    throw RegistryError(
                        .transport,
                        "cannot \(call.purpose) at \(host): no connection, or it broke (attempt \(attempt)); check host, "
                            + "port and network, and try again", repository: call.repository, cause: error)
                }
                try await Task.sleep(for: delay(attempt))
            }
            attempt += 1
        }
    }

    private func delay(_ attempt: Int) -> Duration { initialDelay * (1 << min(attempt - 1, 6)) }

    private func sendOnce(_ call: Call) async throws -> HTTPClientResponse {
        var url = try resolve(call.target, against: host.baseURL + "/v2/", call)
        var offered = await authenticator.known(scopes: call.scopes, repository: call.repository)
        var hasAnswered = false
        var redirects = 0
        while true {
            let isHome = isOurs(url)
            var request = HTTPClientRequest(url: url.absoluteString)
            request.method = call.method
            for (name, value) in call.headers { request.headers.add(name: name, value: value) }
            request.headers.add(name: "User-Agent", value: Self.userAgent)
            if isHome, let offered { request.headers.add(name: "Authorization", value: offered) }
            if let body = call.body { request.body = .bytes(ByteBuffer(bytes: body)) }
            let response = try await client.get().execute(request, timeout: .minutes(30))
            noteWarnings(response)
            switch response.status.code {
            case 401 where isHome && !hasAnswered:
                let challenges = response.headers["WWW-Authenticate"].flatMap { Challenge.parse($0) }
                let rejected = offered
                guard
                    let answer = try await authenticator.answer(
                        challenges, scopes: call.scopes, repository: call.repository, rejected: rejected)
                else { return response }
                _ = try? await response.body.collect(upTo: 1 << 16)
                offered = answer
                hasAnswered = true
            case 301, 302, 303, 307, 308:
                guard call.method == .GET || call.method == .HEAD || [307, 308].contains(response.status.code),
                    let location = response.headers.first(name: "Location")
                else { return response }
                redirects += 1
                guard redirects <= 5 else {
                    throw RegistryError(.transport, "cannot \(call.purpose): \(host) redirects more than 5 times")
                }
                _ = try? await response.body.collect(upTo: 1 << 16)
                url = try resolve(location, against: url.absoluteString, call)
            default:
                return response
            }
        }
    }

    /// An absolute URL; never one that gives up TLS.
    func resolve(_ target: String, against base: String, _ call: Call) throws -> URL {
        guard let url = URL(string: target, relativeTo: URL(string: base))?.absoluteURL, let scheme = url.scheme,
            url.host != nil, scheme == "https" || (scheme == "http" && !host.usesTLS)
        else {
            throw RegistryError(
                .transport, "cannot \(call.purpose): \(host) points to an unusable address; ask its operator",
                repository: call.repository)
        }
        return url
    }

    /// Whether the URL is the registry's own: credentials go nowhere else.
    private func isOurs(_ url: URL) -> Bool {
        guard let home = URL(string: host.baseURL) else { return false }
        let port = { (url: URL) in url.port ?? (url.scheme == "https" ? 443 : 80) }
        return url.scheme == home.scheme && url.host?.lowercased() == home.host?.lowercased() && port(url) == port(home)
    }

    private func noteWarnings(_ response: HTTPClientResponse) {
        for value in response.headers["Warning"] where value.hasPrefix("299 - \"") && value.utf8.count <= 4096 {
            let text = value.dropFirst(7).prefix { $0 != "\"" }
            onWarning(String(text.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7f }.map(Character.init)))
        }
    }

    // MARK: - Errors

    /// What a refusal means: the registry's own words when it has any, and what to do.
    func failure(_ response: HTTPClientResponse, _ call: Call) async -> RegistryError {
        let status = Int(response.status.code)
        var code: RegistryError.Code?
        var said = ""
        if let body = try? await response.body.collect(upTo: 64 << 10),
            let root = try? JSONNode.parse(Array(body.readableBytesView)), let first = root["errors"]?.array?.first
        {
            code = first["code"]?.string.map { RegistryError.Code(String($0.prefix(64))) }
            let message = (first["message"]?.string ?? "").prefix(400)
            said = [code?.description ?? "", String(message)].filter { !$0.isEmpty }.joined(separator: ": ")
        }
        let advice: String
        let implied: RegistryError.Code
        switch status {
        case 401:
            (implied, advice) = (.unauthorized, "log in first (incipit login \(host)), or check the password")
        case 403: (implied, advice) = (.denied, "the account has no right to do this")
        case 404: (implied, advice) = (.nameUnknown, "check the name")
        case 405: (implied, advice) = (.unsupported, "this registry does not offer it")
        case 413: (implied, advice) = (.sizeInvalid, "it is larger than this registry takes")
        case 416: (implied, advice) = (.rangeInvalid, "start the transfer again")
        case 429: (implied, advice) = (.tooManyRequests, "wait a while and try again")
        case 500...599: (implied, advice) = (.transport, "the registry itself failed; try again later")
        default: (implied, advice) = (.transport, "check that this is an OCI registry")
        }
        let isSpecific = status == 400 || status == 404 || status == 403 || status == 405 || status == 409
        return RegistryError(
            isSpecific ? code ?? implied : implied,
            "cannot \(call.purpose) at \(host): status \(status)\(said.isEmpty ? "" : " (\(said))"); \(advice)",
            repository: call.repository)
    }

    /// Reads a whole answer that must fit in `limit` bytes.
    func collect(_ response: HTTPClientResponse, limit: Int, _ call: Call) async throws -> [UInt8] {
        do {
            let buffer = try await response.body.collect(upTo: limit)
            return Array(buffer.readableBytesView)
        } catch is NIOTooManyBytesError {
            throw RegistryError(
                .sizeInvalid, "cannot \(call.purpose) at \(host): the answer has more than \(limit) bytes",
                repository: call.repository)
        } catch {
            throw RegistryError(
                .transport, "cannot \(call.purpose) at \(host): the answer broke off; try again",
                repository: call.repository, cause: error)
        }
    }
}
