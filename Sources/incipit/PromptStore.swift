import Foundation
import OCIArtifacts
import PromptRegistry
import SoftPrompts

/// The user's own registry, as commands use it.
struct PromptStore {
    let registry: PromptRegistry
    let store: EmbeddedStore

    /// - Parameter isServing: many read at once; without it the store opens and closes faster.
    init(home: Home = Home(), isServing: Bool = false) throws {
        try Home.makeFolder(home.data)
        var options = EmbeddedStore.Options()
        if !isServing { options.readers = 1 }
        store = try EmbeddedStore(path: home.registry, options: options)
        registry = PromptRegistry(store)
    }

    /// A stored version, named.
    struct Stored {
        let version: String
        let digest: String
    }

    /// A prompt's name without tag, as `tune` and `list` take it.
    ///
    /// - Throws: `CommandFailure` when the text is not one.
    static func name(_ text: String) throws -> RepositoryName {
        do {
            return try RepositoryName(text)
        } catch {
            throw CommandFailure(.usage, "“\(text)” cannot name a prompt: \(error)")
        }
    }

    /// `name:tag`, `name@digest` or `name` on this machine.
    static func localReference(_ text: String) throws -> Reference {
        let reference: Reference
        do {
            reference = try Reference(text)
        } catch {
            throw CommandFailure(
                .usage, "“\(text)” is no prompt reference: \(error); write NAME, NAME:TAG or NAME@DIGEST")
        }
        if let host = reference.host {
            throw CommandFailure(
                .usage, "“\(text)” names a prompt on \(host); pull it first: incipit pull \(text)")
        }
        return reference
    }

    /// Throws `.untrusted` when the trust policy asks for a signature that the version lacks.
    static func checkTrust(
        _ digest: Digest, of name: RepositoryName, in store: any RegistryStore, home: Home = Home()
    ) async throws {
        let policy = try TrustPolicy(path: home.trustPolicy)
        guard policy.covers(name) else { return }
        guard let stored = try await store.manifest(.digest(digest), in: name) else {
            throw RegistryError.unknownManifest(.digest(digest), in: name)
        }
        try await policy.check(stored, in: name, of: store, names: [name])
    }

    func save(
        _ prompt: SoftPrompt, name: RepositoryName, parent: Digest? = nil, metrics: [String: String] = [:],
        layers: [PromptLayer] = []
    ) async throws -> Stored {
        let receipt = try await registry.store(prompt, name: name, parent: parent, layers: layers, metrics: metrics)
        return Stored(version: "v\(receipt.number)", digest: receipt.digest.description)
    }
}
