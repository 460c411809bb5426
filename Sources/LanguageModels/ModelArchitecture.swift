import Conversion
import GGUF
import Kernels
import Layers

/// A model family: reads its own hyperparameters and tensors. One conformer per `general.architecture`, listed in
/// `ModelCatalog`.
public protocol ModelArchitecture: Sendable {
    /// The value of `general.architecture` it reads.
    static var name: String { get }

    /// Builds the runnable model.
    ///
    /// - Throws: `ModelError` naming the missing or contradicting hyperparameter or tensor.
    static func load(_ source: any ModelSource, pool: ThreadPool) throws -> any LanguageModel
}

extension ModelArchitecture {
    /// Builds the runnable model of a GGUF file.
    public static func load(_ file: GGUFFile, pool: ThreadPool) throws -> any LanguageModel {
        try load(GGUFSource(file), pool: pool)
    }
}

/// An architecture that the one decoder computes, given what is particular about it.
///
/// To add one, write a file in `Architectures/` and a line in `ModelCatalog`.
public protocol DecoderArchitecture: ModelArchitecture {
    /// The decoder that a file's metadata describe.
    ///
    /// - Throws: `ModelError.invalidHyperparameter` naming the key, or the metadata's own error for a wrong value type.
    static func configuration(_ parameters: Hyperparameters) throws -> DecoderConfiguration
}

extension DecoderArchitecture {
    public static func load(_ source: any ModelSource, pool: ThreadPool) throws -> any LanguageModel {
        try DecoderModel(source, architecture: self, pool: pool)
    }
}

/// What enters a model: token ids, or rows that take the place of embeddings.
public enum ModelInput: Sendable {
    case tokens([Int])
    /// `(count, hiddenSize)`, row-major: a soft prompt at the input.
    case embeddings([Float], count: Int)

    /// Number of positions it fills.
    public var count: Int {
        switch self {
        case .tokens(let ids): ids.count
        case .embeddings(_, let count): count
        }
    }
}

/// A loaded decoder with frozen, quantized weights: the forward pass on integer products.
public protocol LanguageModel: AnyObject, Sendable {
    var shape: DecoderShape { get }
    var pool: ThreadPool { get }
    /// Bytes of weights held in memory besides the mapped file.
    var residentByteCount: Int { get }

    /// Runs `input` at the positions after what `cache` holds and appends its keys and values there.
    ///
    /// - Parameter logitCount: logits are computed for this many last positions only.
    /// - Returns: `(logitCount, vocabularySize)` floats in the workspace, valid until its next use.
    /// - Throws: `ModelError.invalidInput` for an id outside the vocabulary or rows of another width.
    func forward(
        _ input: ModelInput, cache: KVCache, workspace: InferenceWorkspace, logitCount: Int
    ) throws -> UnsafeBufferPointer<Float>

    /// The embedding of one token, as the first layer receives it: `hiddenSize` floats.
    func embedding(of token: Int, into destination: UnsafeMutablePointer<Float>)

    /// The same weights, ready to propagate gradients back to a prompt.
    func differentiable(weightsMemory: WeightsMemory) throws -> any DifferentiableModel
}

extension LanguageModel {
    /// An empty cache of this model's dimensions.
    public func makeCache(element: KVElement = .f16, capacity: Int = 0) -> KVCache {
        KVCache(
            layerCount: shape.layerCount, headCount: shape.keyValueHeadCount, headDimension: shape.headDimension,
            element: element, capacity: capacity)
    }
}

/// How training keeps the base's weights.
public enum WeightsMemory: String, Sendable, CaseIterable {
    /// Floats when they take less than half of the memory available, else tiles.
    case auto
    /// One float copy of every weight: fastest, 4 bytes a parameter.
    case float
    /// Decoded slice by slice at each use: a few megabytes.
    case tiles
}
