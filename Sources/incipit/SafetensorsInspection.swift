import ByteIO
import Foundation
import Safetensors

/// What `inspect` says about safetensors: a file, an index, a model's folder, an adapter's folder.
struct SafetensorsInspection {
    struct Report: Encodable {
        struct File: Encodable {
            let path: String
            let fileBytes, tensors: Int
            let metadata: [String: String]
        }
        let path, kind: String
        let fileBytes, parameters: Int
        /// What matters of `config.json` or `adapter_config.json`.
        let facts: [String: String]
        let files: [File]
        let types: [String: Int]
        let tensors: [ListedTensor]
        let warnings: [String]
    }

    let report: Report
    private let title: String
    private let facts: [(String, String)]

    init(path: String, isFolder: Bool) throws {
        let folder = path.hasSuffix("/") ? String(path.dropLast()) : path
        var kind = ("safetensors", "safetensors")
        var facts: [(String, String)] = []
        var opened = path
        if isFolder, FileManager.default.fileExists(atPath: folder + "/adapter_config.json") {
            opened = folder + "/adapter_model.safetensors"
            kind = ("adapter-folder", "adapter folder (PEFT)")
            facts = try Self.facts(folder + "/adapter_config.json", Self.adapterKeys)
        } else if isFolder {
            kind = ("model-folder", "model folder (Hugging Face)")
            if FileManager.default.fileExists(atPath: folder + "/config.json") {
                facts = try Self.facts(folder + "/config.json", Self.configurationKeys)
            }
        } else if path.hasSuffix(".json") {
            kind = ("index", "index of safetensors files")
        }
        let model = try SafetensorsModel(path: opened)
        title = kind.1
        self.facts = facts
        let isSplit = model.files.count > 1
        report = Report(
            path: path, kind: kind.0, fileBytes: model.files.reduce(0) { $0 + $1.file.count },
            parameters: model.tensors.reduce(0) { $0 + $1.elementCount },
            facts: Dictionary(facts, uniquingKeysWith: { first, _ in first }),
            files: model.files.map { file in
                .init(
                    path: file.path, fileBytes: file.file.count, tensors: file.tensors.count,
                    metadata: Dictionary(
                        (file.metadata ?? []).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }))
            }, types: Dictionary(model.tensors.map { ($0.type.name, 1) }, uniquingKeysWith: +),
            tensors: model.tensors.map { tensor in
                ListedTensor(
                    name: tensor.name, type: tensor.type.name, dimensions: tensor.dimensions,
                    offset: model.file(of: tensor).dataOffset + tensor.dataOffsets.lowerBound, bytes: tensor.byteCount,
                    part: isSplit ? tensor.part : nil)
            }, warnings: model.warnings)
    }

    private static let adapterKeys = [
        "peft_type", "base_model_name_or_path", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules",
        "bias", "use_rslora", "use_dora", "fan_in_fan_out", "num_virtual_tokens", "token_dim", "num_layers",
        "num_attention_heads", "encoder_hidden_size", "prompt_tuning_init_text",
    ]

    private static let configurationKeys = [
        "architectures", "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size", "max_position_embeddings", "rope_theta",
        "rms_norm_eps", "tie_word_embeddings", "torch_dtype", "dtype", "num_experts", "num_local_experts",
    ]

    /// The values of some keys of a configuration file, those that are there and not null.
    private static func facts(_ path: String, _ keys: [String]) throws -> [(String, String)] {
        let json = try JSONValue.parse(MappedFile(path: path).copyBytes(), path: path)
        return keys.compactMap { key in
            guard let value = json[key], !value.isNull else { return nil }
            if let list = value.arrayValue, list.allSatisfy({ $0.stringValue != nil }) {
                return (key, list.compactMap(\.stringValue).joined(separator: ", "))
            }
            return (key, value.stringValue ?? value.compactText)
        }
    }

    func print(allTensors: Bool) {
        Output.line("\(report.path)")
        Output.line("  \(title)")
        let types = report.types.sorted { $0.value > $1.value }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        Output.line(
            "  \(report.files.count == 1 ? "one file" : "\(report.files.count) files"), \(Output.bytes(report.fileBytes)), "
                + "\(report.tensors.count) tensors (\(types)), \(ListedTensor.count(report.parameters)) parameters")
        for warning in report.warnings { Output.line("  warning       \(warning)") }
        InspectCommand.printSection("configuration", facts)
        if report.files.count > 1 {
            InspectCommand.printSection(
                "files", report.files.map { ($0.path, "\($0.tensors) tensors, \(Output.bytes($0.fileBytes))") })
        }
        // Parts of a model usually repeat the first one's metadata.
        InspectCommand.printSection(
            "metadata", (report.files.first?.metadata ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        Output.line("\ntensors")
        Output.line(ListedTensor.table(report.tensors, all: allTensors))
        if !allTensors { Output.line("\n--tensors lists each one.") }
    }
}
