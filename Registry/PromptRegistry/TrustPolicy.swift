import Foundation
import OCIArtifacts

/// Which repositories must be signed, and by whom.
///
///     {"schemaVersion": 1,
///      "rules": [{"repositories": "team/**", "keys": ["-----BEGIN PUBLIC KEY-----\n…", "ssh-ed25519 AAAA…"]}]}
///
/// A version of a repository that rules cover needs, for each of them, a signature over its manifest by one of the rule's
/// keys. What no rule covers needs none.
public struct TrustPolicy: Sendable {
    public struct Rule: Sendable {
        public var repositories: RepositoryGlob
        public var keys: [VerificationKey]

        public init(_ repositories: RepositoryGlob, keys: [VerificationKey]) {
            self.repositories = repositories
            self.keys = keys
        }
    }

    public var rules: [Rule] = []

    public init() {}

    /// Reads a policy; an absent file is one without rules. A damaged one is an error, never no rules.
    public init(path: String) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        guard let data = FileManager.default.contents(atPath: path), data.count <= 4 << 20 else {
            throw RegistryError(.storage, "cannot read the trust policy", path: path)
        }
        do {
            let root = try JSONNode.parse(Array(data))
            guard root["schemaVersion"]?.integer == 1, let items = root["rules"]?.array else {
                throw OCIArtifactError(.jsonInvalid, "schemaVersion must be 1 and rules a list")
            }
            rules = try items.map { item in
                let keys = try (item["keys"]?.array ?? []).map { try VerificationKey($0.string ?? "") }
                guard !keys.isEmpty else { throw OCIArtifactError(.keyInvalid, "a rule has no keys") }
                return Rule(try RepositoryGlob(item["repositories"]?.string ?? ""), keys: keys)
            }
        } catch {
            throw RegistryError(
                .untrusted, "the trust policy is damaged, so nothing is trusted; repair it", path: path, cause: error)
        }
    }

    /// The file's bytes.
    public var bytes: [UInt8] {
        JSONNode.object([
            "schemaVersion": .integer(1),
            "rules": .array(
                rules.map { rule in
                    .object([
                        "repositories": .string(rule.repositories.description),
                        "keys": .array(rule.keys.map { .string($0.text) }),
                    ])
                }),
        ]).canonical + [UInt8(ascii: "\n")]
    }

    /// Whether some rule covers the repository.
    public func covers(_ name: RepositoryName) -> Bool { rules.contains { $0.repositories.matches(name) } }

    /// Throws `.untrusted` when a rule that covers one of `names` is not satisfied by the manifest's signatures.
    ///
    /// - Parameters:
    ///   - repository: where manifest and signatures are found in `store`.
    ///   - names: the names it goes by: where it comes from, and what it is to be called.
    public func check(
        _ stored: StoredManifest, in repository: RepositoryName, of store: any RegistryStore,
        names: [RepositoryName]
    ) async throws {
        for rule in rules where names.contains(where: { rule.repositories.matches($0) }) {
            let found = try await signaturesThatHold(of: stored, in: repository, keys: rule.keys, store: store)
            // Only what is said of the manifest itself binds tensors, configuration and base together.
            let isSigned = found.contains {
                $0.predicateType == nil || $0.predicateType == PromptSignatures.cosignPredicate
            }
            guard isSigned else {
                throw RegistryError(
                    .untrusted,
                    "\(repository)@\(stored.digest.short) is not signed by a key that the trust policy asks for in "
                        + "\(rule.repositories); sign it (incipit sign), or change the policy", repository: repository,
                    digest: stored.digest)
            }
        }
    }
}
