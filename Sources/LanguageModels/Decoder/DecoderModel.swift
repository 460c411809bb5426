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
    /// Whether the output projection is the embedding table.
    let isTied: Bool
    let rotations: [LayerRotation]
    let packed: [PackedLayer]
    let attentionShapes: [AttentionShape]
    /// What adapters add to each layer, and to the output projection.
    let updates: [LayerUpdates?]
    let outputUpdate: LowRankUpdate?
    let output: PackedMatrix
    /// Rows computed together; bounds scratch memory and keeps activations in the caches.
    static let chunk = 512

    /// Reads `source` as `architecture` says, checks every tensor and packs the weights.
    init(
        _ source: any ModelSource, architecture: any DecoderArchitecture.Type, adapters: [ScaledAdapter] = [],
        pool: ThreadPool
    ) throws {
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
        isTied = !loading.has(DecoderTensorNames.output)
        // Rows are read out of a tied table's packed form, so that its blocks are needed once; others stay.
        if !isTied { try embeddingTable.blocks.keep() }
        try positionTable?.blocks.keep()
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
        let names = LayerUpdates.names(c)
        for scaled in adapters {
            if let name = scaled.adapter.pairs.keys.sorted().first(where: { !names.contains($0) }) {
                throw ModelError(
                    .invalidTensor,
                    "\(name) cannot be adapted while running; merge the adapter with `incipit merge-lora`",
                    path: scaled.adapter.path)
            }
        }
        updates = try (0..<c.layerCount).map { try LayerUpdates($0, c, adapters, pool: pool) }
        outputUpdate = try ScaledAdapter.stacked(adapters, for: DecoderTensorNames.output).map {
            try LowRankUpdate($0, rows: 0..<$0.outputs, pool: pool)
        }
        attentionShapes = c.windows.map { window in
            AttentionShape(
                headCount: c.headCount, keyValueHeadCount: c.keyValueHeadCount, headDimension: c.headDimension,
                scale: c.attentionScale, softCap: c.attentionSoftCap, window: window)
        }
    }

    var windows: [Int] { configuration.windows }

    var residentByteCount: Int {
        packed.reduce(output.byteCount) { total, layer in layer.all.reduce(total) { $0 + $1.byteCount } }
    }

    func embedding(of token: Int, into destination: UnsafeMutablePointer<Float>) {
        precondition(token >= 0 && token < configuration.vocabularySize, "token \(token) is outside the vocabulary")
        if isTied {
            output.decode(rows: token..<token + 1, into: destination)
        } else {
            embeddingTable.decodeRow(token, into: destination)
        }
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
        if positions > RotaryEmbedding.positionLimit {
            throw ModelError(
                .contextFull, "\(positions) positions were asked; at most \(RotaryEmbedding.positionLimit) can be",
                path: source.path)
        }
        guard let positionTable, positions > positionTable.rows else { return }
        throw ModelError(
            .contextFull,
            "\(positions) positions were asked of a model that has learned \(positionTable.rows)", path: source.path)
    }

    func differentiable(weightsMemory: WeightsMemory) throws -> any DifferentiableModel {
        guard outputUpdate == nil, updates.allSatisfy({ $0 == nil }) else {
            throw ModelError(
                .invalidInput, "a model with adapters cannot be trained on; merge them with `incipit merge-lora` first",
                path: source.path)
        }
        // Training reads the blocks themselves, again and again.
        for layer in layers { for projection in layer.projections { try projection.weight.blocks.keep() } }
        try outputTensor.blocks.keep()
        return DecoderGraph(self, weightsMemory: weightsMemory)
    }
}
