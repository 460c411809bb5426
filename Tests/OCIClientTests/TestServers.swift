import Foundation
import HTTPTypes
import Hummingbird
import Logging
import OCIArtifacts
import OCIClient
import OCIServer
import PromptRegistry
import ServiceLifecycle
import Synchronization

/// Runs a server on a free loopback port for as long as `body` takes.
func withServer(
    _ run: @escaping @Sendable (_ onListening: @escaping @Sendable (Int) async -> Void) async throws -> Void,
    _ body: @Sendable (_ port: Int) async throws -> Void
) async throws {
    let (ports, continuation) = AsyncStream<Int>.makeStream()
    let server = Task {
        defer { continuation.finish() }
        try await run { continuation.yield($0) }
    }
    var iterator = ports.makeAsyncIterator()
    guard let port = await iterator.next() else {
        try await server.value
        throw RegistryError(.transport, "the test server ended before it listened")
    }
    // The server is gone before the next test begins.
    do {
        try await body(port)
        server.cancel()
        try await server.value
    } catch {
        server.cancel()
        _ = try? await server.value
        throw error
    }
}

/// Our own registry.
func withRegistry(
    _ store: any UploadStore = MemoryStore(), options: OCIRoutes.Options = .init(),
    _ body: @Sendable (RemoteStore) async throws -> Void
) async throws {
    try await withServer({ onListening in
        try await RegistryServer.run(store: store, options: options, logger: quiet, onListening: onListening)
    }) { port in
        try await body(try remote(port))
    }
}

/// A server that answers whatever `respond` says.
func withResponder(
    _ respond: @escaping @Sendable (Request) async throws -> Response, _ body: @Sendable (Int) async throws -> Void
) async throws {
    try await withServer(
        { onListening in
            let responder = CallbackResponder<BasicRequestContext> { request, _ in try await respond(request) }
            let application = Application(
                responder: responder, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
                onServerRunning: { await onListening($0.localAddress?.port ?? 0) }, logger: quiet)
            let group = ServiceGroup(configuration: .init(services: [application], logger: quiet))
            let running = Task { try await group.run() }
            try await withTaskCancellationHandler {
                try await running.value
            } onCancel: {
                Task { await group.triggerGracefulShutdown() }
            }
        }, body)
}

func remote(_ port: Int, _ change: (inout RemoteStore.Options) -> Void = { _ in }) throws -> RemoteStore {
    var options = RemoteStore.Options()
    options.retryDelay = .milliseconds(5)
    change(&options)
    return RemoteStore(host: try RegistryHost("127.0.0.1:\(port)"), options: options)
}

let quiet: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}()

/// A manifest with one layer, whose blobs are pushed.
func push(
    _ content: String, to store: some RegistryStore, _ name: RepositoryName, subject: Descriptor? = nil,
    artifactType: String = "application/x.test"
) async throws -> Manifest {
    let layer = Array(content.utf8)
    try await store.writeBlob(layer, in: name)
    try await store.writeBlob(Descriptor.emptyContent, in: name)
    return Manifest(
        artifactType: artifactType, config: .empty,
        layers: [Descriptor(of: layer, mediaType: MediaType.octetStream)], subject: subject)
}

func put(_ manifest: Manifest, to store: some RegistryStore, _ name: RepositoryName, _ tags: [Tag] = []) async throws
    -> ManifestReceipt
{
    let bytes = manifest.serialized
    return try await store.putManifest(
        bytes, mediaType: manifest.mediaType, as: .digest(.sha256(of: bytes)), tags: tags, in: name)
}

/// Remembers what a server saw.
final class Log<Element: Sendable>: Sendable {
    private let storage = Mutex<[Element]>([])
    var all: [Element] { storage.withLock { $0 } }
    func add(_ element: Element) { storage.withLock { $0.append(element) } }
    /// Adds and answers how many there were before.
    func count(_ element: Element) -> Int {
        storage.withLock {
            $0.append(element)
            return $0.count - 1
        }
    }
}

/// A folder that is removed at the end.
func withFolder(_ body: @Sendable (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("incipit-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await body(folder.path)
}
