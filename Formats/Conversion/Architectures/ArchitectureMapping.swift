import ByteIO
import GGUF

/// How one family of models is written by Hugging Face and by GGUF: THE extension point of conversion.
///
/// A mapping describes, it does not act: rows of hyperparameters, and a list of tensor rules that follows from the
/// model's dimensions. Both directions, fingerprints of folders and the checks of shapes come from that. Write one file
/// and add a line to ``ArchitectureCatalog``.
public protocol ArchitectureMapping: Sendable {
    /// `general.architecture`, the prefix of the keys.
    var name: String { get }
    /// transformers' classes with their `model_type`; the first is written when GGUF does not tell.
    var classes: [ModelClass] { get }
    /// Numbers that both sides have.
    var hyperparameters: [Hyperparameter] { get }
    /// Whether llama.cpp insists on `output.weight`, so that a tied embedding is written twice.
    var needsOutput: Bool { get }
    /// Whether a RoPE scaling of type llama3 can be given, as the tensor `rope_freqs.weight`.
    var readsRopeFrequencies: Bool { get }
    /// Whether transformers ties embedding and output unless the configuration says otherwise.
    var isTiedByDefault: Bool { get }

    /// Whether a GGUF file of architecture ``name`` is one of this mapping's; two mappings may share a name.
    func accepts(_ metadata: GGUFMetadata) -> Bool

    /// Adds the keys that no row gives.
    func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws

    /// What of the configuration has no place in GGUF and may be missed, a sentence each.
    func notes(on config: HuggingFaceConfig) throws -> [String]

    /// Adds the fields that no row gives.
    func addFields(from model: GGUFModelView, to config: inout JSONObject) throws

    /// Tensors that GGUF keeps and a Hugging Face folder computes: RoPE factors.
    func derivedTensors(from config: HuggingFaceConfig, keys: GGUFMetadata) throws -> [DerivedTensor]

    /// Every tensor the architecture may have, in the order in which a file lists them.
    func tensors(_ size: ModelDimensions) -> [TensorRule]
}

/// A class of transformers.
public struct ModelClass: Sendable, Hashable {
    /// "LlamaForCausalLM"
    public let name: String
    /// "llama"
    public let type: String

    init(_ name: String, _ type: String) {
        self.name = name
        self.type = type
    }
}

/// A one-dimensional F32 tensor computed from the configuration.
public struct DerivedTensor: Sendable {
    public let name: String
    public let values: [Float]
}

/// Keys of one architecture on their way into GGUF.
public struct ArchitectureKeys {
    public let name: String
    public private(set) var metadata = GGUFMetadata()

    init(name: String) { self.name = name }

    /// Sets `<architecture>.<key>`; nil leaves it out.
    subscript(key: String) -> GGUFValue? {
        get { metadata["\(name).\(key)"] }
        set { metadata["\(name).\(key)"] = newValue }
    }

    mutating func count(_ key: String, _ value: Int, path: String) throws {
        guard let number = UInt32(exactly: value) else {
            throw ConversionError(.malformed, "\(key) would be \(value), which is no count", path: path)
        }
        self[key] = .uint32(number)
    }
}

/// What a mapping may ask of a GGUF model.
public struct GGUFModelView {
    public let name: String
    public let metadata: GGUFMetadata
    public let size: ModelDimensions
    /// The class that the configuration will name.
    public let modelClass: ModelClass
    let floats: (_ tensor: String) throws -> [Float]?
    let hasTensor: (String) -> Bool

    func int(_ key: String) throws -> Int? { try metadata.intIfPresent("\(name).\(key)") }
    func float(_ key: String) throws -> Float? { try metadata.floatIfPresent("\(name).\(key)") }
    func string(_ key: String) throws -> String? { try metadata.stringIfPresent("\(name).\(key)") }
    func bool(_ key: String) throws -> Bool? { try metadata.boolIfPresent("\(name).\(key)") }

    func unsupported(_ message: String) -> ConversionError {
        ConversionError(.unsupported, message, path: metadata.path)
    }
}

extension ArchitectureMapping {
    public var needsOutput: Bool { false }
    public var readsRopeFrequencies: Bool { false }
    public var isTiedByDefault: Bool { false }
    public func accepts(_ metadata: GGUFMetadata) -> Bool { true }
    public func notes(on config: HuggingFaceConfig) throws -> [String] { [] }
    public func addKeys(from config: HuggingFaceConfig, to keys: inout ArchitectureKeys) throws {}
    public func addFields(from model: GGUFModelView, to config: inout JSONObject) throws {}

    public func derivedTensors(from config: HuggingFaceConfig, keys: GGUFMetadata) throws -> [DerivedTensor] {
        guard readsRopeFrequencies else { return [] }
        return try RopeScaling.llama3Tensors(config: config, metadata: keys)
    }

    /// All keys of the architecture.
    func keys(from config: HuggingFaceConfig) throws -> GGUFMetadata {
        var keys = ArchitectureKeys(name: name)
        for row in hyperparameters {
            if let value = try row.value(in: config) { keys[row.key] = value }
        }
        try addKeys(from: config, to: &keys)
        return keys.metadata
    }
}
