import Foundation
import OCIArtifacts
import PromptRegistry

/// Runs `docker-credential-NAME`, the programs that keep passwords in a system's own store.
///
/// `get` takes the server on standard input and answers `{"ServerURL","Username","Secret"}`; a user `<token>` means that
/// the secret is an identity token.
struct CredentialHelper: Sendable {
    /// What follows `docker-credential-`.
    let name: String

    /// - Throws: `.unauthorized` for a name that could be a path.
    init(_ name: String) throws {
        let isPlain =
            (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || "-_.".utf8.contains(byte)
            }
        guard isPlain else {
            throw RegistryError(.unauthorized, "“\(name.prefix(64))” cannot be a credential helper's name")
        }
        self.name = name
    }

    /// What the helper knows of a server, nil when nothing.
    func get(_ server: String) throws -> Credentials? {
        let (status, output) = try run("get", input: server)
        guard status == 0 else {
            // Helpers say "credentials not found" on standard output, and fail.
            if String(decoding: output, as: UTF8.self).contains("not found") { return nil }
            throw failure("exited with status \(status)")
        }
        guard let root = try? JSONNode.parse(output), let user = root["Username"]?.string,
            let secret = root["Secret"]?.string
        else { throw failure("answered something else than credentials") }
        return user == "<token>" ? .identityToken(secret) : .password(user: user, password: secret)
    }

    func store(_ server: String, user: String, password: String) throws {
        let item = JSONNode.object([
            "ServerURL": .string(server), "Username": .string(user), "Secret": .string(password),
        ])
        let (status, _) = try run("store", input: String(decoding: item.canonical, as: UTF8.self))
        guard status == 0 else { throw failure("did not store the credentials (status \(status))") }
    }

    func erase(_ server: String) throws { _ = try run("erase", input: server) }

    private func run(_ action: String, input: String) throws -> (Int32, [UInt8]) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["docker-credential-\(name)", action]
        let (stdin, stdout) = (Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { throw failure("could not be started", cause: error) }
        // A helper that hangs shall not hang us.
        let timer = DispatchSource.makeTimerSource()
        timer.schedule(deadline: .now() + 30)
        timer.setEventHandler { process.terminate() }
        timer.resume()
        defer { timer.cancel() }
        try? stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try? stdin.fileHandleForWriting.close()
        var output: [UInt8] = []
        while let chunk = try? stdout.fileHandleForReading.read(upToCount: 1 << 16), !chunk.isEmpty {
            output += chunk
            if output.count > 1 << 20 {
                process.terminate()
                throw failure("answered more than 1 MiB")
            }
        }
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }

    private func failure(_ what: String, cause: (any Error)? = nil) -> RegistryError {
        RegistryError(.unauthorized, "the credential helper docker-credential-\(name) \(what)", cause: cause)
    }
}
