import ByteIO
import GGUF
import Safetensors
import TensorTypes

/// A LoRA adapter (Hu et al. 2021, arXiv 2106.09685) in GGUF's names and layout: for each weight W it changes,
/// W + scale · B·A.
///
/// Read from a GGUF file of the kind `adapter`, or from a folder of Hugging Face PEFT, whose rows of B are brought into
/// the order that GGUF gives the rows of W. Every pair is checked against the base when it is opened.
public struct LowRankAdapter: Sendable {
    /// The two factors of one weight's change.
    public struct Pair: Sendable {
        /// A, `(rank, inputs)`.
        public let down: [Float]
        /// B, `(outputs, rank)`.
        public let up: [Float]
        public let rank: Int
        public let inputs: Int
        public let outputs: Int
        /// What B·A is multiplied by: alpha / rank, or alpha / √rank.
        public let scale: Float
    }

    /// The file or folder.
    public let path: String
    /// By the base tensor's name, such as `blk.0.attn_q.weight`.
    public let pairs: [String: Pair]

    /// - Parameter base: the model it is for.
    /// - Throws: ``ConversionError`` when it is another model's, of another kind than LoRA, or damaged, saying which
    ///   tensor and why; what reading throws.
    public init(path: String, base: any ModelSource) throws {
        self.path = path
        if try FileStatus.isFolder(path) {
            pairs = try PEFTLowRank.pairs(folder: path, base: base)
        } else {
            pairs = try GGUFLowRank.pairs(GGUFFile(path: path), base: base)
        }
        guard !pairs.isEmpty else {
            throw ConversionError(.missingTensor, "the adapter changes no tensor", path: path)
        }
        let tensors = Dictionary(base.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for (name, pair) in pairs.sorted(by: { $0.key < $1.key }) { try check(name, pair, tensors[name], base) }
    }

    private func check(_ name: String, _ pair: Pair, _ tensor: SourceTensor?, _ base: any ModelSource) throws {
        func refuse(_ message: String) -> ConversionError {
            ConversionError(.unexpectedTensor, "\(name): \(message)", path: path, tensor: name)
        }
        guard let tensor else {
            throw refuse("the base \(base.path) has no such tensor; the adapter was made for another model")
        }
        guard tensor.dimensions.count == 2, name != "token_embd.weight" else {
            throw refuse("adapters of embeddings and experts are not supported; those of other matrices are")
        }
        guard tensor.dimensions == [pair.inputs, pair.outputs] else {
            throw refuse(
                "the adapter is for \(pair.outputs) × \(pair.inputs) weights, the base has "
                    + "\(tensor.dimensions[1]) × \(tensor.dimensions[0]); it was made for another model")
        }
        guard pair.scale.isFinite, pair.down.allSatisfy(\.isFinite), pair.up.allSatisfy(\.isFinite) else {
            throw ConversionError(
                .damaged, "\(name): the adapter holds NaN or infinity; fetch it again", path: path, tensor: name)
        }
    }
}

/// An adapter and how strongly it applies.
public struct ScaledAdapter: Sendable {
    public let adapter: LowRankAdapter
    public let scale: Float

    public init(_ adapter: LowRankAdapter, scale: Float = 1) {
        self.adapter = adapter
        self.scale = scale
    }

    /// All changes of one tensor as one: the ranks add up, scales are inside `up`.
    public static func stacked(_ adapters: [ScaledAdapter], for tensor: String) -> LowRankAdapter.Pair? {
        let parts = adapters.compactMap { scaled in scaled.adapter.pairs[tensor].map { ($0, $0.scale * scaled.scale) } }
        guard let first = parts.first?.0 else { return nil }
        let rank = parts.reduce(0) { $0 + $1.0.rank }
        var up: [Float] = []
        up.reserveCapacity(rank * first.outputs)
        for row in 0..<first.outputs {
            for (pair, scale) in parts {
                up += pair.up[row * pair.rank..<(row + 1) * pair.rank].map { $0 * scale }
            }
        }
        return LowRankAdapter.Pair(
            down: parts.flatMap { $0.0.down }, up: up, rank: rank, inputs: first.inputs, outputs: first.outputs,
            scale: 1)
    }
}

/// Adapters in GGUF: `general.type` is `adapter`, `X.lora_a` and `X.lora_b` belong to the base tensor `X`.
private enum GGUFLowRank {
    static func pairs(_ file: GGUFFile, base: any ModelSource) throws -> [String: LowRankAdapter.Pair] {
        func refuse(_ code: ConversionError.Code, _ message: String) -> ConversionError {
            ConversionError(code, message, path: file.path)
        }
        let kind = try file.metadata.stringIfPresent("general.type") ?? "model"
        let type = try file.metadata.stringIfPresent("adapter.type") ?? "lora"
        guard kind == "adapter", type == "lora" else {
            throw refuse(
                .invalidRequest,
                "this file is of the kind \(kind.debugDescription), \(type); a LoRA adapter is asked for")
        }
        let wanted = try base.metadata.stringIfPresent("general.architecture") ?? ""
        let found = try file.metadata.stringIfPresent("general.architecture") ?? ""
        guard wanted == found else {
            throw refuse(
                .invalidRequest, "the adapter is for the architecture \(found.debugDescription), the base is \(wanted)")
        }
        let alpha = try file.metadata.floatIfPresent("adapter.lora.alpha") ?? 0
        var result: [String: LowRankAdapter.Pair] = [:]
        for tensor in file.tensors where !tensor.name.hasSuffix("_norm.weight") {
            if tensor.name.hasSuffix(".lora_b") {
                let name = String(tensor.name.dropLast(7))
                guard file.tensor(named: name + ".lora_a") != nil else {
                    throw refuse(.missingTensor, "\(name).lora_a is missing; \(tensor.name) needs it")
                }
                continue
            }
            guard tensor.name.hasSuffix(".lora_a") else {
                throw refuse(.unexpectedTensor, "\(tensor.name) is no part of a LoRA adapter")
            }
            let name = String(tensor.name.dropLast(7))
            guard let up = file.tensor(named: name + ".lora_b") else {
                throw refuse(.missingTensor, "\(name).lora_b is missing; \(tensor.name) needs it")
            }
            func matrix(_ info: TensorInfo) throws -> (rows: Int, columns: Int) {
                guard info.dimensions.count <= 2, let columns = info.dimensions.first else {
                    throw refuse(.unexpectedTensor, "\(info.name) has \(info.dimensions.count) dimensions, not 2")
                }
                return (info.dimensions.count == 2 ? info.dimensions[1] : 1, columns)
            }
            let (down, upper) = (try matrix(tensor), try matrix(up))
            guard down.rows == upper.columns, down.rows > 0 else {
                throw refuse(
                    .unexpectedTensor, "\(name): the ranks of its two parts differ, \(down.rows) and \(upper.columns)")
            }
            result[name] = LowRankAdapter.Pair(
                down: try file.floats(of: tensor), up: try file.floats(of: up), rank: down.rows, inputs: down.columns,
                outputs: upper.rows, scale: alpha == 0 ? 1 : alpha / Float(down.rows))
        }
        return result
    }
}
