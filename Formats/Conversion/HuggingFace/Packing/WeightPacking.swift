import ByteIO
import Safetensors

/// A way in which a folder stores weights as less than plain numbers.
protocol WeightPacking: Sendable {
    /// For people: "GPTQ, 4 bit".
    var name: String { get }
    /// The weight of this name, unpacked; nil when this one is stored plainly or is not there.
    func weight(_ name: String, in folder: inout FolderTensors) throws -> (any StoredWeight)?
}

/// The packings that can be read, by `quantization_config.quant_method`.
enum PackingCatalog {
    private static let refused: [String: String] = [
        "awq": "AWQ", "bitsandbytes": "bitsandbytes", "hqq": "HQQ", "aqlm": "AQLM", "quip": "QuIP#", "eetq": "EETQ",
        "vptq": "VPTQ", "torchao": "torchao", "quanto": "Quanto", "spqr": "SpQR", "higgs": "HIGGS",
        "auto-round": "AutoRound", "bitnet": "BitNet", "modelopt": "ModelOpt",
    ]

    /// Nil when weights are plain numbers.
    static func packing(of config: HuggingFaceConfig) throws -> (any WeightPacking)? {
        guard
            let object = try config.object("quantization_config") ?? config.object("compression_config")
        else { return nil }
        let fields = try config.nested(object)
        let method = try fields.string("quant_method")?.lowercased() ?? ""
        switch method {
        case "gptq": return try GPTQPacking(fields)
        case "fp8", "fbgemm_fp8": return try FP8Packing(fields)
        case "compressed-tensors": return try CompressedTensorsPacking(fields)
        case "mxfp4": return MXFP4Packing()
        default:
            if let known = refused[method] {
                throw config.unsupported(
                    "the weights are packed by \(known), which cannot be converted; take the model's unpacked form")
            }
            throw config.unsupported(
                "the weights are packed by \(method.quotedForMessage), which is not known; gptq, fp8, compressed-tensors and mxfp4 "
                    + "can be read")
        }
    }
}

/// What packings do with the tensors they take.
struct PackedTensor: Sendable {
    let tensor: SafetensorsTensor
    let model: SafetensorsModel
    // Sound: the mapping is never written, and `model` keeps it.
    nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    init(_ tensor: SafetensorsTensor, in model: SafetensorsModel) {
        self.tensor = tensor
        self.model = model
        bytes = model.bytes(of: tensor)
    }

    var shape: [Int] { tensor.dimensions }

    @inline(__always)
    func int32(_ position: Int) -> UInt32 {
        UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position &* 4, as: UInt32.self))
    }

    /// All values as floats; for scales.
    func floats() throws -> [Float] { try model.floats(of: tensor) }

    func require(_ types: Set<String>, shape expected: [Int]) throws {
        guard types.contains(tensor.type.name), shape == expected else {
            throw ConversionError(
                .unexpectedTensor,
                "tensor \(tensor.name) is \(tensor.type) of shape \(tensor.shapeText); "
                    + "\(types.sorted().joined(separator: " or ")) of \(expected.map(String.init).joined(separator: "x")) is expected",
                path: model.path, tensor: tensor.name)
        }
    }
}

extension FolderTensors {
    mutating func packed(_ name: String) -> PackedTensor? { take(name).map { PackedTensor($0, in: model) } }

    mutating func requirePacked(_ name: String) throws -> PackedTensor {
        guard let tensor = packed(name) else {
            throw ConversionError(
                .missingTensor, "tensor \(name) is missing; the packed weight needs it", path: model.path, tensor: name)
        }
        return tensor
    }
}
