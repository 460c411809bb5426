import Conversion
import Foundation
import GGUF
import SoftPrompts
import TensorTypes

/// What `inspect` says about a GGUF file.
struct GGUFInspection {
    struct Report: Encodable {
        struct Part: Encodable {
            let path: String
            let fileBytes, tensors: Int
        }
        let path, kind: String
        let version, alignment, fileBytes, parameters: Int
        let bigEndian: Bool
        /// What matters for the kind.
        let facts: [String: String]
        /// The files of a split model; empty for one file.
        let parts: [Part]
        let architecture, name: String?
        let hyperparameters, general, tokenizer: [String: String]
        let types: [String: Int]
        let tensors: [ListedTensor]
        let fingerprint: BaseFingerprint?
        let warnings: [String]
    }

    let report: Report
    private let kind: GGUFKind
    private let facts: [GGUFKind.Fact]

    init(path: String, fingerprint wantsFingerprint: Bool) throws {
        let file: GGUFFile
        do {
            file = try GGUFFile(path: path)
        } catch let error as GGUFError where error.code == .notFirstPart || error.code == .brokenSplit {
            // What can be seen of the one part is worth showing; what is wrong with the others is said beside it.
            guard let part = try? GGUFFile(path: path, split: .partAlone) else { throw error }
            Output.note("note: \(error)")
            file = part
        }
        let architecture = try file.metadata.stringIfPresent("general.architecture")
        kind = GGUFKind.of(file)
        facts = kind.facts(of: file)
        // A file without an embedding (an adapter, a vocabulary) has no fingerprint; everything else is worth showing.
        let hasFingerprint =
            wantsFingerprint && kind.name == GGUFKind.model.name && file.tensor(named: "token_embd.weight") != nil
            && architecture != nil
        let fingerprint =
            hasFingerprint
            ? try ModelFingerprint.compute(of: file, cacheFolder: Home().cache + "/fingerprints") : nil
        let isSplit = file.parts.count > 1
        report = Report(
            path: path, kind: kind.name, version: file.version, alignment: file.alignment,
            fileBytes: file.fileByteCount, parameters: file.tensors.reduce(0) { $0 + $1.elementCount },
            bigEndian: file.isBigEndian,
            facts: Dictionary(facts.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first }),
            parts: isSplit
                ? file.parts.map { .init(path: $0.file.path, fileBytes: $0.file.count, tensors: $0.tensors.count) }
                : [],
            architecture: architecture, name: try file.metadata.stringIfPresent("general.name"),
            hyperparameters: Self.values(file, prefix: (architecture ?? "?") + "."),
            general: Self.values(file, prefix: "general."), tokenizer: Self.values(file, prefix: "tokenizer."),
            types: Dictionary(file.tensors.map { ($0.type.name, 1) }, uniquingKeysWith: +),
            tensors: file.tensors.map {
                ListedTensor(
                    name: $0.name, type: $0.type.name, dimensions: $0.dimensions, offset: $0.fileOffset,
                    bytes: $0.byteCount, part: isSplit ? $0.part : nil)
            }, fingerprint: fingerprint?.base, warnings: file.warnings)
    }

    /// Values under a prefix as short texts; long arrays as their length.
    private static func values(_ file: GGUFFile, prefix: String) -> [String: String] {
        var result: [String: String] = [:]
        for entry in file.metadata.entries where entry.key.hasPrefix(prefix) {
            result[String(entry.key.dropFirst(prefix.count))] = text(entry.value)
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

    func print(allTensors: Bool) {
        Output.line("\(report.path)")
        Output.line("  \(kind.title)")
        let order = report.bigEndian ? " (big endian)" : ""
        Output.line(
            "  GGUF v\(report.version)\(order), \(Output.bytes(report.fileBytes)), \(report.tensors.count) tensors, "
                + "\(ListedTensor.count(report.parameters)) parameters")
        if let architecture = report.architecture { Output.line("  architecture  \(architecture)") }
        if let fingerprint = report.fingerprint { Output.line("  fingerprint   \(fingerprint.fingerprint)") }
        for warning in report.warnings { Output.line("  warning       \(warning)") }
        InspectCommand.printSection(kind.title, facts.map { ($0.name, $0.value) })
        InspectCommand.printSection(
            "parts",
            report.parts.map { ($0.path, "\($0.tensors) tensors, \(Output.bytes($0.fileBytes))") })
        for (title, values) in [
            ("hyperparameters", report.hyperparameters), ("tokenizer", report.tokenizer), ("general", report.general),
        ] {
            InspectCommand.printSection(title, values.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        }
        guard !report.tensors.isEmpty else { return }
        Output.line("\ntensors")
        Output.line(ListedTensor.table(report.tensors, all: allTensors))
        if !allTensors { Output.line("\n--tensors lists each one.") }
    }
}
