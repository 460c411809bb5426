import Foundation
import AsyncHTTPClient
import OCIArtifacts
import PromptRegistry
import Synchronization

/// A registry elsewhere, spoken to with the OCI distribution protocol.
///
///     let remote = try RemoteStore(host: RegistryHost("127.0.0.1:5000"))
///     try await remote.ping()
///     let manifest = try await remote.manifest(.tag(Tag("v1")), in: RepositoryName("demo/gloss"))
///
/// Everything received is checked against its digest. Registries without the referrers API are helped with fallback
/// tags. Requests that may be repeated are, a few times, when the network or the registry stumbles.
public struct RemoteStore: RegistryStore {
    /// How to talk to the registry.
    public struct Options: Sendable {
        /// Finds credentials, once the registry asks for them.
        public var credentials: @Sendable (RepositoryName?) -> Credentials? = { _ in nil }
        /// A PEM file of authorities to trust besides the system's.
        public var authorities: String?
        /// Where proxies are looked for (`HTTPS_PROXY`, `NO_PROXY`, …).
        public var environment = ProcessInfo.processInfo.environment
        /// How often a request is sent before it counts as failed.
        public var maximumAttempts = 4
        /// The wait before the second attempt; it doubles from then on. A `Retry-After` of the registry goes first.
        public var retryDelay: Duration = .milliseconds(250)
        /// Blobs up to this size are sent in one request, larger ones in pieces of this size.
        public var chunkSize = 16 << 20
        /// Called with each different warning that the registry sends.
        public var onWarning: @Sendable (String) -> Void = { _ in }

        public init() {}
    }

    public let host: RegistryHost
    let transport: Transport
    let options: Options

    public init(host: RegistryHost, options: Options = Options()) {
        self.host = host
        self.options = options
        let seen = SeenWarnings()
        let report = options.onWarning
        // What is wrong with certificates or proxies is told by the first request: this is no place to throw.
        let client = Result { try Transport.client(host, options) }
        transport = Transport(
            host: host, client: client,
            authenticator: Authenticator(host: host, client: client, credentials: options.credentials),
            maximumAttempts: max(1, options.maximumAttempts), initialDelay: options.retryDelay
        ) { warning in
            if seen.insert(warning) { report(warning) }
        }
    }

    /// A registry with the credentials that podman, skopeo and docker would use for it.
    public init(
        host: RegistryHost, authenticationFile: String?, authorities: String? = nil,
        onWarning: @escaping @Sendable (String) -> Void = { _ in }
    ) throws {
        var options = Options()
        options.authorities = authorities
        let files = try CredentialFiles(paths: CredentialFiles.standardPaths(explicit: authenticationFile))
        // A helper that fails is as one that knows nothing: the registry then says that it wants a login.
        options.credentials = { repository in
            do { return try files.credentialsOrHelper(for: host, repository: repository) } catch {
                onWarning("\(error)")
                return nil
            }
        }
        options.onWarning = onWarning
        self.init(host: host, options: options)
    }

    /// Checks that a registry answers, and that it takes our credentials.
    public func ping() async throws {
        let call = Transport.Call(method: .GET, target: "/v2/", purpose: "greet the registry")
        let response = try await transport.send(call)
        guard response.status == .ok else { throw await transport.failure(response, call) }
        try await discard(response)
    }

    // MARK: - Repositories and tags

    public func tags(in repository: RepositoryName, last: String?, limit: Int?) async throws -> [Tag] {
        if limit == 0 { return [] }
        var items: [(String, String)] = []
        if let limit { items.append(("n", String(limit))) }
        if let last { items.append(("last", last)) }
        var call = Transport.Call(
            method: .GET, target: "/v2/\(repository)/tags/list" + (items.isEmpty ? "" : "?" + formEncoded(items)),
            repository: repository, purpose: "list the tags of \(repository)")
        var found: Set<Tag> = []
        try await pages(&call) { root in
            for node in root["tags"]?.array ?? [] {
                // What is no tag by the spec cannot be asked for either.
                guard let text = node.string, let tag = try? Tag(text) else { continue }
                // docker-registry 2.8 ignores n and last.
                if let last, !last.utf8.lexicographicallyPrecedes(text.utf8) { continue }
                found.insert(tag)
            }
            return limit.map { found.count < $0 } ?? true
        }
        let sorted = found.sorted()
        return limit.map { Array(sorted.prefix($0)) } ?? sorted
    }

    public func repositories() async throws -> [RepositoryName] {
        var call = Transport.Call(
            method: .GET, target: "/v2/_catalog?n=1000", otherScopes: ["registry:catalog:*"],
            purpose: "list the repositories")
        var found: Set<RepositoryName> = []
        try await pages(&call) { root in
            for node in root["repositories"]?.array ?? [] {
                if let text = node.string, let name = try? RepositoryName(text) { found.insert(name) }
            }
            return true
        }
        return found.sorted()
    }

    public func repositoryExists(_ repository: RepositoryName) async throws -> Bool {
        let call = Transport.Call(
            method: .GET, target: "/v2/\(repository)/tags/list?n=1", repository: repository,
            purpose: "look for repository \(repository)")
        let response = try await transport.send(call)
        switch response.status.code {
        case 200:
            try await discard(response)
            return true
        case 404:
            try await discard(response)
            return false
        default: throw await transport.failure(response, call)
        }
    }

    /// Walks a paged JSON answer along its `Link` headers until `visit` has enough.
    private func pages(_ call: inout Transport.Call, _ visit: (JSONNode) throws -> Bool) async throws {
        var seen: Set<String> = []
        while true {
            let response = try await transport.send(call)
            guard response.status == .ok else { throw await transport.failure(response, call) }
            let bytes = try await transport.collect(response, limit: 16 << 20, call)
            let root: JSONNode
            do { root = try JSONNode.parse(bytes) } catch {
                throw RegistryError(
                    .transport, "cannot \(call.purpose) at \(host): the answer is not JSON", cause: error)
            }
            guard try visit(root), let next = nextLink(response.headers["Link"]) else { return }
            // A registry whose pages go round in circles, or never end, is broken.
            guard seen.insert(next).inserted, seen.count < 10_000 else { return }
            call.target = try transport.resolve(
                next, against: try transport.resolve(call.target, against: host.baseURL + "/v2/", call).absoluteString,
                call
            ).absoluteString
        }
    }

    // MARK: - Helpers

    /// Reads the rest of an answer nobody needs, so that its connection can be used again.
    func discard(_ response: HTTPClientResponse) async throws {
        var rest = 1 << 20
        for try await buffer in response.body {
            rest -= buffer.readableBytes
            if rest < 0 { break }
        }
    }

    func corrupt(_ message: String, _ repository: RepositoryName, _ digest: Digest) -> RegistryError {
        RegistryError(.corrupt, message, repository: repository, digest: digest)
    }
}

private final class SeenWarnings: Sendable {
    private let texts = Mutex<Set<String>>([])

    /// Whether it is new. A registry that invents ever new ones is cut off.
    func insert(_ text: String) -> Bool {
        texts.withLock { $0.count < 100 && $0.insert(text).inserted }
    }
}
