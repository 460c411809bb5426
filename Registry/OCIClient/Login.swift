import Foundation
import OCIArtifacts
import PromptRegistry

/// Keeps credentials where podman, skopeo and docker look for them: in a helper when the file names one for the host, else
/// in the file's `auths`. Whatever else the file holds stays as it is.
public struct CredentialStore: Sendable {
    public let path: String

    /// - Parameter path: nil: the first of ``CredentialFiles/standardPaths(explicit:environment:)`` that exists, else
    ///   `~/.config/containers/auth.json`, which survives a restart.
    public init(path: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment) {
        let candidates = CredentialFiles.standardPaths(explicit: path, environment: environment)
        let home = environment["HOME"] ?? ""
        let config = environment["XDG_CONFIG_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? home + "/.config"
        self.path =
            candidates.first { FileManager.default.fileExists(atPath: $0) }
            ?? (candidates.count == 1 ? candidates[0] : config + "/containers/auth.json")
    }

    /// Saves credentials that the registry has taken.
    public func save(user: String, password: String, for host: RegistryHost) throws {
        guard !user.isEmpty, !user.contains(":") else {
            throw RegistryError(.unauthorized, "a user name is not empty and has no “:”")
        }
        if let helper = try helper(for: host) {
            return try helper.store(host.authority, user: user, password: password)
        }
        try change { root in
            var auths = root["auths"]?.object ?? [:]
            let pair = Data("\(user):\(password)".utf8).base64EncodedString()
            auths[host.authority] = .object(["auth": .string(pair)])
            root["auths"] = .object(auths)
        }
    }

    /// Whether there was something to forget.
    public func forget(_ host: RegistryHost) throws -> Bool {
        if let helper = try helper(for: host) {
            let known = try helper.get(host.authority) != nil
            try helper.erase(host.authority)
            return known
        }
        guard FileManager.default.fileExists(atPath: path) else { return false }
        var found = false
        try change { root in
            var auths = root["auths"]?.object ?? [:]
            for key in auths.keys where CredentialFiles.normalized(key) == host.authority {
                auths[key] = nil
                found = true
            }
            root["auths"] = .object(auths)
        }
        return found
    }

    private func helper(for host: RegistryHost) throws -> CredentialHelper? {
        guard let root = try read() else { return nil }
        return try CredentialFiles.helperName(for: host.authority, in: root).map { try CredentialHelper($0) }
    }

    private func read() throws -> [String: JSONNode]? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        guard data.count <= 4 << 20, let root = try? JSONNode.parse(Array(data)).object else {
            throw RegistryError(
                .unauthorized, "the credentials file is not valid JSON; repair or remove it", path: path)
        }
        return root
    }

    /// Rewrites the file under a lock, for its owner only.
    private func change(_ body: (inout [String: JSONNode]) -> Void) throws {
        let folder = (path as NSString).deletingLastPathComponent
        if !folder.isEmpty {
            try? FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        let lock = open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { if lock >= 0 { close(lock) } }
        if lock >= 0 { flock(lock, LOCK_EX) }
        var root = try read() ?? [:]
        body(&root)
        let temporary = path + ".new-\(getpid())"
        unlink(temporary)
        let data = Data(JSONNode.object(root).canonical + [UInt8(ascii: "\n")])
        guard
            FileManager.default.createFile(atPath: temporary, contents: data, attributes: [.posixPermissions: 0o600]),
            rename(temporary, path) == 0
        else {
            unlink(temporary)
            throw RegistryError(.storage, "cannot write the credentials file", path: path)
        }
    }
}
