import Layers

/// A training batch laid end to end without padding: rows, positions, who sees whom, and which rows carry loss.
///
/// Row order: the virtual tokens that are computed (prompt tuning), then every example's tokens but its last, which is
/// only ever predicted. The virtual tokens stand first in every context, so their hidden states are the same for all
/// examples: they are computed once for the whole batch.
struct PackedBatch {
    /// Token ids of the rows after the virtual ones.
    let tokens: [Int]
    /// Rows computed from trained embeddings.
    let virtualRows: Int
    /// RoPE position of every row.
    let positions: [Int]
    /// Attention of every row.
    let plan: AttentionPlan
    /// Attention of the rows that carry loss only: all the last layer needs.
    let lastPlan: AttentionPlan
    /// Row whose logits predict `targets[i]`.
    let lossRows: [Int]
    let targets: [TrainingBatch.Target]
    /// Weight of each target.
    let weights: [Float]
    /// Place of each target among all targets of the batch's examples.
    let targetPlaces: [Int]

    /// Where the computation begins, and what enters there.
    let firstLayer: Int
    let activations: [[Float]]

    var rowCount: Int { virtualRows + tokens.count }

    init(_ batch: TrainingBatch, prompt: PromptView, group: Int, vocabularySize: Int, hiddenSize: Int) throws {
        let promptCount = prompt.count
        var virtualRows = 0
        if case .embeddings(_, let count) = prompt { virtualRows = count }
        var tokens: [Int] = []
        var positions = Array(0..<virtualRows)
        var visible = positions.map { $0 + 1 }
        var segments: [AttentionPlan.Segment] = []
        var lossRows: [Int] = []
        var targets: [TrainingBatch.Target] = []
        var weights: [Float] = []
        var places: [Int] = []
        var lastVisible: [Int] = []
        var lastSegments: [AttentionPlan.Segment] = []
        var activations: [[Float]] = []

        guard batch.firstLayer == 0 || virtualRows == 0 else {
            throw ModelError(.invalidInput, "virtual tokens at the input need every layer")
        }
        for example in batch.examples {
            if let bad = example.tokens.first(where: { $0 < 0 || $0 >= vocabularySize }) {
                throw ModelError(.invalidInput, "token \(bad) is outside the vocabulary of \(vocabularySize)")
            }
            try Self.check(example, vocabularySize: vocabularySize)
        }
        let firstPlaces = batch.examples.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.targets.count) }
        func add(_ row: Int, _ place: Int, _ target: TrainingBatch.PositionedTarget, visible: Int) {
            lossRows.append(row)
            targets.append(target.target)
            weights.append(target.weight)
            places.append(place)
            lastVisible.append(visible)
        }
        if virtualRows > 0 {
            segments.append(.init(queries: 0..<virtualRows, keys: 0..<virtualRows, seesPrefix: false))
            // A first token that carries loss is predicted by the last virtual token.
            for (number, example) in batch.examples.enumerated() {
                guard let target = example.targets.first, target.position == 0 else { continue }
                add(virtualRows - 1, firstPlaces[number], target, visible: virtualRows)
            }
            lastSegments.append(.init(queries: 0..<lossRows.count, keys: 0..<virtualRows, seesPrefix: false))
        }
        for (number, example) in batch.examples.enumerated() {
            // Nothing behind the token that the last target is predicted from is computed.
            let count = example.targets.last?.position ?? 0
            guard count > 0 else { continue }
            let first = virtualRows + tokens.count
            let firstLoss = lossRows.count
            if batch.firstLayer > 0 {
                guard let own = example.activations, own.count == count * hiddenSize else {
                    throw ModelError(.invalidInput, "an example lacks the activations of layer \(batch.firstLayer)")
                }
                activations.append(own)
            }
            tokens.append(contentsOf: example.tokens.prefix(count))
            for index in 0..<count {
                positions.append(promptCount + index)
                visible.append(index + 1)
            }
            for (index, target) in example.targets.enumerated() where target.position > 0 {
                add(first + target.position - 1, firstPlaces[number] + index, target, visible: target.position)
            }
            let seesPrefix = promptCount > 0
            segments.append(.init(queries: first..<first + count, keys: first..<first + count, seesPrefix: seesPrefix))
            lastSegments.append(
                .init(queries: firstLoss..<lossRows.count, keys: first..<first + count, seesPrefix: seesPrefix))
        }
        guard !lossRows.isEmpty else {
            throw ModelError(.invalidInput, "the batch has no target token to learn from")
        }
        self.tokens = tokens
        self.virtualRows = virtualRows
        self.positions = positions
        self.lossRows = lossRows
        firstLayer = batch.firstLayer
        self.activations = activations
        self.targets = targets
        self.weights = weights
        targetPlaces = places
        let rows = virtualRows + tokens.count
        plan = AttentionPlan(
            segments: segments, visible: visible, keyCount: rows, prefixCount: promptCount, group: group)
        lastPlan = AttentionPlan(
            segments: lastSegments, visible: lastVisible, keyCount: rows, prefixCount: promptCount, group: group)
    }

    /// - Throws: `ModelError.invalidInput` for targets out of order, outside the example or outside the vocabulary.
    private static func check(_ example: TrainingBatch.Example, vocabularySize: Int) throws {
        var last = -1
        for target in example.targets {
            guard target.position > last, target.position < example.tokens.count else {
                throw ModelError(
                    .invalidInput,
                    "a target at position \(target.position) follows one at \(last), in \(example.tokens.count) tokens")
            }
            last = target.position
            let isValid =
                switch target.target {
                case .token(let id): (0..<vocabularySize).contains(id)
                case .choice(let index, let among):
                    among.indices.contains(index) && among.allSatisfy { (0..<vocabularySize).contains($0) }
                case .distribution(let distribution):
                    !distribution.tokens.isEmpty
                        && distribution.tokens.allSatisfy { (0..<vocabularySize).contains(Int($0)) }
                }
            guard isValid else {
                throw ModelError(.invalidInput, "a target is outside the vocabulary of \(vocabularySize)")
            }
        }
    }
}
