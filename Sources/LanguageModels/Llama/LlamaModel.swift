import GGUF
import Kernels
import Layers
import TensorTypes

/// The llama architecture (Touvron et al. 2023): pre-norm decoder, RMSNorm, RoPE, grouped-query attention, SwiGLU.
/// SmolLM2, TinyLlama, Mistral and Llama 1–3 are of this family.
public enum LlamaArchitecture: ModelArchitecture {
    public static let name = "llama"

    public static func load(_ file: GGUFFile, pool: ThreadPool) throws -> any LanguageModel {
        try LlamaModel(file, pool: pool)
    }
}

/// A layer's tensors in both forms a use may want: where they lie in the file, and packed for integer products.
struct LlamaLayer: Sendable {
    let attentionNorm: FloatBuffer
    let queries, keys, values, attentionOutput: FrozenTensor
    let feedForwardNorm: FloatBuffer
    let gate, up, down: FrozenTensor

    init(_ index: Int, _ configuration: LlamaConfiguration, _ loading: TensorLoading) throws {
        let c = configuration
        let queryWidth = c.headCount * c.headDimension
        let keyWidth = c.keyValueHeadCount * c.headDimension
        func name(_ part: LlamaTensorNames.Part) -> String { LlamaTensorNames.layer(index, part) }
        attentionNorm = FloatBuffer(try loading.floats(name(.attentionNorm), count: c.hiddenSize))
        queries = try loading.matrix(name(.queries), rows: queryWidth, columns: c.hiddenSize)
        keys = try loading.matrix(name(.keys), rows: keyWidth, columns: c.hiddenSize)
        values = try loading.matrix(name(.values), rows: keyWidth, columns: c.hiddenSize)
        attentionOutput = try loading.matrix(name(.attentionOutput), rows: c.hiddenSize, columns: queryWidth)
        feedForwardNorm = FloatBuffer(try loading.floats(name(.feedForwardNorm), count: c.hiddenSize))
        gate = try loading.matrix(name(.gate), rows: c.feedForwardSize, columns: c.hiddenSize)
        up = try loading.matrix(name(.up), rows: c.feedForwardSize, columns: c.hiddenSize)
        down = try loading.matrix(name(.down), rows: c.hiddenSize, columns: c.feedForwardSize)
    }
}

/// The inference form: integer products over packed weights, keys and values in a cache.
final class LlamaModel: LanguageModel {
    /// A layer's packed weights.
    struct PackedLayer: Sendable {
        let queries, keys, values, attentionOutput, gate, up, down: PackedMatrix
    }

    let configuration: LlamaConfiguration
    let shape: DecoderShape
    let pool: ThreadPool
    let file: GGUFFile
    let layers: [LlamaLayer]
    let embeddingTable: FrozenTensor
    let outputNorm: FloatBuffer
    /// The output projection's tensor: its own, or the embedding's when tied.
    let outputTensor: FrozenTensor
    let rotary: RotaryEmbedding
    let packed: [PackedLayer]
    private let output: PackedMatrix
    /// Positions computed together; bounds scratch memory and keeps activations in the caches.
    private static let chunk = 512

    init(_ file: GGUFFile, pool: ThreadPool) throws {
        let path = file.path
        let loading = TensorLoading(file, path: path)
        guard let embedding = file.tensor(named: LlamaTensorNames.embedding), embedding.dimensions.count == 2 else {
            throw ModelError(.invalidTensor, "tensor \(LlamaTensorNames.embedding) is missing", path: path)
        }
        let c = try LlamaConfiguration(file.metadata, vocabularySize: embedding.dimensions[1], path: path)
        configuration = c
        shape = c.shape
        self.pool = pool
        self.file = file
        layers = try (0..<c.layerCount).map { try LlamaLayer($0, c, loading) }
        embeddingTable = try loading.matrix(
            LlamaTensorNames.embedding, rows: c.vocabularySize, columns: c.hiddenSize)
        outputNorm = FloatBuffer(try loading.floats(LlamaTensorNames.outputNorm, count: c.hiddenSize))
        outputTensor =
            file.tensor(named: LlamaTensorNames.output) == nil
            ? embeddingTable
            : try loading.matrix(LlamaTensorNames.output, rows: c.vocabularySize, columns: c.hiddenSize)
        var divisors: [Float]?
        if file.tensor(named: LlamaTensorNames.ropeFrequencies) != nil {
            let values = try loading.floats(LlamaTensorNames.ropeFrequencies, count: c.ropeDimension / 2)
            guard values.allSatisfy({ $0.isFinite && $0 != 0 }) else {
                throw ModelError(
                    .invalidTensor, "\(LlamaTensorNames.ropeFrequencies) holds zero or a non-finite number", path: path)
            }
            divisors = values
        }
        rotary = RotaryEmbedding(
            dimension: c.ropeDimension, base: c.ropeBase, scale: c.ropeScale, divisors: divisors,
            pairing: .interleaved)
        packed = try layers.map { layer in
            PackedLayer(
                queries: try layer.queries.packed(pool: pool), keys: try layer.keys.packed(pool: pool),
                values: try layer.values.packed(pool: pool),
                attentionOutput: try layer.attentionOutput.packed(pool: pool), gate: try layer.gate.packed(pool: pool),
                up: try layer.up.packed(pool: pool), down: try layer.down.packed(pool: pool))
        }
        output = try outputTensor.packed(pool: pool)
    }

    var residentByteCount: Int {
        packed.reduce(output.byteCount) { total, layer in
            [layer.queries, layer.keys, layer.values, layer.attentionOutput, layer.gate, layer.up, layer.down]
                .reduce(total) { $0 + $1.byteCount }
        }
    }

    func embedding(of token: Int, into destination: UnsafeMutablePointer<Float>) {
        precondition(token >= 0 && token < configuration.vocabularySize, "token \(token) is outside the vocabulary")
        let bytes = embeddingTable.rowByteCount
        embeddingTable.info.type.decode(
            UnsafeRawBufferPointer(rebasing: embeddingTable.bytes[token * bytes..<(token + 1) * bytes]),
            into: UnsafeMutableBufferPointer(start: destination, count: configuration.hiddenSize))
    }

    func differentiable(weightsMemory: WeightsMemory) throws -> any DifferentiableModel {
        LlamaGraph(self, weightsMemory: weightsMemory)
    }

    // MARK: - Forward

    func forward(
        _ input: ModelInput, cache: KVCache, workspace: InferenceWorkspace, logitCount: Int
    ) throws -> UnsafeBufferPointer<Float> {
        let count = input.count
        let width = configuration.hiddenSize
        guard logitCount >= 0, logitCount <= count else {
            throw ModelError(.invalidInput, "\(logitCount) rows of logits were asked of \(count) positions")
        }
        switch input {
        case .tokens(let ids):
            if let bad = ids.first(where: { $0 < 0 || $0 >= configuration.vocabularySize }) {
                throw ModelError(
                    .invalidInput, "token \(bad) is outside the vocabulary of \(configuration.vocabularySize)")
            }
        case .embeddings(let rows, let count):
            guard rows.count == count * width else {
                throw ModelError(
                    .invalidInput, "\(rows.count) floats are not \(count) rows of \(width), this model's hidden size")
            }
        }
        cache.reserve(cache.count + count)
        rotary.prepare(positions: cache.count + count)
        let logits = workspace.logits.reserve(max(logitCount, 1) * configuration.vocabularySize)
        var start = 0
        while start < count {
            let size = min(Self.chunk, count - start)
            let hidden = workspace.hidden.reserve(Self.chunk * width)
            switch input {
            case .tokens(let ids):
                for index in 0..<size { embedding(of: ids[start + index], into: hidden + index * width) }
            case .embeddings(let rows, _):
                rows.withUnsafeBufferPointer {
                    hidden.update(from: $0.baseAddress! + start * width, count: size * width)
                }
            }
            // Of this chunk, the last `wanted` rows give logits.
            let firstLogit = count - logitCount
            let wanted = max(0, min(size, start + size - firstLogit))
            let target = logits + max(0, start + size - wanted - firstLogit) * configuration.vocabularySize
            runLayers(hidden, count: size, cache: cache, workspace: workspace, wanted: wanted, logits: target)
            start += size
        }
        return UnsafeBufferPointer(start: logits, count: logitCount * configuration.vocabularySize)
    }

    /// All layers over one chunk; logits for its last `wanted` rows.
    private func runLayers(
        _ x: UnsafeMutablePointer<Float>, count: Int, cache: KVCache, workspace: InferenceWorkspace, wanted: Int,
        logits: UnsafeMutablePointer<Float>
    ) {
        let c = configuration
        let d = c.headDimension
        let queryWidth = c.headCount * d
        let keyWidth = c.keyValueHeadCount * d
        let past = cache.count
        let q = workspace.queries.reserve(count * queryWidth)
        let k = workspace.keys.reserve(count * keyWidth)
        let v = workspace.values.reserve(count * keyWidth)
        let gate = workspace.gate.reserve(count * c.feedForwardSize)
        let up = workspace.up.reserve(count * c.feedForwardSize)
        let normed = workspace.normed, attended = workspace.attended, feedForward = workspace.feedForward
        for (index, layer) in layers.enumerated() {
            let weights = packed[index]
            // Values enter the residual stream linearly, so their rounding weighs most: a quarter of the model's whole
            // distance from exact activations, for 3 % of the arithmetic.
            normed.setRMSNorm(
                of: x, stride: c.hiddenSize, weight: layer.attentionNorm.pointer, epsilon: c.epsilon, tokens: count,
                columns: c.hiddenSize, refines: true, pool: pool)
            MatrixProduct.run(
                [
                    ProductJob(weights.queries, into: q, stride: queryWidth),
                    ProductJob(weights.keys, into: k, stride: keyWidth),
                    ProductJob(weights.values, into: v, stride: keyWidth, isRefined: true),
                ], normed, tokens: count, pool: pool)
            rotateAndStore(
                q: q, k: k, v: v, count: count, past: past, layer: index, cache: cache)
            // After the last layer only the wanted rows matter: their queries, and everything after attention.
            let rows = index == c.layerCount - 1 ? wanted : count
            if rows == 0 { break }
            let first = count - rows
            attended.reserve(tokens: rows, columns: queryWidth)
            AttentionKernel.run(
                queries: q + first * queryWidth, queryStride: queryWidth, keys: cache.keys(layer: index),
                values: cache.values(layer: index), element: cache.element, capacity: cache.capacity, tokens: rows,
                past: past + first, headCount: c.headCount, keyValueHeadCount: c.keyValueHeadCount, headDimension: d,
                scale: c.attentionScale, into: attended.floats, outStride: queryWidth, pool: pool)
            attended.quantize(tokens: rows, columns: queryWidth, pool: pool)
            let tail = x + first * c.hiddenSize
            MatrixProduct.run(
                [ProductJob(weights.attentionOutput, into: tail, stride: c.hiddenSize, accumulate: true)], attended,
                tokens: rows, pool: pool)
            normed.setRMSNorm(
                of: tail, stride: c.hiddenSize, weight: layer.feedForwardNorm.pointer, epsilon: c.epsilon,
                tokens: rows, columns: c.hiddenSize, pool: pool)
            MatrixProduct.run(
                [
                    ProductJob(weights.gate, into: gate, stride: c.feedForwardSize),
                    ProductJob(weights.up, into: up, stride: c.feedForwardSize),
                ], normed, tokens: rows, pool: pool)
            feedForward.setSwiGLU(
                gate: gate, up: up, stride: c.feedForwardSize, tokens: rows, columns: c.feedForwardSize, pool: pool)
            MatrixProduct.run(
                [ProductJob(weights.down, into: tail, stride: c.hiddenSize, accumulate: true)], feedForward,
                tokens: rows, pool: pool)
        }
        cache.advance(by: count)
        guard wanted > 0 else { return }
        normed.setRMSNorm(
            of: x + (count - wanted) * c.hiddenSize, stride: c.hiddenSize, weight: outputNorm.pointer,
            epsilon: c.epsilon, tokens: wanted, columns: c.hiddenSize, pool: pool)
        MatrixProduct.run(
            [ProductJob(output, into: logits, stride: c.vocabularySize)], normed, tokens: wanted, pool: pool)
    }

    /// RoPE on queries and keys, then keys and values into the cache.
    private func rotateAndStore(
        q: UnsafeMutablePointer<Float>, k: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>, count: Int,
        past: Int, layer: Int, cache: KVCache
    ) {
        let c = configuration
        let queryWidth = c.headCount * c.headDimension
        let keyWidth = c.keyValueHeadCount * c.headDimension
        let rotary = self.rotary
        let group = 16
        pool.parallelFor((count + group - 1) / group) { task in
            for row in task * group..<min((task + 1) * group, count) {
                let position = past + row
                rotary.forward(
                    q + row * queryWidth, heads: c.headCount, headDimension: c.headDimension, position: position)
                rotary.forward(
                    k + row * keyWidth, heads: c.keyValueHeadCount, headDimension: c.headDimension, position: position)
                cache.store(layer: layer, slot: position, keyRow: k + row * keyWidth, valueRow: v + row * keyWidth)
            }
        }
    }
}
