import ArgumentParser
import Conversion
import Foundation
import GGUF
import SoftPrompts
import TensorTypes

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what a GGUF file holds: architecture, hyperparameters, tokenizer, tensors, sizes, fingerprint.")

    @Argument(help: "GGUF file.", completion: .file(extensions: ["gguf"])) var model: String
    @Flag(help: "List every tensor instead of a summary by kind.") var tensors = false
    @Flag(help: "Leave out the fingerprint, which reads the whole file once.") var noFingerprint = false
    @Flag(help: "Print JSON, all tensors included.") var json = false

    private struct Report: Encodable {
        struct Tensor: Encodable {
            let name, type: String
            let dimensions: [Int]
            let offset, bytes: Int
        }
        let path: String
        let version, alignment, fileBytes, parameters: Int
        let architecture, name: String?
        let hyperparameters, general, tokenizer: [String: String]
        let types: [String: Int]
        let tensors: [Tensor]
        let fingerprint: BaseFingerprint?
        let warnings: [String]
    }

    func run() throws {
        let file = try GGUFFile(path: model)
        let architecture = try file.metadata.stringIfPresent("general.architecture")
        // A file without an embedding (an adapter, a vocabulary) has no fingerprint; everything else is worth showing.
        let hasFingerprint = !noFingerprint && file.tensor(named: "token_embd.weight") != nil && architecture != nil
        let fingerprint =
            hasFingerprint
            ? try ModelFingerprint.compute(of: file, cacheFolder: Home().cache + "/fingerprints") : nil
        let parameters = file.tensors.reduce(0) { $0 + $1.elementCount }
        let report = Report(
            path: model, version: file.version, alignment: file.alignment, fileBytes: file.file.count,
            parameters: parameters, architecture: architecture, name: try file.metadata.stringIfPresent("general.name"),
            hyperparameters: values(file, prefix: (architecture ?? "?") + "."),
            general: values(file, prefix: "general."), tokenizer: values(file, prefix: "tokenizer."),
            types: Dictionary(file.tensors.map { ($0.type.name, 1) }, uniquingKeysWith: +),
            tensors: file.tensors.map {
                .init(
                    name: $0.name, type: $0.type.name, dimensions: $0.dimensions, offset: $0.fileOffset,
                    bytes: $0.byteCount)
            }, fingerprint: fingerprint?.base, warnings: file.warnings)
        if json { return try Output.json(report) }
        print(report)
    }

    /// Values under a prefix as short texts; arrays as their length.
    private func values(_ file: GGUFFile, prefix: String) -> [String: String] {
        var result: [String: String] = [:]
        for entry in file.metadata.entries where entry.key.hasPrefix(prefix) {
            result[String(entry.key.dropFirst(prefix.count))] = Self.text(entry.value)
        }
        return result
    }

    private static func text(_ value: GGUFValue) -> String {
        switch value {
        case .string(let string): return string.text
        case .bool(let flag): return flag ? "true" : "false"
        case .array(let array):
            if array.count <= 8, let ints = array.ints { return "\(ints)" }
            return "\(array.count) × \(array.elementType)"
        default:
            if let integer = value.intValue { return "\(integer)" }
            return value.doubleValue.map { "\(Float($0))" } ?? value.typeText
        }
    }

    private func print(_ report: Report) {
        func section(_ title: String, _ values: [String: String]) {
            guard !values.isEmpty else { return }
            Output.line("\n\(title)")
            let width = values.keys.map(\.count).max() ?? 0
            for (key, value) in values.sorted(by: { $0.key < $1.key }) {
                let flat = value.replacingOccurrences(of: "\n", with: "⏎")
                let shown = flat.count > 80 ? flat.prefix(79) + "…" : flat[...]
                Output.line("  \(key.padding(toLength: width, withPad: " ", startingAt: 0))  \(shown)")
            }
        }
        Output.line("\(report.path)")
        Output.line(
            "  GGUF v\(report.version), \(Output.bytes(report.fileBytes)), \(report.tensors.count) tensors, "
                + "\(Self.count(report.parameters)) parameters")
        if let architecture = report.architecture { Output.line("  architecture  \(architecture)") }
        if let fingerprint = report.fingerprint { Output.line("  fingerprint   \(fingerprint.fingerprint)") }
        for warning in report.warnings { Output.line("  warning       \(warning)") }
        section("hyperparameters", report.hyperparameters)
        section("tokenizer", report.tokenizer)
        section("general", report.general)
        Output.line("\ntensors")
        let rows =
            tensors
            ? report.tensors.map { tensor in
                [
                    tensor.name, tensor.type, tensor.dimensions.map(String.init).joined(separator: "×"),
                    Output.bytes(tensor.bytes),
                ]
            } : Self.summary(report.tensors)
        Output.line(
            Output.table(tensors ? ["tensor", "type", "shape", "size"] : ["tensors", "type", "shape", "size"], rows))
        if !tensors { Output.line("\n--tensors lists each one.") }
    }

    /// Tensors that differ only in their layer number, as one row.
    private static func summary(_ tensors: [Report.Tensor]) -> [[String]] {
        var order: [String] = []
        var groups: [String: (example: Report.Tensor, kind: String, count: Int, bytes: Int)] = [:]
        for tensor in tensors {
            let parts = tensor.name.split(separator: ".", omittingEmptySubsequences: false)
            let kind = parts.map { Int($0) == nil ? String($0) : "N" }.joined(separator: ".")
            let shape = tensor.dimensions.map(String.init).joined(separator: "×")
            let key = "\(kind)\u{0}\(tensor.type)\u{0}\(shape)"
            if groups[key] == nil { order.append(key) }
            let known = groups[key] ?? (tensor, kind, 0, 0)
            groups[key] = (known.example, known.kind, known.count + 1, known.bytes + tensor.bytes)
        }
        return order.compactMap { groups[$0] }.map { group in
            [
                group.count > 1 ? "\(group.kind)  (\(group.count) of them)" : group.example.name, group.example.type,
                group.example.dimensions.map(String.init).joined(separator: "×"), Output.bytes(group.bytes),
            ]
        }
    }

    /// 134515008 → "134.5 M".
    private static func count(_ value: Int) -> String {
        switch value {
        case 1_000_000_000...: String(format: "%.2f G", Double(value) / 1e9)
        case 1_000_000...: String(format: "%.1f M", Double(value) / 1e6)
        case 1000...: String(format: "%.1f K", Double(value) / 1e3)
        default: "\(value)"
        }
    }
}
