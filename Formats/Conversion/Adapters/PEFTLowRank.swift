import ByteIO
import Foundation
import GGUF
import Safetensors

/// Adapters in a folder that Hugging Face PEFT wrote: `adapter_config.json` and `adapter_model.safetensors`.
enum PEFTLowRank {
    private static let prefix = "base_model.model."

    static func pairs(folder: String, base: any ModelSource) throws -> [String: LowRankAdapter.Pair] {
        let configuration = try Configuration(path: folder + "/adapter_config.json")
        let file = try SafetensorsFile(path: folder + "/adapter_model.safetensors")
        let rules = try rules(of: base)
        var result: [String: LowRankAdapter.Pair] = [:]
        for tensor in file.tensors {
            guard let (name, isDown) = split(tensor.name) else {
                throw ConversionError(
                    .unsupported,
                    "\(tensor.name.debugDescription) is no matrix of a LoRA adapter; whole weights, biases and magnitudes "
                        + "beside it are not supported", path: file.path, tensor: tensor.name)
            }
            guard let rule = rules[name] else {
                throw ConversionError(
                    .unexpectedTensor,
                    "the adapter changes \(name.debugDescription), which the base \(base.path) has not; it was made for "
                        + "another model, or changes what cannot be adapted", path: file.path, tensor: tensor.name)
            }
            guard isDown else { continue }
            let other = tensor.name.replacing("lora_A", with: "lora_B")
            let up = try file.requireTensor(named: other)
            let down = tensor.shape.compactMap { Int(exactly: $0) }, upper = up.shape.compactMap { Int(exactly: $0) }
            guard down.count == 2, upper.count == 2, down[0] == upper[1], down[0] > 0 else {
                throw ConversionError(
                    .unexpectedTensor, "\(name): the two matrices have the shapes \(tensor.shape) and \(up.shape)",
                    path: file.path, tensor: tensor.name)
            }
            let (rank, outputs) = (down[0], upper[0])
            guard rule.transform.order == .same || outputs == rule.shape[0] else {
                throw ConversionError(
                    .unexpectedTensor,
                    "\(name): the adapter has \(outputs) outputs, the base \(rule.shape[0]); it was made for another "
                        + "model",
                    path: file.path, tensor: tensor.name)
            }
            let rows = try file.floats(of: up)
            var ordered: [Float] = []
            ordered.reserveCapacity(rows.count)
            for row in 0..<outputs {
                let from = rule.transform.order.source(of: row, count: outputs)
                ordered += rows[from * rank..<(from + 1) * rank]
            }
            result[rule.name] = LowRankAdapter.Pair(
                down: try file.floats(of: tensor), up: ordered, rank: rank, inputs: down[1], outputs: outputs,
                scale: configuration.scale(rank: rank))
        }
        for tensor in file.tensors where tensor.name.contains("lora_B") {
            _ = try file.requireTensor(named: tensor.name.replacing("lora_B", with: "lora_A"))
        }
        return result
    }

    /// `base_model.model.X.lora_A.weight`, with the adapter's name after `lora_A` in some files.
    private static func split(_ name: String) -> (module: String, isDown: Bool)? {
        guard name.hasPrefix(prefix) else { return nil }
        let rest = name.dropFirst(prefix.count)
        for (mark, isDown) in [(".lora_A", true), (".lora_B", false)] {
            guard let range = rest.range(of: mark, options: .backwards) else { continue }
            let tail = rest[range.upperBound...].split(separator: ".", omittingEmptySubsequences: false)
            guard tail.first == "", tail.last == "weight", tail.count <= 3 else { return nil }
            return (String(rest[..<range.lowerBound]), isDown)
        }
        return nil
    }

    /// The rules of the base's matrices by Hugging Face's module name.
    private static func rules(of base: any ModelSource) throws -> [String: TensorRule] {
        let mapping = try (base as? HuggingFaceSource)?.mapping ?? ArchitectureCatalog.mapping(of: base.metadata)
        guard let embedding = base.tensors.first(where: { $0.name == "token_embd.weight" }) else {
            throw ConversionError(.missingTensor, "there is no tensor token_embd.weight", path: base.path)
        }
        let size = try ModelDimensions(metadata: base.metadata, vocabulary: embedding.rowCount)
        var result: [String: TensorRule] = [:]
        for rule in mapping.tensors(size) where !rule.isStacked && rule.shape.count == 2 {
            if let name = rule.parts.first, name.hasSuffix(".weight") { result[String(name.dropLast(7))] = rule }
        }
        return result
    }

    /// What `adapter_config.json` says.
    private struct Configuration {
        let alpha: Float
        let usesRootOfRank: Bool

        init(path: String) throws {
            let json = try JSONValue.parse(MappedFile(path: path).copyBytes(), path: path)
            func refuse(_ message: String) -> ConversionError { ConversionError(.unsupported, message, path: path) }
            guard json["peft_type"]?.stringValue == "LORA" else {
                let found = json["peft_type"]?.stringValue ?? "missing"
                throw refuse("\"peft_type\" is \(found); only LORA adapters can be applied")
            }
            if json["use_dora"]?.boolValue == true {
                throw refuse("the adapter is a DoRA, which also scales weights; only plain LoRA can be applied")
            }
            if let bias = json["bias"]?.stringValue, bias != "none" {
                throw refuse("the adapter changes biases (\"bias\": \"\(bias)\"), which cannot be applied")
            }
            for key in ["rank_pattern", "alpha_pattern"] where json[key]?.objectValue?.isEmpty == false {
                guard key == "alpha_pattern" else { continue }  // ranks are the matrices' own
                throw refuse("\"alpha_pattern\" gives single modules another scale, which is not supported")
            }
            if json["modules_to_save"]?.arrayValue?.isEmpty == false {
                throw refuse("the adapter replaces whole modules (\"modules_to_save\"), which cannot be applied")
            }
            guard let alpha = json["lora_alpha"]?.doubleValue, alpha.isFinite else {
                throw ConversionError(.malformed, "\"lora_alpha\" is missing or no number", path: path)
            }
            self.alpha = Float(alpha)
            usesRootOfRank = json["use_rslora"]?.boolValue ?? false
        }

        func scale(rank: Int) -> Float { alpha / (usesRootOfRank ? Float(rank).squareRoot() : Float(rank)) }
    }
}

/// What a path is.
enum FileStatus {
    static func isFolder(_ path: String) throws -> Bool {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw ConversionError(.missingFile, "there is no such file or folder", path: path)
        }
        return isFolder.boolValue
    }
}
