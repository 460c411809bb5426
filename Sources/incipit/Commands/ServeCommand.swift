import ArgumentParser
import ByteIO
import Foundation
import Logging
import OCIServer
import PromptRegistry

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Serve the local registry to OCI clients.",
        discussion: """
            Speaks the OCI distribution spec: `incipit push` and `pull`, skopeo, oras and docker-style clients work with \
            it. By default it listens on loopback and lets everyone on this machine do everything.

              incipit serve --registry --port 5000

            For others, give accounts and certificates:

              incipit access grant ci --repo 'team/*' --allow pull,push
              incipit access token ci                         prints the secret, once
              incipit serve --registry --host 0.0.0.0 --auth --tls-cert chain.pem --tls-key key.pem

            The certificate is read again when its files change, or on SIGHUP; connections that are open stay. A pair that \
            does not fit together is refused, and the old one kept.

            Beside /v2/ it answers /healthz, /readyz, /metrics (Prometheus) and, with --auth, /token. SIGTERM and Ctrl-C \
            let requests under way end first.
            """)

    @Flag(help: "Serve the prompt registry.") var registry = false
    @Option(help: "Address to listen on.") var host = "127.0.0.1"
    @Option(help: "Port; 0 takes a free one.") var port = 5000
    @Option(help: "Write the port to this file once requests are answered.") var portFile: String?
    @Flag(help: "Ask for accounts: those of `incipit access`.") var auth = false
    @Option(help: "How clients log in: bearer (tokens from /token) or basic.") var challenge = "bearer"
    @Option(help: "The server's certificate chain, PEM.", completion: .file()) var tlsCert: String?
    @Option(help: "Its private key, PEM.", completion: .file()) var tlsKey: String?
    @Option(help: "The registry's URL as clients know it, when a proxy stands in front.") var url: String?
    @Flag(help: "Allow an address other than loopback, though anyone who reaches it may read and write.") var insecure =
        false
    @Option(help: "Connections at once.") var maxConnections = 1024
    @Option(help: "Uploads at once.") var maxUploads = 256
    @Option(help: "The most MiB a blob may have.") var maxBlob = 65_536
    @Option(help: "Requests a second for each principal or address (default: any number).") var rate: Double?
    @Option(help: "What to log: error, warning, or info (every request).") var logLevel = "warning"
    @Option(help: "How to log: text, or json (one object a line).") var logFormat = "text"

    func validate() throws {
        if !registry { throw ValidationError("Say what to serve: --registry.") }
        if !(0...65535).contains(port) { throw ValidationError("--port must lie in 0…65535, not \(port).") }
        if (tlsCert == nil) != (tlsKey == nil) { throw ValidationError("--tls-cert and --tls-key go together.") }
        if AccessControl.Challenge(rawValue: challenge) == nil {
            throw ValidationError("--challenge is bearer or basic, not \(challenge).")
        }
        if !["text", "json"].contains(logFormat) { throw ValidationError("--log-format is text or json.") }
        if Logger.Level(rawValue: logLevel) == nil {
            throw ValidationError("--log-level is error, warning or info, not \(logLevel).")
        }
        for (name, value) in [("connections", maxConnections), ("uploads", maxUploads), ("blob", maxBlob)]
        where !(1...1_000_000).contains(value) {
            throw ValidationError("--max-\(name) must lie in 1…1000000, not \(value).")
        }
        try rate.checked("--rate", in: 0.01...1_000_000)
        if let url {
            guard let parts = URLComponents(string: url), ["http", "https"].contains(parts.scheme), parts.host != nil,
                !url.contains("\"")
            else { throw ValidationError("--url must be like https://registry.example.com.") }
        }
        do {
            try RegistryServer.checkBind(host: host, allowsInsecureBind: insecure || (auth && tlsCert != nil))
        } catch let error as RegistryError { throw ValidationError("\(error.message).") }
    }

    func run() async throws {
        let home = Home()
        let store = try PromptStore(home: home, isServing: true).store
        let (host, portFile) = (host, portFile)
        var options = OCIRoutes.Options()
        options.maximumConcurrentUploads = maxUploads
        options.maximumBlobSize = maxBlob << 20
        options.requestsPerSecond = rate
        options.externalURL = url.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
        if auth {
            let access = try AccessControl(
                path: home.accessList, challenge: AccessControl.Challenge(rawValue: challenge) ?? .bearer)
            guard !access.isEmpty else {
                throw CommandFailure(
                    .usage, "there are no accounts yet, so nobody could log in; make one: incipit access token NAME")
            }
            options.access = access
        }
        let tls: RegistryServer.TLSFiles? =
            if let tlsCert, let tlsKey { .init(certificateChain: tlsCert, privateKey: tlsKey) } else { nil }
        var limits = RegistryServer.Limits()
        limits.connections = maxConnections
        let isJSON = logFormat == "json"
        var logger = Logger(
            label: "incipit.registry",
            factory: { label -> any LogHandler in
                isJSON ? JSONLogHandler() : StreamLogHandler.standardError(label: label)
            })
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .warning
        let scheme = tls == nil ? "http" : "https"
        try await RegistryServer.run(
            store: store, host: host, port: port, allowsInsecureBind: insecure, tls: tls, limits: limits,
            options: options, logger: logger,
            onListening: { port in
                Output.note("registry \(store.path) on \(scheme)://\(host):\(port)/v2/  (Ctrl-C ends it)")
                guard let portFile else { return }
                do {
                    try AtomicFile.write(to: portFile) { try $0.write(Array("\(port)\n".utf8)) }
                } catch {
                    Output.note("incipit: cannot write \(portFile): \(error)")
                }
            })
    }
}
