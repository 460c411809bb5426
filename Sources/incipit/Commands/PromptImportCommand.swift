import ArgumentParser
import Foundation
import Kernels
import LanguageModels
import OCIArtifacts
import PromptRegistry
import SoftPrompts

struct PromptImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take prompts in: OCI layouts, PEFT folders, KoboldAI archives.",
        discussion: """
            incipit prompt import task.tar                                    a layout, under the names it gives
            incipit prompt import layout --name team/task                     a layout, under this name
            incipit prompt import my-adapter --base MODEL --name team/task    a folder of PEFT

            From PEFT: what it saves for PROMPT_TUNING, P_TUNING, PREFIX_TUNING, MULTITASK_PROMPT_TUNING (one task, --task), \
            CPT, CARTRIDGE and ADAPTION_PROMPT (llama, mistral); from KoboldAI: soft-prompt archives (.zip). Pickles (adapter_model.bin) are never read. Such \
            files do not say which weights they were trained on: the model you name becomes the prompt's base. A prompt \
            attached to other weights than its own does nothing good.
            """)

    @Argument(help: "OCI layout (folder or .tar), PEFT folder, or KoboldAI .zip.", completion: .file())
    var path: String
    @Option(
        name: [.customLong("name"), .customLong("as")],
        help: "Name to store the prompt under; in a layout, for entries that say none themselves.")
    var name: String?
    @Option(help: "Model that a prompt of PEFT or KoboldAI belongs to.", completion: .file(extensions: ["gguf"]))
    var base: String?
    @Option(help: "Which task of a multi-task prompt of PEFT, from 0.") var task: Int?
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        let name, version, digest, method, placement, base: String
        let virtualTokens: Int
    }

    func run() async throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CommandFailure(.notFound, "there is no \(path)")
        }
        let isLayout =
            isFolder.boolValue
            ? FileManager.default.fileExists(atPath: path + "/oci-layout") : !path.lowercased().hasSuffix(".zip")
        if isLayout { try await importLayout() } else { try await importForeign(isFolder: isFolder.boolValue) }
    }

    /// A prompt of PEFT or KoboldAI: becomes a new version that belongs to `base`.
    private func importForeign(isFolder: Bool) async throws {
        guard let base, let name else {
            throw CommandFailure(
                .usage,
                "\(path) is no OCI layout, and files of PEFT and KoboldAI do not say what they belong to; "
                    + "give --base MODEL and --name NAME")
        }
        let home = Home()
        let promptName = try PromptStore.name(name)
        let loaded = try ModelLoader.load(path: base, pool: ThreadPool(threadCount: CPUTopology.usableCoreCount))
        let identified = try loaded.fingerprint(cache: home.cache)
        let shape = loaded.model.shape.promptShape
        let prompt: SoftPrompt
        if isFolder {
            let folder = try PEFTFolder(path: path, task: task)
            if let own = folder.baseName, !own.isEmpty, !own.lowercased().contains(loaded.name.lowercased()) {
                Output.note("the folder says it was trained on \(own); you say it belongs to \(loaded.name)")
            }
            prompt = try folder.prompt(
                shape: shape, base: identified.base, baseName: loaded.name, baseSource: identified.source,
                training: ["imported_from": .string(folder.configuration["peft_type"]?.stringValue ?? "PEFT")])
        } else {
            prompt = try KoboldPrompt(path: path).prompt(
                shape: shape, base: identified.base, baseName: loaded.name, baseSource: identified.source)
        }
        let stored = try await PromptStore(home: home).save(prompt, name: promptName)
        if json {
            return try Output.json(
                Report(
                    name: promptName.description, version: stored.version, digest: stored.digest, method: prompt.method,
                    placement: prompt.placement.rawValue, base: identified.base.fingerprint,
                    virtualTokens: prompt.virtualTokenCount))
        }
        Output.line(
            "stored \(promptName):\(stored.version)  \(stored.digest): \(prompt.virtualTokenCount) virtual tokens of "
                + "\(prompt.method), base \(identified.base.short)")
    }

    /// Every tagged soft prompt of an OCI image layout, as it is.
    private func importLayout() async throws {
        let fallback = try name.map(PromptStore.name)
        let store = try PromptStore()
        let anonymous = try RepositoryName("imported")
        let layout = try LayoutStore(path: path, repository: fallback ?? anonymous)
        let policy = try TrustPolicy(path: Home().trustPolicy)
        var imported: [[String: String]] = []
        for repository in try await layout.repositories() {
            for tag in try await layout.tags(in: repository, last: nil, limit: nil)
            where !tag.isBaseAnchor && !tag.isReferrersFallback {
                guard let stored = try await layout.manifest(.tag(tag), in: repository),
                    let manifest = try? Manifest.parse(stored.bytes, mediaType: stored.mediaType),
                    manifest.effectiveArtifactType == MediaType.softPrompt
                else { continue }
                guard repository != anonymous || fallback != nil else {
                    throw CommandFailure(.usage, "the layout does not name its prompts; give a name: --name NAME")
                }
                try await policy.check(stored, in: repository, of: layout, names: [repository])
                let receipt = try await copyArtifact(
                    .tag(tag), from: layout, repository: repository, to: store.store, repository: repository,
                    includeReferrers: true)
                _ = try await store.registry.load(.digest(receipt.digest), of: repository)
                imported.append(["name": "\(repository):\(tag)", "digest": "\(receipt.digest)"])
                if !json { Output.line("imported \(repository):\(tag)  \(receipt.digest)") }
            }
        }
        if json, !imported.isEmpty { return try Output.json(imported) }
        if imported.isEmpty { throw CommandFailure(.data, "there is no tagged soft prompt in \(path)") }
    }
}
