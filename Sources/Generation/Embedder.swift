import Foundation
import LanguageModels

/// How the states of a text's tokens become one vector.
public enum Pooling: String, Sendable, CaseIterable {
    /// Their mean.
    case mean
    /// That of the last token, which has seen the whole text.
    case last
    /// That of the first token.
    case cls
    /// No pooling: one vector for each token.
    case none
}

/// Makes vectors of texts: the states behind a model's last norm, which its output projection reads.
///
/// Computed by the model's float form, so that the same weights give the same vectors whatever kernels there are.
public final class Embedder {
    private let graph: any ObservableModel
    private let width: Int

    /// - Throws: `ModelError.unsupportedArchitecture` when the model's states cannot be seen.
    public init(model: any LanguageModel) throws {
        guard let graph = try model.differentiable(weightsMemory: .auto) as? any ObservableModel else {
            throw ModelError(.unsupportedArchitecture, "states of this architecture cannot be observed")
        }
        self.graph = graph
        width = model.shape.hiddenSize
    }

    /// The vectors of one text's tokens: one, or with `Pooling.none` one for each token.
    ///
    /// - Parameters:
    ///   - tokens: the text's ids, at least one.
    ///   - pooling: how the tokens' vectors become the text's.
    ///   - normalizes: scales each vector to length 1; a vector of zeros stays.
    /// - Throws: `ModelError.invalidInput` for no tokens, `contextFull` for too many.
    public func vectors(_ tokens: [Int], pooling: Pooling, normalizes: Bool) throws -> [[Float]] {
        guard let last = tokens.last else {
            throw ModelError(.invalidInput, "an empty text has no embedding; give at least one character")
        }
        let collector = StateCollector(width: width)
        graph.activationObserver = collector
        defer { graph.activationObserver = nil }
        // States exist where a next token is predicted, so one more follows that is only predicted.
        _ = try graph.loss(
            of: TrainingBatch([.init(tokens: tokens + [last], targetStart: 1)]), prompt: .none, gradient: nil)
        let rows = collector.rows
        guard rows.count == tokens.count * width else {
            throw ModelError(
                .unsupportedArchitecture,
                "the model showed \(rows.count / max(1, width)) states for \(tokens.count) tokens")
        }
        func row(_ index: Int) -> [Float] { Array(rows[index * width..<(index + 1) * width]) }
        let result: [[Float]]
        switch pooling {
        case .none: result = (0..<tokens.count).map(row)
        case .last: result = [row(tokens.count - 1)]
        case .cls: result = [row(0)]
        case .mean:
            var sums = [Double](repeating: 0, count: width)
            for index in 0..<tokens.count {
                for column in 0..<width { sums[column] += Double(rows[index * width + column]) }
            }
            result = [sums.map { Float($0 / Double(tokens.count)) }]
        }
        return normalizes ? result.map(Self.normalized) : result
    }

    private static func normalized(_ vector: [Float]) -> [Float] {
        let length = vector.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        return length > 0 ? vector.map { Float(Double($0) / length) } : vector
    }
}

/// Keeps what enters the output projection.
private final class StateCollector: ActivationObserver {
    private let width: Int
    private(set) var rows: [Float] = []

    init(width: Int) { self.width = width }

    func observe(
        _ tensors: [String], matrix: (index: Int, count: Int), _ rows: UnsafePointer<Float>, count: Int, columns: Int
    ) {
        guard tensors.contains("output.weight"), columns == width else { return }
        self.rows.append(contentsOf: UnsafeBufferPointer(start: rows, count: count * columns))
    }
}
