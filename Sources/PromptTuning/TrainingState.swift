import ByteIO
import Safetensors

/// How good a prompt is on the dev split.
public struct DevScore: Sendable, Equatable, Codable {
    /// Mean cross-entropy per target token, nats.
    public var loss: Double
    /// Fraction of rows answered right, where the task is one that can be answered right or wrong.
    public var accuracy: Double?

    public init(loss: Double, accuracy: Double?) {
        self.loss = loss
        self.accuracy = accuracy
    }

    /// Higher accuracy wins; between equals, or where there is none, lower loss.
    public func isBetter(than other: DevScore) -> Bool {
        if let mine = accuracy, let theirs = other.accuracy, mine != theirs { return mine > theirs }
        return loss < other.loss
    }
}

/// One evaluation during a run.
public struct DevEvaluation: Sendable, Equatable, Codable {
    /// Steps taken before it.
    public var step: Int
    public var score: DevScore
}

/// Everything a run needs to go on exactly where it stopped.
///
/// The order of examples and the learning rate are functions of the step, so parameters, optimizer moments and the
/// bookkeeping of the best prompt are all there is. Stored as one safetensors file, written atomically: a run killed at
/// any moment finds either the last checkpoint or the one before.
struct TrainingState {
    /// Steps taken.
    var step = 0
    var parameters: [Float]
    /// Running mean of the parameters.
    var average: [Float]
    var best: [Float]
    var bestEvaluation: DevEvaluation?
    var evaluationsSinceBest = 0
    var optimizer: OptimizerState
    /// Training loss of every step so far.
    var losses: [Float] = []
    var evaluations: [DevEvaluation] = []
    /// Seconds spent in this and earlier sessions of the run.
    var seconds = 0.0

    init(parameters: [Float]) {
        self.parameters = parameters
        average = parameters
        best = parameters
        optimizer = OptimizerState(optimizer: "", step: 0, moments: [])
    }

    // MARK: - Storing

    private static let schema = "1"

    /// - Parameter identity: what must be equal for a resumed run to be the same run.
    func write(to path: String, identity: [String: String]) throws {
        var metadata = identity
        metadata["schema"] = Self.schema
        metadata["step"] = String(step)
        metadata["optimizer"] = optimizer.optimizer
        metadata["optimizer_step"] = String(optimizer.step)
        metadata["evaluations_since_best"] = String(evaluationsSinceBest)
        metadata["seconds"] = String(seconds.bitPattern)
        // Doubles travel as bit patterns: exact, and independent of any decimal printing.
        metadata["evaluations"] = evaluations.map(Self.text).joined(separator: " ")
        if let bestEvaluation { metadata["best"] = Self.text(bestEvaluation) }
        var writer = SafetensorsWriter(
            metadata: metadata.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) })
        func add(_ name: String, _ values: [Float]) throws {
            try writer.add(name: name, shape: [values.count], floats: values)
        }
        try add("average", average)
        try add("best", best)
        try add("losses", losses)
        try add("parameters", parameters)
        for (index, moment) in optimizer.moments.enumerated() { try add("moment.\(index)", moment) }
        try writer.write(to: path)
    }

    /// - Throws: `TuningError.invalidCheckpoint` when the file is damaged or another run's, naming what differs.
    static func read(from path: String, identity: [String: String], parameterCount: Int) throws -> TrainingState {
        try read(SafetensorsFile(path: path), identity: identity, parameterCount: parameterCount)
    }

    /// The same of a file that is open, or of another process.
    static func read(_ file: SafetensorsFile, identity: [String: String], parameterCount: Int) throws -> TrainingState {
        func fail(_ message: String) -> TuningError {
            TuningError(code: .invalidCheckpoint, message: "\(file.path): \(message)")
        }
        let metadata = Dictionary(
            (file.metadata ?? []).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        guard metadata["schema"] == schema else {
            throw fail("this is no checkpoint of this version of Incipit; start again with --restart")
        }
        for (key, value) in identity.sorted(by: { $0.key < $1.key }) where metadata[key] != value {
            throw fail(
                "the unfinished run differs in its \(key.replacingOccurrences(of: "_", with: " ")); repeat its settings "
                    + "to resume it, or discard it with --restart")
        }
        func floats(_ name: String) throws -> [Float] {
            guard let tensor = file.tensor(named: name) else { throw fail("tensor \(name) is missing") }
            return try file.floats(of: tensor)
        }
        var state = TrainingState(parameters: try floats("parameters"))
        state.average = try floats("average")
        state.best = try floats("best")
        state.optimizer = OptimizerState(
            optimizer: metadata["optimizer"] ?? "", step: metadata["optimizer_step"].flatMap(Int.init) ?? 0,
            moments: try file.tensors.map(\.name).filter { $0.hasPrefix("moment.") }.sorted().map(floats))
        state.losses = try floats("losses")
        guard let step = metadata["step"].flatMap(Int.init), step == state.losses.count,
            let since = metadata["evaluations_since_best"].flatMap(Int.init),
            let seconds = metadata["seconds"].flatMap(UInt64.init).map(Double.init(bitPattern:)),
            state.parameters.count == parameterCount, state.best.count == parameterCount,
            state.average.count == parameterCount
        else { throw fail("its parts do not fit together; start again with --restart") }
        state.step = step
        state.evaluationsSinceBest = since
        state.seconds = seconds
        state.evaluations = (metadata["evaluations"] ?? "").split(separator: " ").compactMap(Self.evaluation)
        state.bestEvaluation = metadata["best"].flatMap { Self.evaluation(Substring($0)) }
        return state
    }

    private static func text(_ evaluation: DevEvaluation) -> String {
        let accuracy = evaluation.score.accuracy.map { String($0.bitPattern) } ?? "-"
        return "\(evaluation.step):\(evaluation.score.loss.bitPattern):\(accuracy)"
    }

    private static func evaluation(_ text: Substring) -> DevEvaluation? {
        let parts = text.split(separator: ":")
        guard parts.count == 3, let step = Int(parts[0]), let loss = UInt64(parts[1]) else { return nil }
        return DevEvaluation(
            step: step,
            score: DevScore(
                loss: Double(bitPattern: loss), accuracy: UInt64(parts[2]).map(Double.init(bitPattern:))))
    }
}
