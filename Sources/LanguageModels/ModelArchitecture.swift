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
    /// - Parameter adapters: LoRA adapters that apply to it, already checked against it.
    /// - Throws: `ModelError` naming the missing or contradicting hyperparameter or tensor.
    static func load(
        _ source: any ModelSource, adapters: [ScaledAdapter], pool: ThreadPool
    ) throws -> any LanguageModel
}

extension ModelArchitecture {
    /// Builds the runnable model of a GGUF file.
    public static func load(_ file: GGUFFile, pool: ThreadPool) throws -> any LanguageModel {
        try load(GGUFSource(file), adapters: [], pool: pool)
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
    public static func load(
        _ source: any ModelSource, adapters: [ScaledAdapter], pool: ThreadPool
    ) throws -> any LanguageModel {
        try DecoderModel(source, architecture: self, adapters: adapters, pool: pool)
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

/// What one sequence adds in a forward pass.
public struct SequenceStep {
    public let input: ModelInput
    public let cache: KVCache
    /// Logits are computed for this many last positions only.
    public let logitCount: Int
    /// Whether its queries go through attention in tiles.
    public let usesTiles: Bool
    /// Positions of the sequence when the input that this is a part of has been read.
    public let finalLength: Int

    /// - Parameter whole: positions of the whole input when `input` is one piece of it; the numbers are then those of
    ///   the whole at once. Nil: `input` is the whole.
    public init(_ input: ModelInput, cache: KVCache, logitCount: Int, whole: (count: Int, finalLength: Int)? = nil) {
        self.input = input
        self.cache = cache
        self.logitCount = logitCount
        usesTiles = (whole?.count ?? input.count) >= AttentionKernel.tileThreshold
        finalLength = whole?.finalLength ?? cache.count + input.count
    }
}

/// A loaded decoder with frozen, quantized weights: the forward pass on integer products.
public protocol LanguageModel: AnyObject, Sendable {
    var shape: DecoderShape { get }
    var pool: ThreadPool { get }
    /// Bytes of weights held in memory besides the mapped file.
    var residentByteCount: Int { get }

    /// For each layer the positions that a query sees, its own included; 0: all.
    var windows: [Int] { get }

    /// Runs the inputs of several sequences, each at the positions after what its cache holds, and appends their keys
    /// and values there. Rows of all sequences go through the weights together; a sequence's results with quantized
    /// weights are, bit for bit, those it has alone.
    ///
    /// - Returns: the logits that the steps ask for, in order, `(Σ logitCount, vocabularySize)` floats in the workspace,
    ///   valid until its next use.
    /// - Throws: `ModelError.invalidInput` for an id outside the vocabulary, rows of another width, or a cache that
    ///   appears twice; then no cache has changed.
    func forward(_ steps: [SequenceStep], workspace: InferenceWorkspace) throws -> UnsafeBufferPointer<Float>

    /// Forgets positions in the middle of a sequence and moves what follows to the front, keys turned accordingly.
    ///
    /// - Parameter gone: positions behind those the cache shares with others.
    /// - Throws: `ModelError.invalidInput` when the model's positions cannot be moved: learned ones (GPT-2), or
    ///   LongRoPE beyond its first range.
    func shift(_ cache: KVCache, forgetting gone: Range<Int>) throws

    /// Keys and values of an adaption prompt: `(count, layer, hiddenSize + 1)` floats, the last of a row the layer's gate in the
    /// first token; each row through the layer's own
    /// projections (and biases, and norm of keys) without rotation.
    ///
    /// - Throws: `ModelError.invalidInput` when the values are not as many.
    func gatedPrompt(_ values: [Float], count: Int) throws -> GatedPrompt

    /// The embedding of one token, as the first layer receives it: `hiddenSize` floats.
    func embedding(of token: Int, into destination: UnsafeMutablePointer<Float>)

    /// The same weights, ready to propagate gradients back to a prompt.
    func differentiable(weightsMemory: WeightsMemory) throws -> any DifferentiableModel
}

extension LanguageModel {
    /// Runs `input` at the positions after what `cache` holds and appends its keys and values there.
    ///
    /// - Parameter logitCount: logits are computed for this many last positions only.
    /// - Returns: `(logitCount, vocabularySize)` floats in the workspace, valid until its next use.
    /// - Throws: `ModelError.invalidInput` for an id outside the vocabulary or rows of another width.
    public func forward(
        _ input: ModelInput, cache: KVCache, workspace: InferenceWorkspace, logitCount: Int
    ) throws -> UnsafeBufferPointer<Float> {
        try forward([SequenceStep(input, cache: cache, logitCount: logitCount)], workspace: workspace)
    }

    /// An empty cache of this model's dimensions.
    ///
    /// - Parameter canRewind: keep every position of every layer, so that the sequence can go back to any of them;
    ///   otherwise layers with a sliding window keep their window only.
    public func makeCache(
        element: KVElement = .f16, capacity: Int = 0, canRewind: Bool = true, gated: GatedPrompt? = nil
    ) -> KVCache {
        KVCache(
            layerCount: shape.layerCount, headCount: shape.keyValueHeadCount, headDimension: shape.headDimension,
            element: element, capacity: capacity, windows: canRewind ? nil : windows, gated: gated)
    }

    /// Refuses a number format that this model's heads do not fit.
    ///
    /// - Throws: `ModelError.invalidInput`.
    public func check(cacheElement element: KVElement) throws {
        guard !element.fits(headDimension: shape.headDimension) else { return }
        throw ModelError(
            .invalidInput,
            "keys and values of \(shape.headDimension) dimensions a head cannot be cached as \(element.rawValue), which "
                + "takes multiples of 32; f16 and f32 take any")
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
