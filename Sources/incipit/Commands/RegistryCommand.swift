import ArgumentParser
import Foundation
import OCIArtifacts
import OCIClient
import PromptRegistry

struct RegistryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "registry", abstract: "Look after the local registry: check, repair, collect, back up, limit.",
        subcommands: [
            RegistryStatusCommand.self, RegistryVerifyCommand.self, RegistryRepairCommand.self,
            RegistryCollectCommand.self, RegistryBackupCommand.self, RegistryRestoreCommand.self,
            RegistryQuotaCommand.self, RegistryUploadsCommand.self,
        ])
}

struct RegistryStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Show how much it holds.")

    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        let path: String
        let repositories, manifests, tags, blobs, blobBytes, storedBytes, openUploads, deleted: Int
    }

    func run() async throws {
        let store = try PromptStore().store
        let figures = try await store.statistics() ?? StoreStatistics()
        let deleted = figures.deletedManifests
        if json {
            return try Output.json(
                Report(
                    path: store.path, repositories: figures.repositories, manifests: figures.manifests,
                    tags: figures.tags, blobs: figures.blobs, blobBytes: figures.blobBytes,
                    storedBytes: figures.storedBytes, openUploads: figures.openUploads, deleted: deleted))
        }
        Output.line(store.path)
        Output.line("  \(figures.repositories) repositories, \(figures.manifests) manifests, \(figures.tags) tags")
        Output.line(
            "  \(figures.blobs) blobs of \(Output.bytes(figures.blobBytes)), stored in \(Output.bytes(figures.storedBytes))"
        )
        Output.line("  \(figures.openUploads) open uploads, \(deleted) deleted manifests that can be had back")
    }
}

struct RegistryVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check that everything is there and whole.",
        discussion: """
            Without options: the catalogue, and that every blob has a file of the right size. --read-data reads and hashes \
            every byte, --sample 5 those of five per cent of the blobs, others each time. Exits with 0 when all is sound, \
            with 65 when not; `incipit registry repair` fetches what is broken from elsewhere.
            """)

    @Flag(help: "Read and hash every byte.") var readData = false
    @Option(help: "Read and hash the bytes of this many per cent of the blobs.") var sample: Double?
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        struct Item: Encodable {
            let digest: String?
            let affected: [String]
            let message: String
        }
        let ok: Bool
        let manifests, blobs, bytesRead: Int
        let problems: [Item]
    }

    func validate() throws { try sample.checked("--sample", in: 0...100) }

    func run() async throws {
        let report = try await PromptStore().store.verify(
            readData: readData || sample != nil, sample: sample.map { $0 / 100 })
        if json {
            try Output.json(
                Report(
                    ok: report.isSound, manifests: report.manifests, blobs: report.blobs, bytesRead: report.bytesRead,
                    problems: report.problems.map {
                        .init(digest: $0.digest?.description, affected: $0.affected, message: $0.message)
                    }))
        } else {
            report.problems.forEach { Output.line("\($0)") }
            Output.line(
                "\(report.manifests) manifests and \(report.blobs) blobs checked, \(Output.bytes(report.bytesRead)) read"
            )
        }
        guard report.isSound else {
            throw CommandFailure(.data, "\(report.problems.count) problems; try incipit registry repair --from HOST")
        }
    }
}

struct RegistryRepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Fetch what is damaged or missing from a registry, layout or backup that has it.",
        discussion: """
            incipit registry repair --from registry.example.com
            incipit registry repair --from backup-folder

            Wrong totals in the catalogue are counted anew, which needs no source.
            """)

    @Option(help: "HOST[:PORT] of a registry, a folder of a backup, or an OCI layout (folder or tar).")
    var from: String?
    @OptionGroup var remote: RemoteOptions

    func run() async throws {
        let source = try source()
        let store = try PromptStore().store
        let report = try await store.verify(readData: true)
        if report.isSound { return Output.line("everything is sound; nothing to repair") }
        let result = try await store.repair(report, from: source ?? MemoryStore())
        for digest in result.repaired { Output.line("repaired \(digest)") }
        if result.hasRecounted { Output.line("counted the catalogue's totals anew") }
        for problem in result.lost { Output.line("lost: \(problem)") }
        guard result.lost.isEmpty else {
            throw CommandFailure(
                .data,
                "\(result.lost.count) of \(report.problems.count) problems remain: "
                    + (from.map { "\($0) lacks them" } ?? "name with --from who has what is missing"))
        }
    }

    private func source() throws -> (any RegistryStore)? {
        guard let from else { return nil }
        if FileManager.default.fileExists(atPath: from + "/catalogue.sqlite") { return try EmbeddedStore(path: from) }
        if FileManager.default.fileExists(atPath: from) {
            return try LayoutStore(path: from, repository: RepositoryName("library"))
        }
        if from.contains("/") || from.isEmpty {
            throw CommandFailure(.notFound, "--from: there is no folder or file “\(from)”, and a host has no path")
        }
        return try remote.store(host: from)
    }
}

struct RegistryCollectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Remove what nothing refers to, while others go on reading and writing.",
        discussion: """
            Blobs go when no version needs them and nobody has used them for a day; deleted versions after a week. A blob \
            that a push is about to re-use is kept.
            """)

    @Option(help: "Hours that unused blobs are kept.") var hours: Double = 24
    @Option(help: "Hours that deleted versions can be had back.") var trashHours: Double = 168

    func validate() throws {
        try Optional(hours).checked("--hours", in: 0...100_000)
        try Optional(trashHours).checked("--trash-hours", in: 0...100_000)
    }

    func run() async throws {
        let report = try await PromptStore().store.collectGarbage(
            leaseDuration: hours * 3600, trashLifetime: trashHours * 3600)
        Output.line(
            "removed \(report.blobs.count) blobs (\(Output.bytes(report.bytesFreed))), \(report.strayFiles) stray files, "
                + "\(report.uploads) expired uploads, \(report.trash) deleted versions")
    }
}

struct RegistryBackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Copy the registry into a folder while it is in use.",
        discussion: """
            A second backup into the same folder copies what is new only. The folder is a registry itself: INCIPIT_HOME can \
            be pointed at a copy of it, `registry repair --from` takes it, and `registry restore` brings it back.
            """)

    @Argument(help: "The folder; made when missing.", completion: .directory) var folder: String

    func validate() throws {
        if folder.isEmpty { throw ValidationError("Name the folder that the backup shall lie in.") }
    }

    func run() async throws {
        let report = try await PromptStore().store.backup(to: folder)
        Output.line(
            "backed up to \(folder): \(report.filesCopied) files copied (\(Output.bytes(report.bytesCopied))), "
                + "\(report.filesKept) were there")
    }
}

struct RegistryRestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Make the registry from a backup, every byte of it verified.")

    @Argument(help: "The folder that `registry backup` wrote.", completion: .directory) var folder: String

    func run() async throws {
        let home = Home()
        try Home.makeFolder(home.data)
        try await EmbeddedStore.restore(from: folder, to: home.registry)
        Output.line("restored \(home.registry) from \(folder)")
    }
}

struct RegistryQuotaCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quota",
        abstract: "Limit how many bytes a repository may hold; without a pattern, list the limits.",
        discussion: "incipit registry quota 'team/**' --mib 500")

    @Argument(help: "Pattern of repositories; each one that it covers gets the limit.") var repositories: String?
    @Option(help: "The limit in MiB.") var mib: Int?
    @Flag(help: "Take the limit away.") var remove = false

    @Flag(help: "Print JSON.") var json = false

    private struct Item: Encodable {
        let repositories: String
        let bytes: Int
    }

    func validate() throws {
        if repositories == nil, mib != nil || remove {
            throw ValidationError("Name the repositories: incipit registry quota 'team/**' --mib 500")
        }
        if let mib, !(0...(1 << 30)).contains(mib) {
            throw ValidationError("--mib must lie in 0…\(1 << 30), not \(mib).")
        }
        if repositories != nil, (mib == nil) != remove { throw ValidationError("Give --mib or --remove.") }
    }

    func run() async throws {
        let store = try PromptStore().store
        guard let repositories else {
            let items = try await store.quotas()
            if json {
                return try Output.json(items.map { Item(repositories: $0.repositories.description, bytes: $0.bytes) })
            }
            if items.isEmpty { return Output.line("no limits") }
            return Output.line(
                Output.table(
                    ["repositories", "limit"], items.map { [$0.repositories.description, Output.bytes($0.bytes)] }))
        }
        let pattern: RepositoryGlob
        do { pattern = try RepositoryGlob(repositories) } catch { throw CommandFailure(.usage, "\(error)") }
        try await store.setQuota(pattern, bytes: mib.map { $0 << 20 })
        Output.line(mib.map { "\(pattern) may hold \($0) MiB" } ?? "\(pattern) has no limit of its own")
    }
}

struct RegistryUploadsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uploads", abstract: "List uploads that have begun and not ended, or cancel one.")

    @Option(help: "Cancel the upload with this id.") var cancel: String?
    @Flag(help: "Print JSON.") var json = false

    private struct Item: Encodable {
        let id, repository: String
        let received: Int
        let lastByte: String
    }

    func run() async throws {
        let store = try PromptStore().store
        let uploads = try await store.openUploads()
        if let cancel {
            guard let upload = uploads.first(where: { $0.session.id == cancel }) else {
                throw CommandFailure(
                    .notFound, "there is no upload “\(cancel)”; incipit registry uploads lists what is under way")
            }
            try await store.cancelUpload(cancel, in: upload.session.repository)
            return Output.line("cancelled \(cancel)")
        }
        if json {
            return try Output.json(
                uploads.map {
                    Item(
                        id: $0.session.id, repository: $0.session.repository.description, received: $0.session.offset,
                        lastByte: $0.updated.formatted(.iso8601))
                })
        }
        if uploads.isEmpty { return Output.line("no uploads are under way") }
        Output.line(
            Output.table(
                ["id", "repository", "received", "last byte"],
                uploads.map {
                    [
                        $0.session.id, $0.session.repository.description, Output.bytes($0.session.offset),
                        $0.updated.formatted(.iso8601),
                    ]
                }))
    }
}
