import Foundation

/// Where Incipit keeps what it stores for the user.
///
/// `INCIPIT_HOME` if set; else `$XDG_DATA_HOME/incipit`, else `~/.local/share/incipit`. Caches that may be deleted at any
/// time lie in `INCIPIT_CACHE`, else `$XDG_CACHE_HOME/incipit`, else `~/.cache/incipit`.
struct Home: Sendable {
    let data: String
    let cache: String

    init(environment: [String: String] = ProcessInfo.processInfo.environment) {
        let user = environment["HOME"] ?? NSHomeDirectory()
        func folder(_ own: String, _ xdg: String, _ fallback: String) -> String {
            if let value = environment[own], !value.isEmpty { return value }
            // The XDG specification has relative paths ignored.
            if let value = environment[xdg], value.hasPrefix("/") { return value + "/incipit" }
            return user + fallback + "/incipit"
        }
        data = folder("INCIPIT_HOME", "XDG_DATA_HOME", "/.local/share")
        cache = folder("INCIPIT_CACHE", "XDG_CACHE_HOME", "/.cache")
    }

    /// The embedded registry.
    var registry: String { data + "/registry" }

    /// Who may do what in the registry that `serve --auth` offers.
    var accessList: String { data + "/access.json" }

    /// Which prompts must be signed, and by whom.
    var trustPolicy: String { data + "/trust.json" }

    /// The folder of an unfinished tuning run.
    func run(_ name: String) -> String { data + "/runs/" + name.replacingOccurrences(of: "/", with: "--") }

    /// The folder of what a finished run left for `continue`, by the digest of the prompt it led to.
    func state(_ digest: String) -> String {
        data + "/states/" + digest.replacingOccurrences(of: ":", with: "-")
    }

    /// Makes a folder with all its parents.
    static func makeFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw CommandFailure(
                .unavailable,
                "cannot make the folder \(path): \(error.localizedDescription); set INCIPIT_HOME to one that can be written"
            )
        }
    }
}
