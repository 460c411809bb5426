import PromptRegistry

/// A registry's address: host, port and whether it is spoken to with TLS.
public struct RegistryHost: Hashable, Sendable, CustomStringConvertible {
    /// `name` or `name:port`, as in a reference.
    public let authority: String
    public let usesTLS: Bool

    /// - Parameters:
    ///   - authority: `127.0.0.1:5000`, `registry.example.com`, `[::1]:5000`.
    ///   - plainHTTP: whether to go without TLS; nil means for loopback hosts only.
    /// - Throws: `.nameInvalid` when this is no host.
    public init(_ authority: String, plainHTTP: Bool? = nil) throws {
        let isPlausible =
            !authority.isEmpty && authority.utf8.count <= 260
            && authority.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || ".-:[]_".utf8.contains(byte)
            }
        guard isPlausible else {
            throw RegistryError(
                .nameInvalid, "\"\(authority.prefix(80))\" is no registry host; expected something like 127.0.0.1:5000")
        }
        self.authority = authority
        usesTLS = !(plainHTTP ?? Self.isLoopback(Self.name(of: authority)))
    }

    public var description: String { authority }

    var baseURL: String { (usesTLS ? "https://" : "http://") + authority }

    static func name(of authority: String) -> String {
        if authority.first == "[" {
            return String(authority.dropFirst().prefix { $0 != "]" })
        }
        return String(authority.prefix { $0 != ":" })
    }

    static func isLoopback(_ name: String) -> Bool {
        if name == "localhost" || name == "::1" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
