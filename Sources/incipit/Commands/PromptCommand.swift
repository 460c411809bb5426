import ArgumentParser
import Conversion
import Foundation
import GGUF
import OCIArtifacts
import PromptRegistry
import SoftPrompts

struct PromptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prompt", abstract: "List, show, compare, tag, sign, import, export and delete stored prompts.",
        groupedSubcommands: [
            CommandGroup(
                name: "Look",
                subcommands: [
                    PromptListCommand.self, PromptShowCommand.self, PromptDiffCommand.self, PromptLogCommand.self,
                    PromptLineageCommand.self,
                ]),
            CommandGroup(
                name: "Change",
                subcommands: [
                    PromptTagCommand.self, PromptRollbackCommand.self, PromptProtectCommand.self,
                    PromptDeleteCommand.self, PromptUndeleteCommand.self, PromptLockCommand.self,
                    PromptCompressCommand.self,
                ]),
            CommandGroup(
                name: "Move", subcommands: [PromptExportCommand.self, PromptImportCommand.self]),
            CommandGroup(name: "Trust", subcommands: [PromptVerifyCommand.self, PromptTrustCommand.self]),
        ])
}

/// A stored version as lists and JSON show it.
struct PromptRow: Encodable {
    let name, digest, base, baseName, method: String
    let tags: [String]
    let tokens: Int?
    let metrics: [String: String]

    init(_ record: PromptRecord) {
        name = record.name.description
        digest = record.digest.description
        base = record.baseFingerprint?.description ?? ""
        baseName = record.baseName
        method = record.method
        tags = record.tags.map(\.description)
        tokens = record.tokens
        metrics = record.metrics
    }
}

struct PromptShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a version: where it came from, how it was trained, what it belongs to.")

    @Argument(help: "NAME, NAME:TAG or NAME@DIGEST.") var reference: String
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        let prompt: PromptRow
        let digest, placement, base: String
        let virtualTokens, columns: Int
        let training: [String: String]
        let layers: [String]
    }

    func run() async throws {
        _ = try PromptStore.localReference(reference)
        let loaded = try await PromptStore().registry.load(reference)
        let prompt = loaded.prompt
        let training = prompt.training.mapValues { value -> String in
            if case .string(let text) = value { return text }
            return String(decoding: value.canonicalBytes(), as: UTF8.self)
        }
        if json {
            return try Output.json(
                Report(
                    prompt: PromptRow(loaded.record), digest: loaded.record.digest.description,
                    placement: prompt.placement.rawValue, base: prompt.base.fingerprint,
                    virtualTokens: prompt.virtualTokenCount, columns: prompt.columns, training: training,
                    layers: loaded.extraLayers.map(\.mediaType)))
        }
        Output.line("\(loaded.record.displayName)  \(loaded.record.digest)")
        Output.line("  base       \(prompt.baseName)  \(prompt.base.fingerprint)")
        Output.line(
            "  method     \(prompt.method), \(prompt.virtualTokenCount) virtual tokens × \(prompt.columns) numbers")
        Output.line("  tags       \(loaded.record.tags.map(\.description).joined(separator: " "))")
        let width = training.keys.map(\.count).max() ?? 0
        for (key, value) in training.sorted(by: { $0.key < $1.key }) {
            let flat = value.replacingOccurrences(of: "\n", with: "⏎")
            Output.line(
                "  \(key.padding(toLength: max(width, key.count), withPad: " ", startingAt: 0)) \(flat.count > 90 ? flat.prefix(89) + "…" : flat[...])"
            )
        }
    }
}

struct PromptTagCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag", abstract: "Point a movable tag (production, staging, …) at a version.")

    @Argument(help: "NAME:TAG or NAME@DIGEST that the tag shall point at.") var reference: String
    @Argument(help: "The tag to set.") var tag: String
    @Option(help: "The reason, for the journal (incipit prompt log); needed for protected tags.") var why: String?

    func run() async throws {
        let target = try PromptStore.localReference(reference)
        if tag.wholeMatch(of: /v[0-9]+/) != nil {
            throw CommandFailure(
                .usage, "\(tag) would pass for a version number, and those only `tune` gives out; choose a word")
        }
        let store = try PromptStore()
        let name = try Tag(tag)
        let note = ChangeNote(who: NSUserName(), why: why ?? "", mayMoveProtectedTags: why != nil)
        try await ChangeNote.$current.withValue(note) {
            try await store.registry.setTag(name, to: target.reference ?? .tag(.latest), of: target.repository)
        }
        Output.line("\(target.repository):\(tag) is \(target.reference.map { "\($0)" } ?? "latest")")
    }
}

struct PromptExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a version as a folder that Hugging Face PEFT loads, or as an OCI layout.",
        discussion: """
            incipit prompt export team/task:v3 folder                   files for PEFT, and ours
            incipit prompt export team/task:v3 folder --peft            files for PEFT alone
            incipit prompt export team/task:v3 layout --layout          an OCI image layout, as skopeo's oci: reads it
            incipit prompt export team/task:v3 task.tar                 the same in one file

            A layout keeps everything: manifest, digests, signatures. Several prompts may go into one folder.
            """)

    @Argument(help: "NAME, NAME:TAG or NAME@DIGEST.") var reference: String
    @Argument(help: "Folder to write, made when missing; or a file NAME.tar.") var folder: String
    @Flag(help: "Write an OCI image layout.") var layout = false
    @Flag(help: "Write the stored files of an int8 or mixed prompt as they are, not as F32 for PEFT.") var exact = false
    @Flag(help: "Write PEFT's two files alone, without ours, which says to which weights the prompt belongs.")
    var peft = false

    func run() async throws {
        let target = try PromptStore.localReference(reference)
        if layout || folder.hasSuffix(".tar") { return try await exportLayout(target) }
        let loaded = try await PromptStore().registry.load(reference)
        try Home.makeFolder(folder)
        // PEFT cannot load int8 or several types: it gets the values that the codes stand for.
        let isQuantized = ["I8", PromptEncoding.mixedName].contains(loaded.record.dtype) && !exact
        let files = isQuantized ? try SoftPromptFile(loaded.prompt) : loaded.files
        if peft {
            try files.writePEFT(toFolder: folder)
            return Output.line(
                "wrote \(SoftPromptFile.tensorFileName) and \(SoftPromptFile.peftConfigurationFileName) to \(folder)")
        }
        try files.write(toFolder: folder)
        Output.line(
            "wrote \(SoftPromptFile.tensorFileName), \(SoftPromptFile.peftConfigurationFileName) and "
                + "\(SoftPromptFile.configurationFileName) to \(folder)")
    }

    private func exportLayout(_ target: Reference) async throws {
        let store = try PromptStore().store
        let isArchive = folder.hasSuffix(".tar")
        let place = isArchive ? folder + ".layout-" + UUID().uuidString.lowercased() : folder
        defer { if isArchive { try? FileManager.default.removeItem(atPath: place) } }
        let layout = try LayoutStore(path: place, repository: target.repository, create: true)
        let receipt = try await copyArtifact(
            target.reference ?? .tag(.latest), from: store, repository: target.repository, to: layout,
            repository: target.repository, includeReferrers: true)
        if isArchive { try layout.writeArchive(to: folder) }
        Output.line("wrote \(target.repository)@\(receipt.digest) to \(folder)")
    }
}
