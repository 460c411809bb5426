import ArgumentParser
import Foundation
import OCIArtifacts
import OCIServer
import PromptRegistry

struct AccessCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "access", abstract: "Accounts of the registry that `incipit serve --auth` asks for.",
        discussion: """
            A principal has rules (which repositories, which actions) and tokens. A token is shown once and stored as a \
            hash; it is the password beside the principal's name. A running server sees changes at once.

              incipit access grant ci --repo 'team/*' --allow pull,push
              incipit access token ci --days 90
              incipit access grant --everyone --repo 'public/**' --allow pull

            Actions: pull, push, delete, promote (move protected tags), metrics. Patterns: * stays within one part of a \
            name, ** does not.
            """,
        subcommands: [
            AccessGrantCommand.self, AccessTokenCommand.self, AccessListCommand.self, AccessRevokeCommand.self,
        ])
}

/// Changes the access list under a lock, so that two commands at once lose nothing.
private func changeAccess<T>(_ change: (inout AccessList) throws -> T) throws -> T {
    let home = Home()
    try Home.makeFolder(home.data)
    let lock = open(home.accessList + ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lock >= 0, flock(lock, LOCK_EX) == 0 else {
        throw CommandFailure(.unavailable, "cannot lock \(home.accessList): \(String(cString: strerror(errno)))")
    }
    defer { close(lock) }
    var list = try AccessList.load(home.accessList)
    let result = try change(&list)
    try list.save(home.accessList)
    return result
}

struct AccessGrantCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grant", abstract: "Let a principal, or everyone, do something in some repositories.")

    @Argument(help: "The principal's name.") var name: String?
    @Flag(help: "Everyone, without an account.") var everyone = false
    @Option(help: "Pattern of repositories: team/gloss, team/*, team/**, **.") var repo: String
    @Option(help: "Actions, separated by commas.") var allow: String

    func validate() throws {
        guard (name == nil) == everyone else { throw ValidationError("Name a principal, or say --everyone.") }
    }

    func run() async throws {
        let pattern: RepositoryGlob
        do { pattern = try RepositoryGlob(repo) } catch { throw CommandFailure(.usage, "\(error)") }
        var actions: Set<AccessList.Action> = []
        for word in allow.split(separator: ",") {
            guard let action = AccessList.Action(rawValue: String(word)) else {
                let known = AccessList.Action.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommandFailure(.usage, "“\(word)” is no action; there are \(known)")
            }
            actions.insert(action)
        }
        guard !actions.isEmpty else { throw CommandFailure(.usage, "--allow names no action") }
        if everyone, !actions.isSubset(of: [.pull]) {
            throw CommandFailure(.usage, "everyone may be allowed to pull and nothing more")
        }
        let rule = AccessList.Rule(pattern, actions)
        try changeAccess { list in try list.grant(rule, to: name) }
        let words = actions.map(\.rawValue).sorted().joined(separator: ", ")
        Output.line("\(name ?? "everyone") may \(words) in \(pattern)")
    }
}

struct AccessTokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Make a token for a principal and print it: the only time it can be seen.")

    @Argument(help: "The principal's name; made when missing.") var name: String
    @Option(help: "Days until it expires (default: never).") var days: Double?

    func validate() throws { try days.checked("--days", in: 0.001...36_500) }

    func run() async throws {
        let expires = days.map { Date().addingTimeInterval($0 * 86_400) }
        let (secret, hasRules) = try changeAccess { list in
            let secret = try list.addToken(for: name, expires: expires)
            return (secret, list.principals.first { $0.name == name }?.rules.isEmpty == false)
        }
        Output.line(secret)
        if !hasRules {
            Output.note("\(name) may do nothing yet: incipit access grant \(name) --repo 'team/*' --allow pull,push")
        }
    }
}

struct AccessListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Show principals, rules and tokens.")

    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
        let list = try AccessList.load(Home().accessList)
        if json { return try Output.json(list) }
        func show(_ rules: [AccessList.Rule]) {
            for rule in rules {
                Output.line("  \(rule.repositories)  \(rule.actions.map(\.rawValue).sorted().joined(separator: ", "))")
            }
        }
        if !list.anonymous.isEmpty {
            Output.line("everyone")
            show(list.anonymous)
        }
        for principal in list.principals {
            Output.line(principal.name)
            show(principal.rules)
            for token in principal.tokens {
                let end = token.expires.map { "expires \($0.formatted(.iso8601))" } ?? "does not expire"
                Output.line("  token \(token.id)  made \(token.created.formatted(.iso8601)), \(end)")
            }
        }
        if list.anonymous.isEmpty, list.principals.isEmpty {
            Output.line("no accounts; `incipit access token` makes one")
        }
    }
}

struct AccessRevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Take away a token (by its id), or a principal with everything it has.")

    @Argument(help: "A token's id as `access list` shows it, or a principal's name.") var what: String

    func run() async throws {
        let message = try changeAccess { list -> String in
            if list.principals.contains(where: { $0.name == what }) {
                list.principals.removeAll { $0.name == what }
                return "removed \(what), its rules and its tokens"
            }
            for index in list.principals.indices {
                let before = list.principals[index].tokens.count
                list.principals[index].tokens.removeAll { $0.id == what }
                if list.principals[index].tokens.count < before {
                    return "revoked token \(what) of \(list.principals[index].name)"
                }
            }
            throw CommandFailure(
                .notFound, "there is neither a principal nor a token “\(what)”; see incipit access list")
        }
        Output.line(message)
    }
}
