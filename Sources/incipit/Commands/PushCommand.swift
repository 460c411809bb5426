import ArgumentParser
import Foundation
import OCIArtifacts
import OCIClient
import PromptRegistry

/// How to reach a remote registry.
struct RemoteOptions: ParsableArguments {
    @Flag(help: "Speak plain HTTP (the default for loopback addresses).") var plainHTTP = false
    @Option(name: .customLong("authfile"), help: "Credentials file (default: those of podman and docker).")
    var authFile: String?
    @Option(
        name: .customLong("ca"), help: "PEM file of certificates to trust besides the system's.", completion: .file())
    var authorities: String?

    /// A reference that must name a host.
    func remote(_ text: String) throws -> (store: RemoteStore, reference: Reference) {
        let reference: Reference
        do { reference = try Reference(text) } catch {
            throw CommandFailure(.usage, "“\(text)” is no remote reference: \(error); write HOST[:PORT]/NAME:TAG")
        }
        guard let host = reference.host else {
            throw CommandFailure(.usage, "“\(text)” names no registry; write HOST[:PORT]/\(text)")
        }
        return (try store(host: host), reference)
    }

    /// A registry by its host.
    func store(host: String) throws -> RemoteStore {
        try RemoteStore(
            host: RegistryHost(host, plainHTTP: plainHTTP ? true : nil), authenticationFile: authFile,
            authorities: authorities, onWarning: { Output.note("warning from \(host): \($0)") })
    }
}

/// The progress of a copy on standard error.
final class CopyLine: @unchecked Sendable {
    // Sendable: the copier calls back in order, never twice at once.
    private let line = ProgressLine()

    func update(_ progress: CopyProgress) {
        let fraction = progress.bytesTotal > 0 ? Double(progress.bytesCopied) / Double(progress.bytesTotal) : 0
        line.update(
            "\(ProgressLine.bar(fraction)) \(Output.bytes(progress.bytesCopied)) of \(Output.bytes(progress.bytesTotal))"
        )
    }

    func finish() { line.finish() }
}

struct PushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Copy a stored version to an OCI registry.",
        discussion: """
            Whatever the destination already has is skipped; a push that broke off is simply repeated. The base anchor goes \
            along, so that the registry can be asked for all prompts of a base.

              incipit push team/task:v1 registry.example.com/team/task:v1
            """)

    @Argument(help: "Stored version: NAME:TAG or NAME@DIGEST.") var source: String
    @Argument(help: "Destination: HOST[:PORT]/NAME:TAG.") var destination: String
    @OptionGroup var remote: RemoteOptions
    @Flag(help: "Also copy what refers to it: signatures, evaluations.") var referrers = false

    func run() async throws {
        let local = try PromptStore.localReference(source)
        let (target, reference) = try remote.remote(destination)
        let store = try PromptStore()
        let line = CopyLine()
        defer { line.finish() }
        let tags = reference.tag.map { [$0] } ?? []
        let receipt = try await copyArtifact(
            local.reference ?? .tag(.latest), from: store.store, repository: local.repository, to: target,
            repository: reference.repository, as: tags, includeReferrers: referrers, progress: { line.update($0) })
        line.finish()
        Output.line("pushed \(source) to \(destination)")
        Output.line(
            "digest \(receipt.digest)  (\(receipt.progress.blobsCopied) blobs sent, \(receipt.progress.blobsSkipped) already there)"
        )
    }
}

struct PullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull", abstract: "Copy a version from an OCI registry into the local one.",
        discussion: """
            Every byte is checked against its digest before it is stored. The name stays the remote one unless --as gives \
            another.

              incipit pull registry.example.com/team/task:v1
            """)

    @Argument(help: "Source: HOST[:PORT]/NAME:TAG or …@DIGEST.") var source: String
    @Option(name: .customLong("as"), help: "Store it under this NAME[:TAG] instead.") var localName: String?
    @OptionGroup var remote: RemoteOptions
    @Flag(help: "Also copy what refers to it: signatures, evaluations.") var referrers = false

    func run() async throws {
        let (origin, reference) = try remote.remote(source)
        let local = try localName.map(PromptStore.localReference)
        let name = local?.repository ?? reference.repository
        let tag = local?.tag ?? reference.tag
        let store = try PromptStore()
        let wanted = reference.reference ?? .tag(.latest)
        let policy = try TrustPolicy(path: Home().trustPolicy)
        // Look before copying: another kind of artifact shall not end up among the prompts.
        if let found = try await origin.manifest(wanted, in: reference.repository) {
            let type: String?
            do {
                type = try Manifest.parse(found.bytes, mediaType: found.mediaType).effectiveArtifactType
            } catch { throw RegistryError(.notASoftPrompt, "\(source) is not a soft prompt: \(error.message)") }
            guard type == MediaType.softPrompt else {
                throw RegistryError(
                    .notASoftPrompt, "\(source) is not a soft prompt: its artifact type is \(type ?? "not given")")
            }
            try await policy.check(
                found, in: reference.repository, of: origin, names: [reference.repository, name])
        }
        let isCovered = policy.covers(reference.repository) || policy.covers(name)
        let line = CopyLine()
        defer { line.finish() }
        let receipt = try await copyArtifact(
            wanted, from: origin, repository: reference.repository, to: store.store,
            repository: name, as: tag.map { [$0] } ?? [], includeReferrers: referrers || isCovered,
            progress: { line.update($0) })
        line.finish()
        // What was pulled must be a prompt, whole and readable: say so now rather than at the first attach.
        let loaded = try await store.registry.load(.digest(receipt.digest), of: name)
        Output.line("pulled \(source) as \(tag.map { "\(name):\($0)" } ?? "\(name)@\(receipt.digest)")")
        Output.line(
            "digest \(receipt.digest)  (\(receipt.progress.blobsCopied) blobs fetched, \(receipt.progress.blobsSkipped) already here)"
        )
        Output.line("base   \(loaded.prompt.baseName)  \(loaded.prompt.base.fingerprint)")
    }
}
