import Crypto
import Foundation
import OCIArtifacts

/// One `scope` of a token request: `repository:team/gloss:pull,push` or `registry:catalog:*`.
struct TokenScope: Hashable, Sendable {
    enum Resource: Hashable, Sendable {
        case repository(RepositoryName)
        case catalog
    }

    let resource: Resource
    let actions: Set<String>

    /// nil for what is no scope, or one of a resource this registry does not have.
    init?(_ text: Substring) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count >= 3, let last = parts.last else { return nil }
        actions = Set(last.split(separator: ",").map(String.init))
        // The type may carry a class: `repository(plugin)`.
        let name = parts[1..<(parts.count - 1)].joined(separator: ":")
        switch parts[0].prefix(while: { $0 != "(" }) {
        case "repository":
            guard let repository = try? RepositoryName(name) else { return nil }
            resource = .repository(repository)
        case "registry":
            guard name == "catalog" else { return nil }
            resource = .catalog
        default: return nil
        }
    }
}

/// What a signed token says: who asked, until when, and what was granted.
struct TokenClaims: Codable, Hashable, Sendable {
    struct Grant: Codable, Hashable, Sendable {
        let name: RepositoryName
        let actions: Set<AccessList.Action>
    }

    /// nil: anonymous.
    let subject: String?
    /// Seconds since 1970.
    let expires: Int
    let grants: [Grant]
    let catalog: Bool

    func allows(_ action: AccessList.Action, on repository: RepositoryName) -> Bool {
        grants.contains { $0.name == repository && $0.actions.contains(action) }
    }
}

/// Signs and reads the short-lived tokens of the token endpoint: `<claims>.<HMAC-SHA256>`, both base64url.
///
/// The key lives and dies with the process: after a restart clients simply ask again.
struct TokenSigner: Sendable {
    /// Seconds that a token is good for.
    static let lifetime = 300
    private static let maximumLength = 16 << 10
    private let key = SymmetricKey(size: .bits256)

    func sign(_ claims: TokenClaims) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let payload = Base64URL.encode(try encoder.encode(claims))
        let code = HMAC<SHA256>.authenticationCode(for: Data(payload.utf8), using: key)
        return payload + "." + Base64URL.encode(code)
    }

    /// The claims of a token that we signed and that has not expired; nil of any other.
    func read(_ text: String, now: Date) -> TokenClaims? {
        guard text.utf8.count <= Self.maximumLength else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let code = Base64URL.decode(parts[1]),
            HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: Data(parts[0].utf8), using: key),
            let payload = Base64URL.decode(parts[0]),
            let claims = try? JSONDecoder().decode(TokenClaims.self, from: Data(payload)),
            Double(claims.expires) > now.timeIntervalSince1970
        else { return nil }
        return claims
    }
}
