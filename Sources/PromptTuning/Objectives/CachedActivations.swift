import LanguageModels

/// Labelled rows whose activations below the first trained layer are kept: training begins there.
///
/// Exact where nothing below changes: the prefix is frozen there, and no token is left out at random.
public struct CachedActivations: Objective {
    public static let name = SupervisedObjective.name
    public static let summary = SupervisedObjective.summary

    private let examples: [TrainingBatch.Example]
    private let layer: Int
    public let longestSequence: Int

    public var itemCount: Int { examples.count }

    /// The rows with their activations, or as they are when those would take more than a quarter of the memory there is.
    ///
    /// - Parameters:
    ///   - supervised: without token dropout.
    ///   - prefix: as a cache holds it; what it is above `layer` does not matter.
    public static func over(
        _ supervised: SupervisedObjective, graph: any DifferentiableModel, prefix: [Float], tokens: Int, layer: Int
    ) throws -> any Objective {
        var examples = (0..<supervised.itemCount).flatMap { supervised.batch([$0], step: 0).examples }
        let rows = examples.reduce(0) { $0 + ($1.targets.last?.position ?? 0) }
        guard rows * graph.shape.hiddenSize * MemoryLayout<Float>.stride <= SystemMemory.available / 4 else {
            return supervised
        }
        for start in stride(from: 0, to: examples.count, by: 16) {
            let part = start..<min(start + 16, examples.count)
            let activations = try prefix.withUnsafeBufferPointer { buffer in
                try graph.activations(
                    of: Array(examples[part]), prompt: .keysAndValues(buffer.baseAddress!, count: tokens), layer: layer)
            }
            for (index, own) in zip(part, activations) { examples[index].activations = own }
        }
        return CachedActivations(examples, layer: layer)
    }

    private init(_ examples: [TrainingBatch.Example], layer: Int) {
        self.examples = examples
        self.layer = layer
        longestSequence = examples.map(\.tokens.count).max() ?? 0
    }

    public func batch(_ items: [Int], step: Int) -> TrainingBatch {
        var batch = TrainingBatch(items.map { examples[$0] })
        batch.firstLayer = layer
        return batch
    }
}
