import Conversion
import Kernels
import Layers
import TensorTypes

/// The inference form of a decoder: integer products over packed weights, keys and values in a cache.
///
/// What an architecture does not have costs one comparison a layer.
final class DecoderModel: LanguageModel {
    /// The packed matrices of a feed-forward network.
    struct PackedFeedForward: Sendable {
        let gate: PackedMatrix?
        let up, down: PackedMatrix

        var all: [PackedMatrix] { [up, down] + (gate.map { [$0] } ?? []) }
    }

    /// The packed routers and networks of a layer with experts.
    struct PackedExperts: Sendable {
        let router: PackedMatrix
        let experts: [PackedFeedForward]
        let shared: PackedFeedForward?
        let sharedRouter: PackedMatrix?
    }

    /// A layer's packed weights.
    struct PackedLayer: Sendable {
        let queries, keys, values, attentionOutput: PackedMatrix
        let feedForward: PackedFeedForward?
        let experts: PackedExperts?

        var all: [PackedMatrix] {
            [queries, keys, values, attentionOutput] + (feedForward?.all ?? [])
                + (experts.map { experts in
                    [experts.router] + experts.experts.flatMap(\.all) + (experts.shared?.all ?? [])
                        + (experts.sharedRouter.map { [$0] } ?? [])
                } ?? [])
        }
    }

    let configuration: DecoderConfiguration
    let shape: DecoderShape
    let pool: ThreadPool
    let source: any ModelSource
    let layers: [DecoderLayer]
    let embeddingTable: FrozenTensor
    /// Rows that are added by position.
    let positionTable: FrozenTensor?
    let outputNorm: Normalization
    /// The output projection's tensor: its own, or the embedding's when tied.
    let outputTensor: FrozenTensor
    let rotations: [LayerRotation]
    let packed: [PackedLayer]
    private let output: PackedMatrix
    /// Positions computed together; bounds scratch memory and keeps activations in the caches.
    private static let chunk = 512

    /// Reads `source` as `architecture` says, checks every tensor and packs the weights.
    init(_ source: any ModelSource, architecture: any DecoderArchitecture.Type, pool: ThreadPool) throws {
        let path = source.path
        let loading = TensorLoading(source)
        guard let embedding = loading.dimensions(of: DecoderTensorNames.embedding), embedding.count == 2 else {
            throw ModelError(.invalidTensor, "tensor \(DecoderTensorNames.embedding) is missing", path: path)
        }
        let c = try architecture.configuration(
            Hyperparameters(
                source.metadata, architecture: architecture.name, vocabularySize: embedding[1], path: path))
        configuration = c
        shape = c.shape
        self.pool = pool
        self.source = source
        layers = try (0..<c.layerCount).map { try DecoderLayer($0, c, loading) }
        embeddingTable = try loading.matrix(
            DecoderTensorNames.embedding, rows: c.vocabularySize, columns: c.hiddenSize)
        positionTable =
            c.hasPositionTable
            ? try loading.matrix(DecoderTensorNames.positions, rows: c.contextLength, columns: c.hiddenSize) : nil
        outputNorm = try loading.normalization(
            DecoderTensorNames.outputNorm, c.norm, epsilon: c.epsilon, count: c.hiddenSize)
        outputTensor =
            loading.has(DecoderTensorNames.output)
            ? try loading.matrix(DecoderTensorNames.output, rows: c.vocabularySize, columns: c.hiddenSize)
            : embeddingTable
        rotations = try c.rotations.map { settings in
            try LayerRotation(settings, pairing: c.pairing) { name, count in
                if name == DecoderTensorNames.ropeFrequencies, !loading.has(name) { return nil }
                let values = try loading.floats(name, count: count)
                guard values.allSatisfy({ $0.isFinite && $0 != 0 }) else {
                    throw ModelError(.invalidTensor, "\(name) holds zero or a non-finite number", path: path)
                }
                return values
            }
        }
        try loading.checkThatAllLayerTensorsWereTaken(architecture: architecture.name)
        func pack(_ projection: Projection) throws -> PackedMatrix { try projection.weight.packed(pool: pool) }
        func pack(_ network: FeedForward) throws -> PackedFeedForward {
            PackedFeedForward(
                gate: try network.gate.map(pack), up: try pack(network.up), down: try pack(network.down))
        }
        packed = try layers.map { layer in
            PackedLayer(
                queries: try pack(layer.queries), keys: try pack(layer.keys), values: try pack(layer.values),
                attentionOutput: try pack(layer.attentionOutput), feedForward: try layer.feedForward.map(pack),
                experts: try layer.experts.map { experts in
                    PackedExperts(
                        router: try pack(experts.router), experts: try experts.experts.map(pack),
                        shared: try experts.shared.map(pack), sharedRouter: try experts.sharedRouter.map(pack))
                })
        }
        output = try outputTensor.packed(pool: pool)
    }

    var residentByteCount: Int {
        packed.reduce(output.byteCount) { total, layer in layer.all.reduce(total) { $0 + $1.byteCount } }
    }

    func embedding(of token: Int, into destination: UnsafeMutablePointer<Float>) {
        precondition(token >= 0 && token < configuration.vocabularySize, "token \(token) is outside the vocabulary")
        embeddingTable.decodeRow(token, into: destination)
        let scale = configuration.embeddingScale
        if scale != 1 { VectorMath.scale(destination, by: scale, count: configuration.hiddenSize) }
    }

    /// Turns a row of embeddings into what the first layer reads at `position`; `scratch` has a row's length.
    func enter(_ row: UnsafeMutablePointer<Float>, position: Int, scratch: UnsafeMutablePointer<Float>) {
        let c = configuration
        if c.inputScale != 1 { VectorMath.scale(row, by: c.inputScale, count: c.hiddenSize) }
        guard let positionTable else { return }
        positionTable.decodeRow(position, into: scratch)
        VectorMath.add(scratch, into: row, count: c.hiddenSize)
    }

    /// Whether `enter` changes rows.
    var changesInput: Bool { configuration.inputScale != 1 || positionTable != nil }

    /// Refuses more positions than a table of positions has.
    func checkLength(_ positions: Int) throws {
        guard let positionTable, positions > positionTable.rows else { return }
        throw ModelError(
            .contextFull,
            "\(positions) positions were asked of a model that has learned \(positionTable.rows)", path: source.path)
    }

    func differentiable(weightsMemory: WeightsMemory) throws -> any DifferentiableModel {
        DecoderGraph(self, weightsMemory: weightsMemory)
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
        try checkLength(cache.count + count)
        cache.reserve(cache.count + count)
        let tables = rotations.map { $0.table(length: cache.count + count) }
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
            if changesInput {
                let scratch = workspace.branch.reserve(width)
                for index in 0..<size {
                    enter(hidden + index * width, position: cache.count + index, scratch: scratch)
                }
            }
            // Of this chunk, the last `wanted` rows give logits.
            let firstLogit = count - logitCount
            let wanted = max(0, min(size, start + size - firstLogit))
            let target = logits + max(0, start + size - wanted - firstLogit) * configuration.vocabularySize
            runLayers(
                hidden, count: size, cache: cache, tables: tables, workspace: workspace, wanted: wanted,
                logits: target)
            start += size
        }
        return UnsafeBufferPointer(start: logits, count: logitCount * configuration.vocabularySize)
    }

    /// All layers over one chunk; logits for its last `wanted` rows.
    private func runLayers(
        _ x: UnsafeMutablePointer<Float>, count: Int, cache: KVCache, tables: [RotaryEmbedding],
        workspace: InferenceWorkspace, wanted: Int, logits: UnsafeMutablePointer<Float>
    ) {
        let c = configuration
        let d = c.headDimension
        let queryWidth = c.queryWidth
        let keyWidth = c.keyWidth
        let past = cache.count
        let q = workspace.queries.reserve(count * queryWidth)
        let k = workspace.keys.reserve(count * keyWidth)
        let v = workspace.values.reserve(count * keyWidth)
        let normed = workspace.normed, attended = workspace.attended
        for (index, layer) in layers.enumerated() {
            let weights = packed[index]
            // Values enter the residual stream linearly, so their rounding weighs most: a quarter of the model's whole
            // distance from exact activations, for 3 % of the arithmetic.
            normalize(x, layer.attentionNorm, count: count, refines: true, into: normed)
            MatrixProduct.run(
                [
                    ProductJob(weights.queries, into: q, stride: queryWidth),
                    ProductJob(weights.keys, into: k, stride: keyWidth),
                    ProductJob(weights.values, into: v, stride: keyWidth, isRefined: true),
                ], normed, tokens: count, pool: pool)
            rotateAndStore(
                q: q, k: k, v: v, count: count, past: past, layer: index,
                rotary: c.layerRotations[index].map { tables[$0] }, cache: cache)
            // After the last layer only the wanted rows matter: their queries, and everything after attention.
            let rows = index == c.layerCount - 1 ? wanted : count
            if rows == 0 { break }
            let first = count - rows
            attended.reserve(tokens: rows, columns: queryWidth)
            AttentionKernel.run(
                queries: q + first * queryWidth, queryStride: queryWidth, keys: cache.keys(layer: index),
                values: cache.values(layer: index), element: cache.element, capacity: cache.capacity, tokens: rows,
                past: past + first, headCount: c.headCount, keyValueHeadCount: c.keyValueHeadCount, headDimension: d,
                scale: c.attentionScale, softCap: c.attentionSoftCap, window: c.windows[index],
                into: attended.floats, outStride: queryWidth, pool: pool)
            attended.quantize(tokens: rows, columns: queryWidth, pool: pool)
            let tail = x + first * c.hiddenSize
            let waiting = addBranch(
                attended, weights.attentionOutput, layer.attentionOutput, layer.postAttentionNorm, to: tail,
                rows: rows, waits: layer.isParallel, workspace: workspace)
            normalize(tail, layer.feedForwardNorm, count: rows, into: normed)
            if let experts = layer.experts, let packedExperts = weights.experts {
                runExperts(experts, packedExperts, tail, rows: rows, workspace: workspace)
            } else if let network = layer.feedForward, let packedNetwork = weights.feedForward {
                runNetwork(network, packedNetwork, normed, rows: rows, workspace: workspace)
                _ = addBranch(
                    workspace.feedForward, packedNetwork.down, network.down, layer.postFeedForwardNorm, to: tail,
                    rows: rows, waits: false, workspace: workspace)
            }
            if let waiting { VectorMath.add(waiting, into: tail, count: rows * c.hiddenSize) }
        }
        cache.advance(by: count)
        guard wanted > 0 else { return }
        normalize(x + (count - wanted) * c.hiddenSize, outputNorm, count: wanted, into: normed)
        MatrixProduct.run(
            [ProductJob(output, into: logits, stride: c.vocabularySize)], normed, tokens: wanted, pool: pool)
        if c.logitScale != 1 { VectorMath.scale(logits, by: c.logitScale, count: wanted * c.vocabularySize) }
        if c.logitSoftCap > 0 { VectorMath.softCap(logits, cap: c.logitSoftCap, count: wanted * c.vocabularySize) }
    }

    /// The norm of every row as left sides of products; the rows themselves without a norm.
    private func normalize(
        _ x: UnsafePointer<Float>, _ norm: Normalization?, count: Int, refines: Bool = false,
        into activations: Activations
    ) {
        let width = configuration.hiddenSize
        if let norm, norm.kind == .rms {
            activations.setRMSNorm(
                of: x, stride: width, weight: norm.weight.pointer, epsilon: norm.epsilon, tokens: count,
                columns: width, refines: refines, pool: pool)
            return
        }
        activations.set(tokens: count, columns: width, refines: refines, pool: pool) { token, row in
            if let norm {
                norm.forward(x + token * width, into: row, columns: width)
            } else {
                row.update(from: x + token * width, count: width)
            }
        }
    }

    /// x += norm(W·a + b) · residualScale for each row.
    ///
    /// - Parameter waits: leave x as it is and return what is to be added.
    private func addBranch(
        _ a: Activations, _ matrix: PackedMatrix, _ projection: Projection, _ norm: Normalization?,
        to x: UnsafeMutablePointer<Float>, rows: Int, waits: Bool, workspace: InferenceWorkspace
    ) -> UnsafePointer<Float>? {
        let width = configuration.hiddenSize, scale = configuration.residualScale
        if norm == nil, scale == 1, !waits {
            MatrixProduct.run(
                [ProductJob(matrix, into: x, stride: width, accumulate: true)], a, tokens: rows, pool: pool)
            if projection.bias != nil { for row in 0..<rows { projection.addBias(x + row * width) } }
            return nil
        }
        let branch = waits ? workspace.waiting.reserve(rows * width) : workspace.branch.reserve(rows * width)
        MatrixProduct.run([ProductJob(matrix, into: branch, stride: width)], a, tokens: rows, pool: pool)
        for row in 0..<rows {
            let line = branch + row * width
            projection.addBias(line)
            norm?.forward(line, into: line, columns: width)
            if scale != 1 { VectorMath.scale(line, by: scale, count: width) }
            if !waits { VectorMath.add(line, into: x + row * width, count: width) }
        }
        return waits ? UnsafePointer(branch) : nil
    }

    /// The activated products of a feed-forward network, in `workspace.feedForward`.
    func runNetwork(
        _ network: FeedForward, _ weights: PackedFeedForward, _ input: Activations, rows: Int,
        workspace: InferenceWorkspace
    ) {
        let inner = network.innerSize
        let up = workspace.up.reserve(rows * inner)
        guard let gateMatrix = weights.gate, let gateProjection = network.gate else {
            MatrixProduct.run([ProductJob(weights.up, into: up, stride: inner)], input, tokens: rows, pool: pool)
            workspace.feedForward.set(tokens: rows, columns: inner, pool: pool) { token, row in
                network.activate(up + token * inner, into: row)
            }
            return
        }
        let gate = workspace.gate.reserve(rows * inner)
        MatrixProduct.run(
            [
                ProductJob(gateMatrix, into: gate, stride: inner),
                ProductJob(weights.up, into: up, stride: inner),
            ], input, tokens: rows, pool: pool)
        if network.activation == .silu, gateProjection.bias == nil, network.up.bias == nil {
            workspace.feedForward.setSwiGLU(
                gate: gate, up: up, stride: inner, tokens: rows, columns: inner, pool: pool)
            return
        }
        workspace.feedForward.set(tokens: rows, columns: inner, pool: pool) { token, row in
            gateProjection.addBias(gate + token * inner)
            network.up.addBias(up + token * inner)
            network.activation.forward(gate: gate + token * inner, up: up + token * inner, into: row, count: inner)
        }
    }

    /// Biases, norms and RoPE on queries and keys, then keys and values into the cache.
    private func rotateAndStore(
        q: UnsafeMutablePointer<Float>, k: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>, count: Int,
        past: Int, layer index: Int, rotary: RotaryEmbedding?, cache: KVCache
    ) {
        let c = configuration
        let queryWidth = c.queryWidth
        let keyWidth = c.keyWidth
        let layer = layers[index]
        let group = 16
        pool.parallelFor((count + group - 1) / group) { task in
            for row in task * group..<min((task + 1) * group, count) {
                let position = past + row
                let query = q + row * queryWidth, key = k + row * keyWidth, value = v + row * keyWidth
                layer.queries.addBias(query)
                layer.keys.addBias(key)
                layer.values.addBias(value)
                layer.queryNorm?.forward(query)
                layer.keyNorm?.forward(key)
                if let rotary {
                    rotary.forward(query, heads: c.headCount, headDimension: c.headDimension, position: position)
                    rotary.forward(key, heads: c.keyValueHeadCount, headDimension: c.headDimension, position: position)
                }
                cache.store(layer: index, slot: position, keyRow: key, valueRow: value)
            }
        }
    }
}
