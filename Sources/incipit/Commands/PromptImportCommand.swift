import ArgumentParser
import Foundation
import LanguageModels
import OCIArtifacts
import SoftPrompts

struct PromptImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Store a prompt made elsewhere: a PEFT folder or a KoboldAI archive.",
        discussion: """
            Reads what Hugging Face PEFT saves for PROMPT_TUNING, P_TUNING, PREFIX_TUNING, MULTITASK_PROMPT_TUNING (one task, \
            --task), CPT and CARTRIDGE, and KoboldAI's soft-prompt archives (.zip). Pickles (adapter_model.bin) are never read.

            Such files do not say which weights they were trained on: the model you name becomes the prompt's base. A prompt \
            attached to other weights than its own does nothing good.

              incipit prompt import MODEL my-adapter --name team/task
            """)

    @OptionGroup var options: ModelOptions
    @Argument(help: "PEFT folder, or KoboldAI .zip.") var path: String
    @Option(help: "Name to store the prompt under.") var name: String
    @Option(help: "Which task of a multi-task prompt, from 0.") var task: Int?
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        let name, version, digest, method, placement, base: String
        let virtualTokens: Int
    }

    func run() async throws {
        let home = Home()
        let promptName = try PromptStore.name(name)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CommandFailure(.notFound, "there is no \(path)")
        }
        let loaded = try options.load()
        let identified = try loaded.fingerprint(cache: home.cache)
        let shape = loaded.model.shape.promptShape
        let prompt: SoftPrompt
        if isFolder.boolValue {
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
}
