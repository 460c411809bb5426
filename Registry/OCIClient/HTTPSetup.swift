import AsyncHTTPClient
import Foundation
import NIOPosix
import NIOSSL
import PromptRegistry

/// How to reach registries at all: proxies and certificates.
struct HTTPSetup: Hashable, Sendable {
    /// A PEM file of authorities to trust besides the system's.
    var authorities: String?
    /// Host and port of a proxy for connections with TLS, from `HTTPS_PROXY`.
    var proxyHost: String?
    var proxyPort: Int = 0

    /// - Parameter environment: `https_proxy`/`HTTPS_PROXY` or `all_proxy`, less the hosts in `no_proxy`; plain HTTP goes
    ///   through `http_proxy` (lower case only: upper case can come from a request in CGI programs).
    init(host: RegistryHost, authorities: String? = nil, environment: [String: String]) throws {
        self.authorities = authorities
        let name = RegistryHost.name(of: host.authority)
        guard !RegistryHost.isLoopback(name), !Self.isExempt(name, environment) else { return }
        let keys =
            host.usesTLS ? ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] : ["http_proxy", "all_proxy"]
        guard let text = keys.lazy.compactMap({ environment[$0] }).first(where: { !$0.isEmpty }) else { return }
        guard let url = URLComponents(string: text.contains("://") ? text : "http://" + text), let proxy = url.host,
            url.scheme == "http"
        else {
            throw RegistryError(.transport, "the proxy in the environment is not like http://host:port")
        }
        proxyHost = proxy
        proxyPort = url.port ?? 80
    }

    /// `no_proxy`: names and their subdomains, separated by commas, or `*`.
    static func isExempt(_ name: String, _ environment: [String: String]) -> Bool {
        let list = environment["no_proxy"] ?? environment["NO_PROXY"] ?? ""
        return list.split(separator: ",").contains { item in
            var suffix = item.filter { $0 != " " }.lowercased()[...]
            if suffix == "*" { return true }
            while suffix.first == "." { suffix.removeFirst() }
            guard !suffix.isEmpty else { return false }
            return name.lowercased() == suffix || name.lowercased().hasSuffix("." + suffix)
        }
    }

    func makeClient() throws -> HTTPClient {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout = .init(connect: .seconds(15), read: .seconds(60), write: .seconds(60))
        // Trying again is `Transport.send`'s business, and it stops sooner.
        configuration.connectionPool.retryConnectionEstablishment = false
        if let authorities {
            let certificates: [NIOSSLCertificate]
            do { certificates = try NIOSSLCertificate.fromPEMFile(authorities) } catch {
                throw RegistryError(
                    .storage, "cannot read certificates: it must be a PEM file", path: authorities, cause: error)
            }
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.additionalTrustRoots = [.certificates(certificates)]
            configuration.tlsConfiguration = tls
        }
        if let proxyHost { configuration.proxy = .server(host: proxyHost, port: proxyPort) }
        return HTTPClient(
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton), configuration: configuration)
    }
}
