import Dispatch
import Foundation
import Logging
import NIOSSL
import PromptRegistry
import ServiceLifecycle
import Synchronization

/// The server's certificate chain and key, read again when the files change.
///
/// A handshake looks at the files (at most once a second) and gets the pair that lies there; connections that are open
/// go on with what they began with. A pair that cannot be read, or whose halves do not belong together, as happens for a
/// moment while one file is renewed before the other, changes nothing: the old one stays in use, and the log says why.
final class ServerCertificate: Sendable {
    private typealias Pair = (chain: [NIOSSLCertificateSource], key: NIOSSLPrivateKeySource)
    private typealias Stamps = [FileStamp?]

    private struct State {
        var pair: Pair
        /// The files that the pair came from, or that were refused: not read a second time.
        var seen: Stamps
        var lastLook: ContinuousClock.Instant
    }

    private let files: RegistryServer.TLSFiles
    private let logger: Logger
    private let state: Mutex<State>
    /// How long a look at the files holds.
    private let interval: Duration

    /// - Throws: `.storage` for files that cannot be used.
    init(_ files: RegistryServer.TLSFiles, logger: Logger, interval: Duration = .seconds(1)) throws {
        self.files = files
        self.logger = logger
        self.interval = interval
        let seen = Self.stamps(files)
        state = Mutex(State(pair: try Self.read(files), seen: seen, lastLook: .now))
    }

    /// A server configuration whose handshakes take the pair of their moment.
    var configuration: TLSConfiguration {
        var configuration = Self.configuration(state.withLock { $0.pair })
        configuration.sslContextCallback = { [self] _, promise in
            guard let stamps = changedStamps() else { return promise.succeed(override) }
            // Not on the event loop: a file may be slow, and a key that is refused leaves its error with the thread,
            // where the next handshake would take it for its own.
            Self.queue.async { [self] in
                reload(stamps)
                promise.succeed(override)
            }
        }
        return configuration
    }

    /// Reads the files now, whether they changed or not, on another thread.
    func reload() {
        Self.queue.async { [self] in reload(Self.stamps(files)) }
    }

    private static let queue = DispatchQueue(label: "incipit.registry.certificate")

    private var override: NIOSSLContextConfigurationOverride {
        let pair = state.withLock { $0.pair }
        var override = NIOSSLContextConfigurationOverride()
        override.certificateChain = pair.chain
        override.privateKey = pair.key
        return override
    }

    /// What the files are now, if that is something else than last time; nil also when the last look is fresh.
    private func changedStamps() -> Stamps? {
        let now = ContinuousClock.now
        let isDue = state.withLock { state in
            guard now - state.lastLook >= interval else { return false }
            state.lastLook = now
            return true
        }
        guard isDue else { return nil }
        let stamps = Self.stamps(files)
        return state.withLock { $0.seen != stamps } ? stamps : nil
    }

    private func reload(_ stamps: Stamps) {
        do {
            let pair = try Self.read(files)
            state.withLock { state in
                state.pair = pair
                state.seen = stamps
            }
            logger.notice("certificate read again", metadata: ["file": "\(files.certificateChain)"])
        } catch {
            state.withLock { $0.seen = stamps }
            logger.warning(
                "the new certificate cannot be used; the old one stays", metadata: ["error": "\(error)"])
        }
    }

    private static func stamps(_ files: RegistryServer.TLSFiles) -> Stamps {
        [FileStamp(files.certificateChain), FileStamp(files.privateKey)]
    }

    private static func configuration(_ pair: Pair) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: pair.chain, privateKey: pair.key)
        configuration.minimumTLSVersion = .tlsv12
        return configuration
    }

    private static func read(_ files: RegistryServer.TLSFiles) throws -> Pair {
        let chain: [NIOSSLCertificate]
        do { chain = try NIOSSLCertificate.fromPEMFile(files.certificateChain) } catch {
            throw RegistryError(
                .storage, "cannot read the certificate chain: it must be a PEM file", path: files.certificateChain,
                cause: error)
        }
        guard !chain.isEmpty else {
            throw RegistryError(.storage, "there is no certificate in the file", path: files.certificateChain)
        }
        let key: NIOSSLPrivateKey
        do { key = try NIOSSLPrivateKey(file: files.privateKey, format: .pem) } catch {
            throw RegistryError(
                .storage, "cannot read the private key: it must be a PEM file without a passphrase",
                path: files.privateKey, cause: error)
        }
        let pair: Pair = (chain.map { .certificate($0) }, .privateKey(key))
        do { _ = try NIOSSLContext(configuration: configuration(pair)) } catch {
            throw RegistryError(
                .storage,
                "cannot serve with this certificate: the private key in \(files.privateKey) does not belong to the first "
                    + "certificate of the chain, or that is not one for signing", path: files.certificateChain,
                cause: error)
        }
        return pair
    }
}

/// Reads the certificate again on SIGHUP, which would otherwise end the server.
struct CertificateSignalService: Service {
    let certificate: ServerCertificate

    func run() async throws {
        signal(SIGHUP, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGHUP, queue: .global())
        source.setEventHandler { certificate.reload() }
        source.resume()
        defer { source.cancel() }
        try await gracefulShutdown()
    }
}
