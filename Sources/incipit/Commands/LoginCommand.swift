import ArgumentParser
import Foundation
import OCIClient
import PromptRegistry

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login", abstract: "Log in to a registry: check the credentials and keep them.",
        discussion: """
            They are kept where podman, skopeo and docker keep theirs (or in the credential helper that is configured \
            there), so that one login serves all.

              echo "$TOKEN" | incipit login registry.example.com --user ci --password-stdin
            """)

    @Argument(help: "HOST[:PORT].") var host: String
    @Option(help: "User name.") var user: String
    @Flag(help: "Read the password or token from standard input.") var passwordStdin = false
    @OptionGroup var remote: RemoteOptions

    func run() async throws {
        let password: String
        if passwordStdin {
            password = (readLine(strippingNewline: true) ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
        } else {
            guard isatty(STDIN_FILENO) != 0, let typed = getpass("Password: ") else {
                throw CommandFailure(.usage, "there is no terminal to ask on; pass --password-stdin")
            }
            password = String(cString: typed)
        }
        guard !password.isEmpty else { throw CommandFailure(.usage, "the password is empty") }
        let registry = try RegistryHost(host, plainHTTP: remote.plainHTTP ? true : nil)
        var options = RemoteStore.Options()
        let user = user
        options.credentials = { _ in .password(user: user, password: password) }
        options.authorities = remote.authorities
        try await RemoteStore(host: registry, options: options).ping()
        let store = CredentialStore(path: remote.authFile)
        try store.save(user: user, password: password, for: registry)
        Output.line("logged in to \(host) as \(user); kept in \(store.path)")
    }
}

struct LogoutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "logout", abstract: "Forget a registry's credentials.")

    @Argument(help: "HOST[:PORT].") var host: String
    @Option(name: .customLong("authfile"), help: "Credentials file (default: those of podman and docker).")
    var authFile: String?

    func run() async throws {
        let store = CredentialStore(path: authFile)
        guard try store.forget(try RegistryHost(host)) else {
            throw CommandFailure(.notFound, "there are no credentials of \(host) in \(store.path)")
        }
        Output.line("forgot the credentials of \(host)")
    }
}
