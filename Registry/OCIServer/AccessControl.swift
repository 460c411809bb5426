import Foundation
import OCIArtifacts
import PromptRegistry
import Synchronization

/// Who a request comes from, as far as it has proved.
enum Identity: Sendable {
    /// Nothing was proved, and `rules` are what everyone may do.
    case anonymous(rules: [AccessList.Rule])
    /// A registry token, by Basic or Bearer.
    case principal(AccessList.Principal)
    /// A token of the token endpoint. `rules` are those of its principal today: a revocation counts at once.
    case claims(TokenClaims, rules: [AccessList.Rule])

    /// For logs and journals.
    var name: String {
        switch self {
        case .anonymous: "anonymous"
        case .principal(let principal): principal.name
        case .claims(let claims, _): claims.subject ?? "anonymous"
        }
    }

    func allows(_ action: AccessList.Action, on repository: RepositoryName) -> Bool {
        let isInRules = rules.contains { $0.actions.contains(action) && $0.repositories.matches(repository) }
        if case .claims(let claims, _) = self { return isInRules && claims.allows(action, on: repository) }
        return isInRules
    }

    /// What the principal could be granted, whatever this token says.
    var rules: [AccessList.Rule] {
        switch self {
        case .anonymous(let rules): rules
        case .principal(let principal): principal.rules
        case .claims(_, let rules): rules
        }
    }

    var isAnonymous: Bool { if case .anonymous = self { true } else { false } }
}

/// Decides who may do what. The list can be a file, which is read again whenever it changes.
public final class AccessControl: Sendable {
    /// How a client that has to log in is told to do so.
    public enum Challenge: String, Sendable, CaseIterable {
        /// Fetch a token for the scope at `/token`. What docker, podman and skopeo prefer.
        case bearer
        /// Send name and token with every request.
        case basic
    }

    private struct State {
        var list: AccessList
        var byHash: [String: (principal: AccessList.Principal, expires: Date?)]
        var stamp: FileStamp?

        init(_ list: AccessList, stamp: FileStamp? = nil) {
            self.list = list
            self.stamp = stamp
            byHash = [:]
            for principal in list.principals {
                for token in principal.tokens { byHash[token.sha256] = (principal, token.expires) }
            }
        }
    }

    public let challenge: Challenge
    let signer = TokenSigner()
    private let path: String?
    private let state: Mutex<State>

    /// A fixed list.
    public init(_ list: AccessList, challenge: Challenge = .bearer) {
        self.challenge = challenge
        path = nil
        state = Mutex(State(list))
    }

    /// A list that lies in a file. Throws when the file is damaged.
    public init(path: String, challenge: Challenge = .bearer) throws {
        self.challenge = challenge
        self.path = path
        state = Mutex(State(try AccessList.load(path), stamp: FileStamp(path)))
    }

    /// Whether nobody at all could log in: serving others with such a list would be a mistake.
    public var isEmpty: Bool { state.withLock { $0.list.principals.allSatisfy(\.tokens.isEmpty) } }

    /// The identity of a request; nil when its credentials are wrong.
    func identity(authorization: String?, now: Date = Date()) -> Identity? {
        reloadIfChanged()
        return state.withLock { state in
            guard let authorization else { return .anonymous(rules: state.list.anonymous) }
            let parts = authorization.split(separator: " ", maxSplits: 1)
            guard parts.count == 2 else { return nil }
            switch parts[0].lowercased() {
            case "basic":
                guard let data = Data(base64Encoded: String(parts[1])) else { return nil }
                let pair = String(decoding: data, as: UTF8.self)
                    .split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                // What clients send that were asked by Basic and have nothing.
                if pair == ["", ""] { return .anonymous(rules: state.list.anonymous) }
                guard pair.count == 2, let principal = Self.principal(String(pair[1]), state, now),
                    principal.name == pair[0]
                else { return nil }
                return .principal(principal)
            case "bearer":
                let secret = String(parts[1])
                if secret.hasPrefix(AccessList.tokenPrefix) {
                    return Self.principal(secret, state, now).map { .principal($0) }
                }
                guard let claims = signer.read(secret, now: now) else { return nil }
                guard let subject = claims.subject else { return .claims(claims, rules: state.list.anonymous) }
                guard let principal = state.list.principals.first(where: { $0.name == subject }) else { return nil }
                return .claims(claims, rules: principal.rules)
            default: return nil
            }
        }
    }

    /// The principal of a secret, found by its hash: comparing takes the same time for right and wrong ones as far as
    /// an attacker can tell, who cannot choose the hash.
    private static func principal(_ secret: String, _ state: State, _ now: Date) -> AccessList.Principal? {
        guard secret.utf8.count <= 256, let found = state.byHash[AccessList.hash(secret)],
            found.expires.map({ $0 > now }) ?? true
        else { return nil }
        return found.principal
    }

    /// The token for an identity: the part of `scopes` that its rules allow. Asking for more is no error.
    func token(for identity: Identity, scopes: [TokenScope], now: Date = Date()) throws -> String {
        var granted: [RepositoryName: Set<AccessList.Action>] = [:]
        var catalog = false
        for scope in scopes.prefix(64) {
            switch scope.resource {
            case .catalog: catalog = true
            case .repository(let name):
                for action in [AccessList.Action.pull, .push, .delete, .promote] {
                    // Who may push moves protected tags by the same request; there is no scope of its own for it.
                    let isAsked =
                        scope.actions.contains(action.rawValue) || scope.actions.contains("*")
                        || (action == .promote && scope.actions.contains("push"))
                    if isAsked, identity.allows(action, on: name) { granted[name, default: []].insert(action) }
                }
            }
        }
        let subject: String? = identity.isAnonymous ? nil : identity.name
        return try signer.sign(
            TokenClaims(
                subject: subject, expires: Int(now.timeIntervalSince1970) + TokenSigner.lifetime,
                grants: granted.sorted { $0.key < $1.key }.map { .init(name: $0.key, actions: $0.value) },
                catalog: catalog))
    }

    /// A damaged new file is ignored, and the list that was good stays in force.
    private func reloadIfChanged() {
        guard let path else { return }
        let stamp = FileStamp(path)
        guard state.withLock({ $0.stamp != stamp }) else { return }
        guard let list = try? AccessList.load(path) else { return }
        state.withLock { $0 = State(list, stamp: stamp) }
    }
}
