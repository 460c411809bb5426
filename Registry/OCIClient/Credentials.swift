import Foundation
import OCIArtifacts
import PromptRegistry

/// What proves to a registry who is asking.
public enum Credentials: Hashable, Sendable {
    case password(user: String, password: String)
    /// A refresh token, exchanged for access tokens at the registry's token server.
    case identityToken(String)
}

/// Finds credentials the way podman, skopeo and docker keep them: containers-auth.json(5) and Docker's `config.json`.
///
/// Files are read once, at creation; a helper (`credHelpers`, `credsStore`) is asked when its host is.
public struct CredentialFiles: Sendable {
    private let entries: [(key: String, credentials: Credentials)]
    /// The files that name helpers, in order.
    private let roots: [[String: JSONNode]]

    /// Reads the files that exist, earlier ones winning.
    public init(paths: [String]) throws {
        var entries: [(key: String, credentials: Credentials)] = []
        var roots: [[String: JSONNode]] = []
        for path in paths {
            guard let data = FileManager.default.contents(atPath: path) else { continue }
            guard data.count <= 4 << 20, let root = try? JSONNode.parse(Array(data)) else {
                throw RegistryError(
                    .unauthorized, "the credentials file is not valid JSON; repair or remove it", path: path)
            }
            if root["credHelpers"] != nil || root["credsStore"] != nil { roots.append(root.object ?? [:]) }
            for (key, entry) in (root["auths"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                guard let credentials = Self.credentials(entry) else { continue }
                entries.append((Self.normalized(key), credentials))
            }
        }
        self.entries = entries
        self.roots = roots
    }

    /// The helper that a file names for a host, nil when it names none.
    static func helperName(for authority: String, in root: [String: JSONNode]) -> String? {
        for (key, value) in (root["credHelpers"]?.object ?? [:]).sorted(by: { $0.key < $1.key })
        where normalized(key) == authority {
            if let name = value.string, !name.isEmpty { return name }
        }
        return root["credsStore"]?.string.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// ``credentials(for:repository:)``, then what a helper knows.
    public func credentialsOrHelper(for host: RegistryHost, repository: RepositoryName?) throws -> Credentials? {
        if let known = credentials(for: host, repository: repository) { return known }
        for root in roots {
            guard let name = Self.helperName(for: host.authority, in: root) else { continue }
            if let known = try CredentialHelper(name).get(host.authority) { return known }
        }
        return nil
    }

    /// The files in the order that containers-auth.json(5) gives; `explicit` (`--authfile`) replaces them all.
    public static func standardPaths(
        explicit: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment
    ) -> [String] {
        if let explicit { return [explicit] }
        if let path = environment["REGISTRY_AUTH_FILE"], !path.isEmpty { return [path] }
        var paths: [String] = []
        if let runtime = environment["XDG_RUNTIME_DIR"], !runtime.isEmpty {
            paths.append(runtime + "/containers/auth.json")
        }
        let home = environment["HOME"] ?? ""
        let config = environment["XDG_CONFIG_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? home + "/.config"
        paths.append(config + "/containers/auth.json")
        let docker = environment["DOCKER_CONFIG"].flatMap { $0.isEmpty ? nil : $0 } ?? home + "/.docker"
        return paths + [docker + "/config.json"]
    }

    /// The most specific entry: `host/name/space/repo`, then its prefixes, then `host`.
    public func credentials(for host: RegistryHost, repository: RepositoryName?) -> Credentials? {
        var key = host.authority + (repository.map { "/\($0)" } ?? "")
        while true {
            if let entry = entries.first(where: { $0.key == key }) { return entry.credentials }
            guard let slash = key.lastIndex(of: "/") else { return nil }
            key = String(key[..<slash])
        }
    }

    private static func credentials(_ entry: JSONNode) -> Credentials? {
        if let token = entry["identitytoken"]?.string, !token.isEmpty { return .identityToken(token) }
        if let text = entry["auth"]?.string, let data = Data(base64Encoded: text) {
            let parts = String(decoding: data, as: UTF8.self)
                .split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return nil }
            return .password(user: String(parts[0]), password: String(parts[1]))
        }
        if let user = entry["username"]?.string, let password = entry["password"]?.string {
            return .password(user: user, password: password)
        }
        return nil
    }

    /// Docker writes keys as URLs (`https://index.docker.io/v1/`); containers-auth.json as `host[/namespace]`.
    static func normalized(_ key: String) -> String {
        var text = key[...]
        for scheme in ["https://", "http://"] where text.hasPrefix(scheme) {
            return String(text.dropFirst(scheme.count).prefix { $0 != "/" })
        }
        while text.last == "/" { text.removeLast() }
        return String(text)
    }
}
