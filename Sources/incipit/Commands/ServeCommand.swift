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
            it. There are no accounts and no TLS yet, so it listens on loopback; another address needs --insecure and \
            something in front that keeps strangers away.

              incipit serve --registry --port 5000
            """)

    @Flag(help: "Serve the prompt registry.") var registry = false
    @Option(help: "Address to listen on.") var host = "127.0.0.1"
    @Option(help: "Port; 0 takes a free one.") var port = 5000
    @Option(help: "Write the port to this file once requests are answered.") var portFile: String?
    @Flag(help: "Allow an address other than loopback, though anyone who reaches it may read and write.") var insecure =
        false

    func validate() throws {
        if !registry { throw ValidationError("Say what to serve: --registry.") }
        if !(0...65535).contains(port) { throw ValidationError("--port must lie in 0…65535, not \(port).") }
        do {
            try RegistryServer.checkBind(host: host, allowsInsecureBind: insecure)
        } catch let error as RegistryError { throw ValidationError("\(error.message).") }
    }

    func run() async throws {
        let store = try PromptStore().store
        let (host, portFile) = (host, portFile)
        var logger = Logger(label: "incipit.registry", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = .warning
        try await RegistryServer.run(
            store: store, host: host, port: port, allowsInsecureBind: insecure, logger: logger,
            onListening: { port in
                Output.note("registry \(store.path) on http://\(host):\(port)/v2/  (Ctrl-C ends it)")
                guard let portFile else { return }
                do {
                    try AtomicFile.write(to: portFile) { try $0.write(Array("\(port)\n".utf8)) }
                } catch {
                    Output.note("incipit: cannot write \(portFile): \(error)")
                }
            })
    }
}
