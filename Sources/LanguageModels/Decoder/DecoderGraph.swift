import Kernels
import Layers

/// The differentiable form of a decoder: F32 activations, frozen weights, gradients for the prompt only.
///
/// What is spent and what is not (the whole point of a trainer for soft prompts):
/// - virtual tokens are computed once a step, not once an example (`PackedBatch`);
/// - examples are packed without padding;
/// - logits exist only where there is loss, and so do the last layer's queries and feed-forward;
/// - no gradient is formed for any weight, so neither normalised inputs nor feed-forward products are kept;
/// - the first layer's input gradient is formed for virtual rows only, and not at all for prefix tuning.
/// Nothing of it is an approximation.
final class DecoderGraph: ObservableModel {
    /// A layer's weights as stacked float matrices.
    struct Weights {
        let queriesKeysValues, attentionOutput: FrozenMatrix
        let feedForward: Network?
        let experts: Experts?
    }

    /// A feed-forward network's: `inputs` stacks gate and up, or is up alone.
    struct Network {
        let inputs, down: FrozenMatrix
    }

    struct Experts {
        let router: FrozenMatrix
        let experts: [Network]
        let shared: Network?
        let sharedRouter: FrozenMatrix?
    }

    /// What a layer's backward pass needs of its forward pass.
    struct Saved {
        var input = GrowableBuffer()
        var queries = GrowableBuffer()
        var keys = GrowableBuffer()
        var values = GrowableBuffer()
        var attention = GrowableBuffer()
        var middle = GrowableBuffer()
        var gateUp = GrowableBuffer()
        /// Queries and keys before their norm, in rows; where there is one.
        var plainQueries = GrowableBuffer()
        var plainKeys = GrowableBuffer()
        /// Slopes of the soft cap of attention scores.
        var slopes = GrowableBuffer()
        /// What attention and feed-forward made, before the norm behind them.
        var attentionBranch = GrowableBuffer()
        var feedForwardBranch = GrowableBuffer()
        /// Gate and up of the shared expert, and how much of it each row gets.
        var sharedGateUp = GrowableBuffer()
        var sharedShares = GrowableBuffer()
        var routing: ExpertRouting?
    }

    /// Memory that lives within a layer only.
    struct Scratch {
        var hidden = GrowableBuffer()
        var gradient = GrowableBuffer()
        var lossGradient = GrowableBuffer()
        var normed = GrowableBuffer()
        var projected = GrowableBuffer()
        var attended = GrowableBuffer()
        var attendedRows = GrowableBuffer()
        var activated = GrowableBuffer()
        var dGateUp = GrowableBuffer()
        var dQueries = GrowableBuffer()
        var dKeys = GrowableBuffer()
        var dValues = GrowableBuffer()
        var dAttention = GrowableBuffer()
        var logits = GrowableBuffer()
        var weights = GrowableBuffer()
        var rowLoss = GrowableBuffer()
        var logitSlopes = GrowableBuffer()
        /// Gradient of a branch, and of the input of a parallel feed-forward.
        var dBranch = GrowableBuffer()
        var dParallel = GrowableBuffer()
        var dHeads = GrowableBuffer()
        var router = GrowableBuffer()
        var expertRows = GrowableBuffer()
        var expertOut = GrowableBuffer()
        var pairGradient = GrowableBuffer()
    }

    let model: DecoderModel
    let c: DecoderConfiguration
    let pool: ThreadPool
    let weights: [Weights]
    let output: FrozenMatrix
    let attention: PackedAttention
    var saved: [Saved]
    var scratch = Scratch()
    /// Of adaption prompts only.
    var gated: [SavedGated]
    var gatedScratch = GatedScratch()
    let keepsFloats: Bool
    var precision = TrainingPrecision.float
    var activationObserver: (any ActivationObserver)?
    /// Left sides of integer products.
    let activations = Activations()

    var shape: DecoderShape { model.shape }
    var queryWidth: Int { c.queryWidth }
    var keyWidth: Int { c.keyWidth }
    /// The rotation of each kind of layer, for the batch at hand.
    var tables: [RotaryEmbedding] = []

    init(_ model: DecoderModel, weightsMemory: WeightsMemory) {
        self.model = model
        c = model.configuration
        pool = model.pool
        let width = c.hiddenSize
        let layerElements = model.layers.reduce(model.outputTensor.rows * width) { total, layer in
            layer.projections.reduce(total) { $0 + $1.rows * $1.columns }
        }
        let keep =
            switch weightsMemory {
            case .float: true
            case .tiles: false
            case .auto: layerElements * MemoryLayout<Float>.stride <= SystemMemory.available / 2
            }
        keepsFloats = keep
        func part(_ tensor: FrozenTensor) -> FrozenMatrix.Part {
            FrozenMatrix.Part(
                type: tensor.type, rows: tensor.rows, bytes: tensor.bytes, didRead: { tensor.releasePages() })
        }
        func stacked(_ projections: [Projection]) -> FrozenMatrix {
            FrozenMatrix(
                parts: projections.map { part($0.weight) }, columns: projections[0].columns, keepFloats: keep)
        }
        func network(_ network: FeedForward) -> Network {
            Network(inputs: stacked(network.inputs), down: stacked([network.down]))
        }
        weights = model.layers.map { layer in
            Weights(
                queriesKeysValues: stacked([layer.queries, layer.keys, layer.values]),
                attentionOutput: stacked([layer.attentionOutput]), feedForward: layer.feedForward.map(network),
                experts: layer.experts.map { experts in
                    Experts(
                        router: stacked([experts.router]), experts: experts.experts.map(network),
                        shared: experts.shared.map(network), sharedRouter: experts.sharedRouter.map { stacked([$0]) })
                })
        }
        output = FrozenMatrix(parts: [part(model.outputTensor)], columns: width, keepFloats: keep)
        attention = PackedAttention(
            keyValueHeadCount: c.keyValueHeadCount, group: c.headCount / c.keyValueHeadCount,
            headDimension: c.headDimension, scale: c.attentionScale,
            softCap: c.attentionSoftCap)
        saved = Array(repeating: Saved(), count: c.layerCount)
        gated = Array(repeating: SavedGated(), count: c.layerCount)
    }

    var residentByteCount: Int {
        layerMatrices.reduce(keepsFloats ? output.floatByteCount : 0) { total, matrix in
            if precision == .int8, matrix.hasIntegerGradient { return total + matrix.integerGradientByteCount }
            return total + (keepsFloats ? matrix.floatByteCount : 0)
        }
    }

    /// The weights of all layers.
    private var layerMatrices: [FrozenMatrix] {
        weights.flatMap { layer in
            let networks =
                [layer.feedForward, layer.experts?.shared].compactMap { $0 } + (layer.experts?.experts ?? [])
            return [
                layer.queriesKeysValues, layer.attentionOutput, layer.experts?.router, layer.experts?.sharedRouter,
            ].compactMap { $0 } + networks.flatMap { [$0.inputs, $0.down] }
        }
    }

    /// Where gradients of the weights' inputs are rounded, nil where they are exact.
    var gradientIntegers: Activations? { precision == .int8 ? activations : nil }

    /// Packs a batch and runs all layers over it; what the backward pass needs is then in `saved`.
    func runLayers(_ batch: TrainingBatch, _ prompt: PromptView) throws -> PackedBatch {
        let packed = try PackedBatch(
            batch, prompt: prompt, group: attention.group, vocabularySize: c.vocabularySize,
            hiddenSize: c.hiddenSize)
        let length = (packed.positions.max() ?? 0) + 1
        try model.checkLength(length)
        tables = model.rotations.map { $0.table(length: length) }
        forwardLayers(packed, prompt)
        return packed
    }

    func loss(
        of batch: TrainingBatch, prompt: PromptView, gradient: UnsafeMutablePointer<Float>?
    ) throws -> BatchLoss {
        if gradient != nil, precision == .int8 {
            for matrix in layerMatrices { try matrix.makeIntegerGradient(pool: pool) }
        }
        let packed = try runLayers(batch, prompt)
        let head = LossHead(graph: self, batch: packed)
        let placeCount = batch.examples.reduce(0) { $0 + $1.targets.count }
        func placed<T>(_ values: [T], empty: T) -> [T] {
            var result = [T](repeating: empty, count: placeCount)
            for (value, place) in zip(values, packed.targetPlaces) { result[place] = value }
            return result
        }
        let loss: Double
        let losses: [Float]
        if let weighing = batch.weighing {
            losses = placed(head.losses(), empty: 0)
            let weighed = weighing(losses)
            precondition(weighed.factors.count == placeCount, "each target has one factor")
            loss = weighed.loss
            if gradient != nil { _ = head.backward(factors: packed.targetPlaces.map { weighed.factors[$0] }) }
        } else {
            let total = packed.weights.reduce(0) { $0 + Double($1) }
            guard total > 0 else { throw ModelError(.invalidInput, "no target of the batch has a weight above 0") }
            let factors = packed.weights.map { Float(Double($0) / total) }
            let values = gradient == nil ? head.losses() : head.backward(factors: factors)
            loss = zip(values, packed.weights).reduce(0) { $0 + Double($1.0) * Double($1.1) } / total
            losses = placed(values, empty: 0)
        }
        let predictions = gradient == nil ? placed(head.predictions, empty: -1) : []
        if let gradient { backwardLayers(packed, prompt, gradient) }
        return BatchLoss(loss: loss, targetCount: packed.targets.count, losses: losses, predictions: predictions)
    }

    func activations(of examples: [TrainingBatch.Example], prompt: PromptView, layer: Int) throws -> [[Float]] {
        let packed = try PackedBatch(
            TrainingBatch(examples), prompt: prompt, group: attention.group, vocabularySize: c.vocabularySize,
            hiddenSize: c.hiddenSize)
        precondition(layer > 0 && layer < c.layerCount && packed.virtualRows == 0, "activations of no inner layer")
        let length = (packed.positions.max() ?? 0) + 1
        try model.checkLength(length)
        tables = model.rotations.map { $0.table(length: length) }
        forwardLayers(packed, prompt, to: layer)
        let x = scratch.hidden.pointer
        var row = 0
        return examples.map { example in
            let count = example.targets.last?.position ?? 0
            defer { row += count }
            return Array(UnsafeBufferPointer(start: x + row * c.hiddenSize, count: count * c.hiddenSize))
        }
    }

    /// Runs `body` for every row, in groups that keep the cost of scheduling small.
    func forRows(_ count: Int, _ body: (Int) -> Void) {
        let group = 8
        pool.parallelFor((count + group - 1) / group) { task in
            for row in task * group..<min((task + 1) * group, count) { body(row) }
        }
    }
}
