import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import PromptRegistry
import ServiceLifecycle

/// An OCI registry on a port.
public enum RegistryServer {
    /// PEM files for TLS. The server reads them again when they change, or on SIGHUP.
    public struct TLSFiles: Hashable, Sendable {
        /// The server's certificate first, then those that lead to a root.
        public var certificateChain: String
        public var privateKey: String

        public init(certificateChain: String, privateKey: String) {
            self.certificateChain = certificateChain
            self.privateKey = privateKey
        }
    }

    /// How the server treats connections.
    public struct Limits: Hashable, Sendable {
        /// Connections at once; more wait in the system's queue.
        public var connections = 1024
        /// Seconds until a connection without a request (or with half a head) is closed.
        public var idleSeconds = 60
        /// A body under way that brings fewer than ``minimumBodyBytes`` in this many seconds is given up.
        public var bodySeconds = 30
        public var minimumBodyBytes = 4096
        /// Seconds that requests under way have to end in when the server stops.
        public var shutdownSeconds = 30
        /// Bytes of all header fields of a request.
        public var headerBytes = 32 << 10

        public init() {}
    }

    /// Serves `store` until SIGINT or SIGTERM comes, or the task is cancelled; requests under way are finished.
    ///
    /// On any address but a loopback one everybody who reaches the port can try to read, overwrite and delete what is
    /// stored, so that it refuses such an address unless it has both accounts and TLS, or `allowsInsecureBind` says that
    /// something else (a proxy, a closed network) keeps them away.
    ///
    /// - Parameters:
    ///   - host: the address to listen on.
    ///   - port: 0 for any free one.
    ///   - onListening: called once with the port, when requests are answered.
    /// - Throws: `.denied` for a refused address, `.storage` for unusable certificate files, `.transport` when the port
    ///   cannot be had.
    public static func run(
        store: any UploadStore, host: String = "127.0.0.1", port: Int = 0, allowsInsecureBind: Bool = false,
        tls: TLSFiles? = nil, limits: Limits = Limits(), options: OCIRoutes.Options = .init(),
        logger: Logger = Logger(label: "incipit.registry"),
        onListening: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
    ) async throws {
        let isProtected = tls != nil && options.access.map { !$0.isEmpty } == true
        try checkBind(host: host, allowsInsecureBind: allowsInsecureBind || isProtected)
        var options = options
        options.usesTLS = tls != nil
        let router = Router(context: RegistryRequestContext.self)
        let routes = OCIRoutes(store: store, options: options)
        routes.add(to: router)
        let http = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [
                    SlowClientHandler(
                        interval: .seconds(Int64(limits.bodySeconds)), minimumBytes: limits.minimumBodyBytes)
                ], idleTimeout: .seconds(Int64(limits.idleSeconds)),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: limits.headerBytes, maxHeaderListSize: limits.headerBytes,
                    maxHeaderFieldCount: 200)))
        let certificate = try tls.map { try ServerCertificate($0, logger: logger) }
        let server = try certificate.map { try HTTPServerBuilder.tls(http, tlsConfiguration: $0.configuration) } ?? http
        let application = Application(
            router: router, server: server,
            configuration: .init(
                address: .hostname(host, port: port), serverName: "incipit",
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connections)),
            onServerRunning: { channel in await onListening(channel.localAddress?.port ?? port) }, logger: logger)
        var services: [any Service] = [application, DrainingService(routes: routes)]
        if let certificate { services.append(CertificateSignalService(certificate: certificate)) }
        var configuration = ServiceGroupConfiguration(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        configuration.maximumGracefulShutdownDuration = .seconds(limits.shutdownSeconds)
        let group = ServiceGroup(configuration: configuration)
        // A cancelled task would tear connections down in the middle of an answer, so cancellation, like a signal,
        // only asks the server to stop.
        let running = Task { try await group.run() }
        do {
            try await withTaskCancellationHandler {
                try await running.value
            } onCancel: {
                Task { await group.triggerGracefulShutdown() }
            }
        } catch let error as IOError {
            throw RegistryError(
                .transport, "cannot listen on \(host):\(port); choose another --port or --host", cause: error)
        }
    }

    /// Throws `.denied` when `host` can be reached from other machines and nobody said that this is wanted.
    public static func checkBind(host: String, allowsInsecureBind: Bool) throws {
        guard !allowsInsecureBind, !isLoopback(host) else { return }
        throw RegistryError(
            .denied,
            "refusing to listen on \(host): without TLS and accounts anyone who reaches it could change what is stored; "
                + "make accounts (incipit access token), pass --tls-cert and --tls-key with --auth, listen on 127.0.0.1, or "
                + "pass --insecure when a proxy or closed network protects the port")
    }

    /// Whether only this machine can reach the address: `localhost`, `127.0.0.0/8`, `::1`.
    public static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}

/// A request's context that knows where the request came from.
struct RegistryRequestContext: RequestContext, RemoteAddressRequestContext {
    var coreContext: CoreRequestContextStorage
    let remoteAddress: SocketAddress?

    init(source: Source) {
        coreContext = .init(source: source)
        remoteAddress = source.channel.remoteAddress
    }
}

/// Says "not ready" from the moment that the server is asked to stop.
private struct DrainingService: Service {
    let routes: OCIRoutes

    func run() async throws {
        try await gracefulShutdown()
        routes.isDraining.store(true, ordering: .releasing)
    }
}
