import ArgumentParser
import Conversion
import Foundation
import GGUF
import OCIArtifacts
import PromptRegistry
import SoftPrompts

struct PromptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prompt", abstract: "List, show, tag, import and export stored prompts.",
        subcommands: [
            PromptListCommand.self, PromptShowCommand.self, PromptTagCommand.self, PromptImportCommand.self,
            PromptExportCommand.self,
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

struct PromptListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List stored prompts, all or those that belong to a model.")

    @Argument(help: "Only versions of this prompt.") var name: String?
    @Option(help: "Only prompts trained on this model (a GGUF file).") var base: String?
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
        let home = Home()
        let fingerprint = try base.map { path in
            try ModelFingerprint.compute(of: try GGUFFile(path: path), cacheFolder: home.cache + "/fingerprints").base
        }
        let records = try await PromptStore(home: home).registry.list(
            base: fingerprint, name: try name.map(PromptStore.name))
        let rows = records.map(PromptRow.init)
        if json { return try Output.json(rows) }
        if rows.isEmpty {
            return Output.line(
                "no prompts\(fingerprint.map { " for base \($0.short)" } ?? ""); `incipit tune` makes one")
        }
        Output.line(
            Output.table(
                ["name", "tags", "method", "tokens", "base", "metrics", "digest"],
                rows.map { row in
                    [
                        row.name, row.tags.joined(separator: " "), row.method, row.tokens.map(String.init) ?? "",
                        String(row.base.dropFirst("sha256:".count).prefix(12)),
                        row.metrics.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "),
                        String(row.digest.prefix("sha256:".count + 12)),
                    ]
                }))
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

    func run() async throws {
        let target = try PromptStore.localReference(reference)
        if tag.wholeMatch(of: /v[0-9]+/) != nil {
            throw CommandFailure(
                .usage, "\(tag) would pass for a version number, and those only `tune` gives out; choose a word")
        }
        let store = try PromptStore()
        try await store.registry.setTag(
            try Tag(tag), to: target.reference ?? .tag(.latest), of: target.repository)
        Output.line("\(target.repository):\(tag) is \(target.reference.map { "\($0)" } ?? "latest")")
    }
}

struct PromptExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a version as a folder that Hugging Face PEFT loads.")

    @Argument(help: "NAME, NAME:TAG or NAME@DIGEST.") var reference: String
    @Argument(help: "Folder to write; made when missing.") var folder: String
    @Flag(help: "Write PEFT's two files alone, without ours, which says to which weights the prompt belongs.")
    var peft = false

    func run() async throws {
        _ = try PromptStore.localReference(reference)
        let loaded = try await PromptStore().registry.load(reference)
        try Home.makeFolder(folder)
        if peft {
            try loaded.files.writePEFT(toFolder: folder)
            return Output.line(
                "wrote \(SoftPromptFile.tensorFileName) and \(SoftPromptFile.peftConfigurationFileName) to \(folder)")
        }
        try loaded.files.write(toFolder: folder)
        Output.line(
            "wrote \(SoftPromptFile.tensorFileName), \(SoftPromptFile.peftConfigurationFileName) and "
                + "\(SoftPromptFile.configurationFileName) to \(folder)")
    }
}
