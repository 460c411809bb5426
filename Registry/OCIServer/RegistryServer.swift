import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import PromptRegistry
import ServiceLifecycle

/// An OCI registry on a port.
public enum RegistryServer {
    /// Serves `store` until SIGINT or SIGTERM comes, or the task is cancelled; requests under way are finished.
    ///
    /// The registry has no TLS, and no accounts unless the options bring them: on any address but a loopback one
    /// everybody who reaches the port could read, overwrite and delete what is stored. It refuses such an address unless
    /// `allowsInsecureBind` says that something else (a proxy, a closed network) keeps them away.
    ///
    /// - Parameters:
    ///   - host: the address to listen on.
    ///   - port: 0 for any free one.
    ///   - onListening: called once with the port, when requests are answered.
    /// - Throws: `.denied` for a refused address, `.transport` when the port cannot be had.
    public static func run(
        store: any UploadStore, host: String = "127.0.0.1", port: Int = 0, allowsInsecureBind: Bool = false,
        options: OCIRoutes.Options = .init(), logger: Logger = Logger(label: "incipit.registry"),
        onListening: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
    ) async throws {
        try checkBind(host: host, allowsInsecureBind: allowsInsecureBind)
        let router = Router()
        OCIRoutes(store: store, options: options).add(to: router)
        let application = Application(
            router: router, server: .http1(configuration: .init(idleTimeout: .seconds(120))),
            configuration: .init(address: .hostname(host, port: port), serverName: "incipit"),
            onServerRunning: { channel in await onListening(channel.localAddress?.port ?? port) }, logger: logger)
        let group = ServiceGroup(
            configuration: .init(
                services: [application], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
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
                + "listen on 127.0.0.1, or pass --insecure when a proxy or closed network protects the port")
    }

    /// Whether only this machine can reach the address: `localhost`, `127.0.0.0/8`, `::1`.
    public static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
