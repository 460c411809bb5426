import ArgumentParser
import Conversion
import Foundation
import GGUF
import TensorTypes

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Compare two models: metadata, tensors, and how far their numbers are apart.",
        discussion: """
            Models may lie in different containers and types: each tensor of A is compared, decoded, with the one of the \
            same name in B. Errors are relative to A, so name the original first.

              incipit diff model-f16.gguf model-q4.gguf              what quantizing cost
              incipit diff SmolLM2-135M smollm2.gguf --tensors       folder against file, tensor by tensor

            rel is the root mean square error by the root mean square of A's tensor; cos the cosine between both. Exits with \
            0 when all is equal, with 1 when anything differs.
            """)

    @Argument(help: "GGUF file or Hugging Face folder: the original.", completion: .file()) var a: String
    @Argument(help: "GGUF file or Hugging Face folder.", completion: .file()) var b: String
    @Flag(help: "List every tensor; otherwise the ten of greatest relative error.") var tensors = false
    @Flag(help: "Print JSON, all tensors included.") var json = false

    private struct Report: Encodable {
        struct Key: Encodable { let key: String; let a, b: String? }
        struct Tensor: Encodable {
            let name, typeA, typeB: String
            let dimensionsA, dimensionsB: [Int]
            let rmse, relative, cosine, maximum: Double?
            let position, notFinite: Int?
        }
        let a, b: String
        let equal: Bool
        let metadata: [Key]
        let onlyA, onlyB: [String]
        let rmse, relative, cosine, maximum: Double
        let tensors: [Tensor]
    }

    func run() throws {
        let left = try ModelSourceOpening.open(a)
        let right = try ModelSourceOpening.open(b)
        Interrupt.listen()
        let progress = ByteProgress("comparing")
        let difference = try ModelDifference(of: left, and: right) { done, total, name in
            try progress.update(done * 4, of: total * 4, name)
        }
        progress.finish()
        if json { try Output.json(report(difference)) } else { show(difference) }
        if !difference.isEqual { throw ExitCode(ExitStatus.failure.rawValue) }
    }

    private func report(_ difference: ModelDifference) -> Report {
        let overall = difference.overall
        return Report(
            a: a, b: b, equal: difference.isEqual,
            metadata: difference.metadata.map {
                .init(key: $0.key, a: $0.left.map(Self.text), b: $0.right.map(Self.text))
            }, onlyA: difference.onlyLeft.map(\.name), onlyB: difference.onlyRight.map(\.name),
            rmse: overall.rootMeanSquare, relative: Self.finite(overall.relative), cosine: overall.cosine,
            maximum: overall.greatest,
            tensors: difference.tensors.map { tensor in
                .init(
                    name: tensor.left.name, typeA: tensor.left.type.name, typeB: tensor.right.type.name,
                    dimensionsA: tensor.left.dimensions, dimensionsB: tensor.right.dimensions,
                    rmse: tensor.error?.rootMeanSquare, relative: tensor.error.map { Self.finite($0.relative) },
                    cosine: tensor.error?.cosine, maximum: tensor.error?.greatest, position: tensor.error?.position,
                    notFinite: tensor.error?.notFinite)
            })
    }

    /// JSON has no infinity; it stands for "against all zeros".
    private static func finite(_ value: Double) -> Double { value.isFinite ? value : Double.greatestFiniteMagnitude }

    private func show(_ difference: ModelDifference) {
        if !difference.metadata.isEmpty {
            Output.line("metadata")
            for key in difference.metadata {
                let left = key.left.map(Self.text) ?? "(missing)", right = key.right.map(Self.text) ?? "(missing)"
                Output.line("  \(key.key): \(left) → \(right)")
            }
            Output.line()
        }
        for (side, list) in [(a, difference.onlyLeft), (b, difference.onlyRight)] where !list.isEmpty {
            Output.line("only in \(side)")
            for tensor in list { Output.line("  \(tensor.name)  \(tensor.type)  \(Self.shape(tensor))") }
            Output.line()
        }
        for tensor in difference.tensors where tensor.error == nil {
            Output.line(
                "\(tensor.left.name): shapes differ, \(Self.shape(tensor.left)) and \(Self.shape(tensor.right))")
        }
        let differing = difference.tensors.filter {
            $0.error.map { !$0.isExact } ?? false || $0.left.type != $0.right.type
        }
        let shown =
            tensors
            ? difference.tensors.filter { $0.error != nil }
            : Array(
                differing.filter { $0.error != nil }
                    .sorted { ($0.error?.relative ?? 0) > ($1.error?.relative ?? 0) }.prefix(10))
        if !shown.isEmpty {
            Output.line(
                Output.table(
                    ["tensor", "A", "B", "rmse", "rel", "max", "at", "cos", "NaN/Inf"], shown.map(Self.row)))
            Output.line()
        }
        let overall = difference.overall
        let equal = difference.tensors.count { $0.error?.isExact == true }
        Output.line(
            difference.isEqual
                ? "equal: \(difference.tensors.count) tensors, all metadata"
                : "\(equal) of \(difference.tensors.count) tensors hold equal numbers; overall rmse \(Self.number(overall.rootMeanSquare)), "
                    + "rel \(Self.number(overall.relative)), max \(Self.number(overall.greatest)), cos "
                    + String(format: "%.8f", overall.cosine))
    }

    private static func row(_ tensor: ModelDifference.Tensor) -> [String] {
        guard let error = tensor.error else { return [] }
        return [
            tensor.left.name, tensor.left.type.name, tensor.right.type.name, number(error.rootMeanSquare),
            number(error.relative), number(error.greatest), error.position.map(String.init) ?? "",
            String(format: "%.6f", error.cosine), error.notFinite == 0 ? "" : "\(error.notFinite)",
        ]
    }

    private static func number(_ value: Double) -> String { value == 0 ? "0" : String(format: "%.3e", value) }
    private static func shape(_ tensor: SourceTensor) -> String {
        tensor.dimensions.map(String.init).joined(separator: "×")
    }

    private static func text(_ value: GGUFValue) -> String {
        switch value {
        case .string(let string):
            let flat = string.text.replacingOccurrences(of: "\n", with: "⏎")
            return flat.count > 60 ? "“\(flat.prefix(59))…”" : "“\(flat)”"
        case .bool(let flag): return flag ? "true" : "false"
        case .array(let array):
            if array.count <= 8, let ints = array.ints { return "\(ints)" }
            return value.typeText
        default:
            if let integer = value.intValue { return "\(integer)" }
            return value.doubleValue.map { "\(Float($0))" } ?? value.typeText
        }
    }
}
