import Crypto
import Foundation
import OCIArtifacts
import PromptRegistry

/// Who may do what: principals with their tokens and rules, as a JSON file keeps them.
///
/// Tokens are random (32 bytes), shown once when they are made, and stored as SHA-256: whoever reads the file cannot use
/// them. No slow hash is needed for secrets that nobody can guess.
///
///     {"schemaVersion": 1,
///      "anonymous": [{"repositories": "public/**", "actions": ["pull"]}],
///      "principals": [{"name": "ci", "rules": [{"repositories": "team/*", "actions": ["pull", "push"]}],
///                      "tokens": [{"id": "3f9a…", "sha256": "…", "created": "2026-11-24T22:00:00Z"}]}]}
public struct AccessList: Codable, Hashable, Sendable {
    /// What a rule allows.
    public enum Action: String, Codable, Hashable, Sendable, CaseIterable {
        /// Read blobs, manifests, tags and referrers.
        case pull
        /// Store blobs and manifests, set unprotected tags.
        case push
        /// Delete manifests, tags and blobs.
        case delete
        /// Move protected tags.
        case promote
        /// Read `/metrics` (on any repository pattern).
        case metrics
    }

    /// Actions on the repositories that a pattern covers.
    public struct Rule: Codable, Hashable, Sendable {
        public var repositories: RepositoryGlob
        public var actions: Set<Action>

        public init(_ repositories: RepositoryGlob, _ actions: Set<Action>) {
            self.repositories = repositories
            self.actions = actions
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            repositories = try container.decode(RepositoryGlob.self, forKey: .repositories)
            actions = try container.decode(Set<Action>.self, forKey: .actions)
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(repositories, forKey: .repositories)
            try container.encode(actions.sorted { $0.rawValue < $1.rawValue }, forKey: .actions)
        }

        private enum CodingKeys: String, CodingKey { case repositories, actions }
    }

    /// A token's hash and dates.
    public struct Token: Codable, Hashable, Sendable {
        /// The first 12 digits of its hash: how people name it when they revoke it.
        public var id: String
        public var sha256: String
        public var created: Date
        /// nil: never.
        public var expires: Date?
    }

    /// Someone, or something, that logs in by name.
    public struct Principal: Codable, Hashable, Sendable {
        public var name: String
        public var rules: [Rule]
        public var tokens: [Token]

        public init(name: String, rules: [Rule] = [], tokens: [Token] = []) {
            self.name = name
            self.rules = rules
            self.tokens = tokens
        }

        /// Whether some rule allows the action there.
        public func allows(_ action: Action, on repository: RepositoryName) -> Bool {
            rules.contains { $0.actions.contains(action) && $0.repositories.matches(repository) }
        }
    }

    public var schemaVersion = 1
    /// What everyone may do, without a token.
    public var anonymous: [Rule] = []
    public var principals: [Principal] = []

    public init() {}

    /// How tokens begin, so that scanners for leaked secrets can find them.
    public static let tokenPrefix = "incipit_"

    // MARK: - Changes

    /// Lets a principal, which is created when missing, do what a rule says, in place of its rule for the same pattern.
    ///
    /// - Parameter name: nil: everyone, without an account.
    /// - Throws: `.nameInvalid` for a name that cannot be a user name of HTTP Basic authentication.
    public mutating func grant(_ rule: Rule, to name: String?) throws {
        guard let name else {
            anonymous.removeAll { $0.repositories == rule.repositories }
            return anonymous.append(rule)
        }
        try Self.checkName(name)
        if let index = principals.firstIndex(where: { $0.name == name }) {
            principals[index].rules.removeAll { $0.repositories == rule.repositories }
            principals[index].rules.append(rule)
        } else {
            principals.append(Principal(name: name, rules: [rule]))
        }
    }

    private static func checkName(_ name: String) throws {
        guard (1...64).contains(name.utf8.count),
            name.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: ":") })
        else {
            throw RegistryError(
                .nameInvalid, "a principal's name is 1 to 64 printable ASCII letters without ':' or blanks")
        }
    }

    /// Makes a token for a principal, which is created when missing, and answers the secret: the only time it is seen.
    ///
    /// - Throws: `.nameInvalid` for a name that cannot be a user name of HTTP Basic authentication.
    public mutating func addToken(for name: String, created: Date = Date(), expires: Date? = nil) throws -> String {
        try Self.checkName(name)
        let secret = Self.tokenPrefix + SymmetricKey(size: .bits256).withUnsafeBytes { Base64URL.encode($0) }
        let hash = Self.hash(secret)
        let token = Token(id: String(hash.prefix(12)), sha256: hash, created: created, expires: expires)
        if let index = principals.firstIndex(where: { $0.name == name }) {
            principals[index].tokens.append(token)
        } else {
            principals.append(Principal(name: name, tokens: [token]))
        }
        return secret
    }

    /// The hash under which a secret is stored.
    static func hash(_ secret: String) -> String { Digest.sha256(of: Array(secret.utf8)).hex }

    // MARK: - File

    /// Reads the file; an absent one is an empty list.
    public static func load(_ path: String) throws -> AccessList {
        guard let data = FileManager.default.contents(atPath: path) else {
            guard !FileManager.default.fileExists(atPath: path) else {
                throw RegistryError(.storage, "cannot read the access list", path: path)
            }
            return AccessList()
        }
        let list: AccessList
        do {
            let decoder = JSONDecoder()
            decoder.dateDecodingStrategy = .iso8601
            list = try decoder.decode(AccessList.self, from: data)
        } catch {
            throw RegistryError(
                .corrupt, "the access list is damaged; repair it or restore a copy", path: path, cause: error)
        }
        guard list.schemaVersion == 1 else {
            throw RegistryError(
                .corrupt, "the access list has schema version \(list.schemaVersion); this Incipit knows 1", path: path)
        }
        return list
    }

    /// Writes the file, readable by its owner only: a temporary file takes its place at once.
    public func save(_ path: String) throws {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let temporary = path + ".new"
        do {
            let data = try encoder.encode(self)
            unlink(temporary)
            guard
                FileManager.default.createFile(
                    atPath: temporary, contents: data, attributes: [.posixPermissions: 0o600])
            else { throw CocoaError(.fileWriteUnknown) }
            guard rename(temporary, path) == 0 else { throw CocoaError(.fileWriteUnknown) }
        } catch {
            throw RegistryError(.storage, "cannot write the access list", path: path, cause: error)
        }
    }
}

/// Base64 with the alphabet of URLs and without padding (RFC 4648, section 5).
enum Base64URL {
    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    static func decode(_ text: Substring) -> [UInt8]? {
        let standard = String(text).replacing("-", with: "+").replacing("_", with: "/")
        let padding = String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4)
        return Data(base64Encoded: standard + padding).map { Array($0) }
    }
}
