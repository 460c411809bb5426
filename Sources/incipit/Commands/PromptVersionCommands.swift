import ArgumentParser
import Foundation
import OCIArtifacts
import PromptRegistry

struct PromptLogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Show who moved which tag of a prompt, when, from what to what, and why.")

    @Argument(help: "NAME, or NAME:TAG for one tag alone.") var reference: String
    @Option(help: "At most so many lines.") var limit = 50
    @Flag(help: "Print JSON.") var json = false

    private struct Row: Encodable {
        let at, tag, who, why: String
        let from, to: String?
    }

    func validate() throws {
        if !(1...1_000_000).contains(limit) { throw ValidationError("--limit must lie in 1…1000000, not \(limit).") }
    }

    func run() async throws {
        let target = try PromptStore.localReference(reference)
        let store = try PromptStore().store
        guard try await store.repositoryExists(target.repository) else {
            throw CommandFailure(.notFound, "there is no prompt \(target.repository) in this registry")
        }
        let rows = try await store.tagEvents(in: target.repository, tag: target.tag, limit: limit).map { event in
            Row(
                at: event.at.formatted(.iso8601), tag: event.tag.description, who: event.who, why: event.why,
                from: event.from?.description, to: event.to?.description)
        }
        if json { return try Output.json(rows) }
        func short(_ digest: String?) -> String { digest.map { String($0.dropFirst(7).prefix(12)) } ?? "–" }
        Output.line(
            Output.table(
                ["at", "tag", "from", "to", "who", "why"],
                rows.map { [$0.at, $0.tag, short($0.from), short($0.to), $0.who, $0.why] }))
    }
}

struct PromptRollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Point a tag back at what it meant before its last move.",
        discussion: """
            Goes one step back in the tag's journal; a second rollback goes one further. The move is written to the journal \
            as every other.

              incipit prompt rollback team/task:production --why "answers got longer"
            """)

    @Argument(help: "NAME:TAG.") var reference: String
    @Option(help: "The reason, for the journal; needed for protected tags.") var why: String?

    func run() async throws {
        let target = try PromptStore.localReference(reference)
        guard let tag = target.tag else { throw CommandFailure(.usage, "name the tag to roll back: NAME:TAG") }
        let store = try PromptStore().store
        let note = ChangeNote(who: NSUserName(), why: why ?? "", mayMoveProtectedTags: why != nil)
        let move = try await ChangeNote.$current.withValue(note) {
            try await store.rollback(tag, in: target.repository)
        }
        Output.line("\(target.repository):\(tag) was \(move.from.short) and is \(move.to.short)")
    }
}

struct PromptDiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show what is different between two versions: metadata, training, files, vectors.")

    @Argument(help: "NAME:TAG or NAME@DIGEST.") var left: String
    @Argument(help: "Another; a TAG or DIGEST alone means the same prompt.") var right: String
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
        let first = try PromptStore.localReference(left)
        let isWhole = right.contains("/") || (right.contains(":") && !right.hasPrefix("sha")) || right.contains("@")
        let second = try PromptStore.localReference(
            isWhole ? right : "\(first.repository)\(right.contains(":") ? "@" : ":")\(right)")
        let registry = try PromptStore().registry
        let difference = PromptDifference(
            try await registry.load(first.reference ?? .tag(.latest), of: first.repository),
            try await registry.load(second.reference ?? .tag(.latest), of: second.repository))
        if json { return try Output.json(difference) }
        if difference.isEmpty { return Output.line("the same prompt") }
        for (title, changes) in [
            ("metadata", difference.metadata), ("training", difference.training), ("files", difference.files),
        ] where !changes.isEmpty {
            Output.line(title)
            for change in changes {
                Output.line("  \(change.key)")
                if let left = change.left { Output.line("    - \(Self.flat(left))") }
                if let right = change.right { Output.line("    + \(Self.flat(right))") }
            }
        }
        guard let vectors = difference.vectors else { return Output.line("vectors\n  of different shapes") }
        Output.line("vectors")
        Output.line("  \(vectors.changedTokens) of \(vectors.tokens) virtual tokens differ")
        if vectors.changedTokens > 0 {
            Output.line(String(format: "  largest difference   %.6g", vectors.largestDifference))
            Output.line(String(format: "  relative distance    %.6g", vectors.relativeDistance))
            Output.line(String(format: "  mean cosine          %.6f", vectors.meanCosine))
        }
    }

    private static func flat(_ text: String) -> String {
        let line = text.replacingOccurrences(of: "\n", with: "⏎")
        return line.count > 110 ? line.prefix(109) + "…" : line
    }
}

struct PromptLineageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lineage", abstract: "Show which version was made from which, as a tree.")

    @Argument(help: "NAME.") var name: String

    func run() async throws {
        let records = try await PromptStore().registry.list(name: try PromptStore.name(name))
        func show(_ node: LineageNode, _ lead: String, _ branch: String, _ follow: String) {
            let tags = node.record.tags.map(\.description).joined(separator: " ")
            let metrics = node.record.metrics.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            var line = lead + branch + (tags.isEmpty ? node.record.digest.short : tags)
            if !metrics.isEmpty { line += "  (" + metrics.joined(separator: ", ") + ")" }
            if let missing = node.missingParent { line += "  from \(missing.short), which is not here" }
            Output.line(line)
            for (index, child) in node.children.enumerated() {
                let isLast = index == node.children.count - 1
                show(child, lead + follow, isLast ? "└─ " : "├─ ", isLast ? "   " : "│  ")
            }
        }
        for root in LineageNode.trees(of: records) { show(root, "", "", "") }
    }
}

struct PromptDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete a tag, or a version with all its tags; it can be had back for a week.",
        discussion: """
            NAME:TAG takes the tag away and leaves the version. NAME:vN or NAME@DIGEST deletes the version itself, which \
            needs --force; its number is never given out again.

              incipit prompt delete team/task:v3 --force
              incipit prompt undelete team/task:v3
            """)

    @Argument(help: "NAME:TAG, NAME:vN or NAME@DIGEST.") var reference: String
    @Flag(help: "Delete a version.") var force = false
    @Option(help: "The reason, for the journal; needed for protected tags.") var why: String?

    func run() async throws {
        let target = try PromptStore.localReference(reference)
        guard let wanted = target.reference else {
            throw CommandFailure(.usage, "say what to delete: NAME:TAG, NAME:vN or NAME@DIGEST")
        }
        let store = try PromptStore().store
        guard let stored = try await store.manifest(wanted, in: target.repository) else {
            throw RegistryError.unknownManifest(wanted, in: target.repository)
        }
        var doomed = wanted
        if case .tag(let tag) = wanted, tag.versionNumber != nil { doomed = .digest(stored.digest) }
        let note = ChangeNote(who: NSUserName(), why: why ?? "delete", mayMoveProtectedTags: why != nil)
        try await ChangeNote.$current.withValue(note) {
            try await store.deleteManifest(doomed, in: target.repository, force: force)
        }
        if case .digest = doomed {
            Output.line("deleted \(target.repository)@\(stored.digest.short); incipit prompt undelete brings it back")
        } else {
            Output.line("deleted the tag \(target.repository):\(wanted)")
        }
    }
}

struct PromptUndeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undelete", abstract: "Bring a deleted version back, or list what can be had back.")

    @Argument(help: "NAME:vN or NAME@DIGEST; without it, everything that can be had back is listed.")
    var reference: String?

    func run() async throws {
        let store = try PromptStore().store
        guard let reference else {
            let items = try await store.deletedManifests()
            if items.isEmpty { return Output.line("nothing was deleted lately") }
            return Output.line(
                Output.table(
                    ["name", "tags", "digest", "deleted", "by", "kept until"],
                    items.map { item in
                        [
                            item.repository.description, item.tags.map(\.description).joined(separator: " "),
                            item.digest.short, item.at.formatted(.iso8601), item.who,
                            item.keptUntil.formatted(.iso8601),
                        ]
                    }))
        }
        let target = try PromptStore.localReference(reference)
        let items = try await store.deletedManifests(in: target.repository)
        let match = items.first { item in
            switch target.reference {
            case .tag(let tag): item.tags.contains(tag)
            case .digest(let digest): item.digest == digest
            case nil: false
            }
        }
        guard let match else {
            throw CommandFailure(
                .notFound, "\(reference) is not among what can be had back; see incipit prompt undelete")
        }
        let note = ChangeNote(who: NSUserName(), why: "undelete")
        let tags = try await ChangeNote.$current.withValue(note) {
            try await store.undelete(match.digest, in: target.repository)
        }
        Output.line(
            "\(target.repository)@\(match.digest.short) is back: \(tags.map(\.description).joined(separator: " "))")
    }
}

struct PromptProtectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "protect",
        abstract: "Protect a tag, so that only those who may promote move it; list protected tags.",
        discussion: """
            Over the network a protected tag moves for principals with the action promote (incipit access). On this machine \
            it moves when a reason is given: incipit prompt tag NAME:v3 production --why REASON.

              incipit prompt protect production --repo 'team/**'
            """)

    @Argument(help: "The tag; without it, what is protected is listed.") var tag: String?
    @Option(help: "Pattern of the prompts.") var repo = "**"
    @Flag(help: "Take the protection away.") var remove = false

    func run() async throws {
        let store = try PromptStore().store
        guard let tag else {
            let items = try await store.protectedTags()
            if items.isEmpty { return Output.line("no tag is protected") }
            return Output.line(
                Output.table(["prompts", "tag"], items.map { [$0.repositories.description, $0.tag.description] }))
        }
        let item = ProtectedTag(try Tag(tag), in: try RepositoryGlob(repo))
        guard item.tag.versionNumber == nil else {
            throw CommandFailure(.usage, "\(tag) is a version: it never moves and needs no protection")
        }
        if remove {
            guard try await store.unprotect(item) else {
                throw CommandFailure(.notFound, "\(tag) was not protected in \(repo)")
            }
            return Output.line("\(tag) moves freely again in \(repo)")
        }
        try await store.protect(item)
        Output.line("\(tag) is protected in \(repo)")
    }
}

struct PromptLockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock", abstract: "Pin the digests of prompts in a lock file, or check one.",
        discussion: """
            incipit prompt lock team/task:production      adds or renews the entry
            incipit prompt lock                           checks that everything locked is here, whole
            incipit prompt lock --outdated                lists tags that have moved since

            Deploy by what the lock file says: incipit run MODEL --attach team/task@sha256:…
            """)

    @Argument(help: "NAME:TAG to lock.") var references: [String] = []
    @Option(help: "The lock file.", completion: .file()) var file = "incipit.lock"
    @Flag(help: "List entries whose tag means something else now; exit with 1 when there are any.") var outdated = false

    func run() async throws {
        let registry = try PromptStore().registry
        var lock = try LockFile(path: file)
        for reference in references {
            let target = try PromptStore.localReference(reference)
            let record = try await registry.record(target.reference ?? .tag(.latest), of: target.repository)
            var tag: String?
            if case .digest = target.reference { tag = nil } else { tag = (target.tag ?? .latest).description }
            lock.add(
                .init(name: target.repository, reference: tag, digest: record.digest, base: record.baseFingerprint))
            Output.line("\(reference) is \(record.digest)")
        }
        if !references.isEmpty {
            do { try Data(lock.bytes).write(to: URL(fileURLWithPath: file), options: .atomic) } catch {
                throw CommandFailure(.unavailable, "cannot write \(file): \(error.localizedDescription)")
            }
            return
        }
        guard !lock.entries.isEmpty else {
            throw CommandFailure(.notFound, "\(file) locks nothing; name prompts to lock")
        }
        var moved = 0
        for entry in lock.entries {
            if outdated {
                guard let reference = entry.reference, let tag = try? Tag(reference) else { continue }
                let now = try await registry.backend.manifest(.tag(tag), in: entry.name)?.digest
                if now != entry.digest {
                    moved += 1
                    Output.line(
                        "\(entry.name):\(reference) is \(now?.short ?? "gone"), locked is \(entry.digest.short)")
                }
            } else {
                _ = try await registry.load(.digest(entry.digest), of: entry.name)
            }
        }
        if outdated, moved > 0 {
            throw CommandFailure(.failure, "\(moved) of \(lock.entries.count) entries are outdated")
        }
        if !outdated { Output.line("\(lock.entries.count) locked prompts are here, every byte of them") }
    }
}
