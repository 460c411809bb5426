import LanguageModels

// What one step computes: batches, or the tasks' shares of them, and whose process computes which.
extension Trainer {
    /// Examples that go through the model together, for one task.
    struct Portion {
        let batch: TrainingBatch
        let task: Int
        /// What its loss counts in the step's.
        let share: Double
    }

    /// The portions of some batches, which together make one step.
    func portions(of objectives: inout ObjectiveMixture, from first: Int, count: Int) -> [Portion] {
        let size = configuration.batchSize
        guard tasks == nil else {
            return (first..<first + count).flatMap { step in
                objectives.shares(step: step, size: size).map {
                    Portion(batch: $0.batch, task: $0.part, share: $0.share / Double(count))
                }
            }
        }
        let batches = (first..<first + count).map { objectives.batch(step: $0, size: size) }
        // Together the parts count as one batch: by their targets where the loss is their mean, else evenly.
        let isMean = batches.allSatisfy { $0.weighing == nil }
        let sizes = batches.map { isMean ? Double($0.targetCount) : 1 }
        let total = sizes.reduce(0, +)
        return zip(batches, sizes).map { Portion(batch: $0, task: 0, share: $1 / total) }
    }

    /// The virtual tokens of one task among those of all.
    func view(_ folded: UnsafeBufferPointer<Float>, task: Int) -> PromptView {
        guard let base = folded.baseAddress else { return .none }
        return method.view(base + task * (tasks?.promptCount ?? 0), tokens: configuration.tokens)
    }

    /// The gradient of a portion in `scratch`; returns its loss times its share.
    func compute(_ portion: Portion, folded: [Float]) throws -> Double {
        let size = folded.count / configuration.tasks
        if scratch.count != size { scratch = [Float](repeating: 0, count: size) }
        return try folded.withUnsafeBufferPointer { folded in
            try scratch.withUnsafeMutableBufferPointer { buffer in
                portion.share
                    * (try graph.loss(
                        of: portion.batch, prompt: view(folded, task: portion.task), gradient: buffer.baseAddress
                    ).loss)
            }
        }
    }

    /// Adds `values`, times the portion's share, to its task's place in `gradient`.
    private func add(_ values: [Float], of portion: Portion, to gradient: inout [Float]) {
        let start = portion.task * values.count, share = Float(portion.share)
        for index in values.indices { gradient[start + index] += share * values[index] }
    }

    /// Adds up the gradients of all portions, in their order; returns the loss.
    ///
    /// With other processes each computes every nth portion and gets the others' gradients: the same sums in the same
    /// order as one process that computes them all.
    func gather(_ portions: [Portion], folded: [Float], into gradient: inout [Float]) throws -> Double {
        var loss = 0.0
        guard let exchange else {
            for portion in portions {
                loss += try compute(portion, folded: folded)
                add(scratch, of: portion, to: &gradient)
            }
            return loss
        }
        let size = folded.count / configuration.tasks
        if scratch.count != size { scratch = [Float](repeating: 0, count: size) }
        for first in stride(from: 0, to: portions.count, by: exchange.size) {
            let own = first + exchange.rank
            let ownLoss = own < portions.count ? try compute(portions[own], folded: folded) : 0
            for (index, part) in try exchange.gather(scratch, loss: ownLoss).enumerated()
            where first + index < portions.count {
                loss += part.loss
                add(part.values, of: portions[first + index], to: &gradient)
            }
        }
        return loss
    }

    // MARK: - Looks ahead

    /// Loss of some virtual tokens on the first batches: what a start is worth.
    ///
    /// - Parameters:
    ///   - values: in the layout of the method's placement, the same for every task; nil: the bare base.
    ///   - batches: how many.
    public func startingLoss(of values: [Float]?, batches: Int = 2) throws -> Double {
        var objectives = self.objectives
        var loss = 0.0
        for step in 0..<batches {
            for portion in portions(of: &objectives, from: step, count: 1) {
                // Kept activations belong to the run's own start.
                let batch = portion.batch.fromTokens
                guard let values else {
                    loss += portion.share * (try graph.loss(of: batch, prompt: .none, gradient: nil).loss)
                    continue
                }
                loss +=
                    try portion.share
                    * values.withUnsafeBufferPointer {
                        try graph.loss(of: batch, prompt: view($0, task: 0), gradient: nil).loss
                    }
            }
        }
        return loss / Double(batches)
    }

    /// Seconds a step takes, measured on the first batches; nothing is changed.
    public func secondsPerStep() throws -> Double {
        var objectives = self.objectives
        let tokens = folded(initial)
        var seconds = 0.0
        // The first step pays for memory that later ones reuse.
        for step in 0..<2 {
            let portions = portions(of: &objectives, from: step, count: 1)
            let start = ContinuousClock.now
            for portion in portions { _ = try compute(portion, folded: tokens) }
            seconds = (ContinuousClock.now - start).seconds
        }
        let processes = exchange?.size ?? 1
        return seconds * Double((configuration.accumulation + processes - 1) / processes)
    }
}
