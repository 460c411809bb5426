import ArgumentParser
import Foundation
import GGUF
import Safetensors

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what a model file or folder holds: kind, hyperparameters, tokenizer, tensors, fingerprint.",
        discussion: """
            Reads GGUF (a model, all parts of a split one, or what stands beside a model: LoRA adapter, control vector, \
            importance matrix, projector, vocabulary), safetensors files and their index, and Hugging Face folders of a \
            model or an adapter. Only headers are read, unless a fingerprint is computed.
            """)

    @Argument(
        help: "GGUF or safetensors file, index, or folder.", completion: .file(extensions: ["gguf", "safetensors"]))
    var model: String
    @Flag(help: "List every tensor instead of a summary by kind.") var tensors = false
    @Flag(help: "Leave out the fingerprint, which reads the whole file once.") var noFingerprint = false
    @Flag(help: "Print JSON, all tensors included.") var json = false

    func run() throws {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: model, isDirectory: &isFolder)
        if exists, isFolder.boolValue || model.hasSuffix(".safetensors") || model.hasSuffix(".json") {
            let inspection = try SafetensorsInspection(path: model, isFolder: isFolder.boolValue)
            return json ? try Output.json(inspection.report) : inspection.print(allTensors: tensors)
        }
        let inspection = try GGUFInspection(path: model, fingerprint: !noFingerprint)
        json ? try Output.json(inspection.report) : inspection.print(allTensors: tensors)
    }

    /// Keys and short values, aligned.
    static func printSection(_ title: String, _ values: [(String, String)]) {
        guard !values.isEmpty else { return }
        Output.line("\n\(title)")
        let width = values.map(\.0.count).max() ?? 0
        for (key, value) in values {
            let flat = value.replacingOccurrences(of: "\n", with: "⏎")
            let shown = flat.count > 80 ? flat.prefix(79) + "…" : flat[...]
            Output.line("  \(key.padding(toLength: width, withPad: " ", startingAt: 0))  \(shown)")
        }
    }
}
