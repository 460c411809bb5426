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
    let targets: [Int]

    var rowCount: Int { virtualRows + tokens.count }

    init(_ batch: TrainingBatch, prompt: PromptView, group: Int, vocabularySize: Int) throws {
        let promptCount = prompt.count
        var virtualRows = 0
        if case .embeddings(_, let count) = prompt { virtualRows = count }
        var tokens: [Int] = []
        var positions = Array(0..<virtualRows)
        var visible = positions.map { $0 + 1 }
        var segments: [AttentionPlan.Segment] = []
        var lossRows: [Int] = []
        var targets: [Int] = []
        var lastVisible: [Int] = []
        var lastSegments: [AttentionPlan.Segment] = []

        for example in batch.examples {
            if let bad = example.tokens.first(where: { $0 < 0 || $0 >= vocabularySize }) {
                throw ModelError(.invalidInput, "token \(bad) is outside the vocabulary of \(vocabularySize)")
            }
        }
        if virtualRows > 0 {
            segments.append(.init(queries: 0..<virtualRows, keys: 0..<virtualRows, seesPrefix: false))
            // A first token that carries loss is predicted by the last virtual token.
            for example in batch.examples where example.targetStart == 0 && !example.tokens.isEmpty {
                lossRows.append(virtualRows - 1)
                targets.append(example.tokens[0])
                lastVisible.append(virtualRows)
            }
            lastSegments.append(.init(queries: 0..<lossRows.count, keys: 0..<virtualRows, seesPrefix: false))
        }
        for example in batch.examples where example.tokens.count > 1 {
            let first = virtualRows + tokens.count
            let count = example.tokens.count - 1
            let firstLoss = lossRows.count
            tokens.append(contentsOf: example.tokens.dropLast())
            for index in 0..<count {
                positions.append(promptCount + index)
                visible.append(index + 1)
                guard index + 1 >= example.targetStart else { continue }
                lossRows.append(first + index)
                targets.append(example.tokens[index + 1])
                lastVisible.append(index + 1)
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
        self.targets = targets
        let rows = virtualRows + tokens.count
        plan = AttentionPlan(
            segments: segments, visible: visible, keyCount: rows, prefixCount: promptCount, group: group)
        lastPlan = AttentionPlan(
            segments: lastSegments, visible: lastVisible, keyCount: rows, prefixCount: promptCount, group: group)
    }
}
