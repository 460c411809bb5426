import Conversion
import Foundation

/// Computes importance matrices: runs a text through the float form of a model and sums the squares of what meets each
/// column of each weight.
///
/// Stretches of text are independent, as llama-imatrix's are: each starts with the token that begins sequences, where the
/// model wants one. The weights may be of any type; activations are F32.
public struct ImportanceComputation {
    /// Tokens in a stretch.
    public var chunkSize = 512
    /// At most this many stretches; nil takes the whole text.
    public var chunkLimit: Int?
    /// Whether `output.weight` is measured too; usually it is quantized with more bits, without importance.
    public var includesOutput = false

    public init() {}

    /// How far the work is.
    public struct Progress: Sendable {
        public let chunk, chunkCount: Int
        /// Of all stretches so far: a value far above the model's usual says that text or model are not right.
        public let perplexity: Double
    }

    /// Computes the matrix of a text.
    /// - Parameters:
    ///   - dataset: the text's name, recorded in the matrix.
    ///   - progress: called after each stretch; what it throws ends the work.
    /// - Throws: ``ModelError`` when the text is shorter than one stretch, or activations are no numbers.
    public func run(
        _ loaded: LoadedModel, text: String, dataset: String, progress: (Progress) throws -> Void = { _ in }
    ) throws -> ImportanceMatrix {
        let ids = loaded.tokenizer.encode(text, parseSpecial: false, addSpecial: true)
        guard ids.count >= chunkSize else {
            throw ModelError(
                .invalidInput,
                "the text has \(ids.count) tokens; at least \(chunkSize) are needed, better a hundred times as many. Give more "
                    + "text, or a smaller --context")
        }
        let first = loaded.tokenizer.addsBeginning ? loaded.tokenizer.special.beginningOfSequence : nil
        let count = min(ids.count / chunkSize, chunkLimit ?? .max)
        let chunks = (0..<count).map { number -> [Int] in
            var chunk = Array(ids[number * chunkSize..<(number + 1) * chunkSize])
            if let first { chunk[0] = first }
            // A last token that is only predicted, so that all of the stretch is computed.
            chunk.append(number * chunkSize + chunkSize < ids.count ? ids[(number + 1) * chunkSize] : chunk[0])
            return chunk
        }
        let graph = try loaded.model.differentiable(weightsMemory: .auto)
        var matrix = try gather(graph, chunks: chunks, progress: progress)
        matrix.datasets = [dataset]
        return matrix
    }

    /// Sums over stretches of ids; the last id of each is only predicted.
    func gather(
        _ graph: any DifferentiableModel, chunks: [[Int]], progress: (Progress) throws -> Void = { _ in }
    ) throws -> ImportanceMatrix {
        guard let graph = graph as? any ObservableModel else {
            throw ModelError(
                .unsupportedArchitecture, "the activations of this architecture cannot be observed")
        }
        let collector = ImportanceCollector(includesOutput: includesOutput)
        graph.activationObserver = collector
        defer { graph.activationObserver = nil }
        var loss = 0.0
        var targets = 0
        for (number, chunk) in chunks.enumerated() {
            let result = try graph.loss(
                of: TrainingBatch([.init(tokens: chunk, targetStart: 1)]), prompt: .none, gradient: nil)
            loss += result.loss * Double(result.targetCount)
            targets += result.targetCount
            if let broken = collector.firstBroken {
                throw ModelError(
                    .invalidTensor,
                    "what enters \(broken) is NaN or infinite; the model is damaged (`incipit verify` finds out where)")
            }
            try progress(
                Progress(chunk: number + 1, chunkCount: chunks.count, perplexity: exp(loss / Double(max(targets, 1)))))
        }
        var matrix = ImportanceMatrix()
        matrix.entries = collector.entries
        matrix.chunkCount = chunks.count
        matrix.chunkSize = chunkSize
        return matrix
    }
}

/// Sums squares, in double precision.
final class ImportanceCollector: ActivationObserver {
    /// Of a weight's matrices one behind the other: squares of each column, and rows.
    private struct Sums {
        var squares: [Double]
        var counts: [Int]

        mutating func add(_ more: [Double], at first: Int, matrix: Int, count: Int) {
            for column in more.indices { squares[first + column] += more[column] }
            counts[matrix] += count
        }
    }

    private let includesOutput: Bool
    private var sums: [String: Sums] = [:]
    /// The first weight whose input was no number.
    private(set) var firstBroken: String?

    init(includesOutput: Bool) { self.includesOutput = includesOutput }

    func observe(
        _ tensors: [String], matrix: (index: Int, count: Int), _ rows: UnsafePointer<Float>, count: Int, columns: Int
    ) {
        let wanted = tensors.filter { $0.hasPrefix("blk.") || (includesOutput && $0 == "output.weight") }
        guard !wanted.isEmpty, count > 0 else { return }
        var squares = [Double](repeating: 0, count: columns)
        squares.withUnsafeMutableBufferPointer { squares in
            for row in 0..<count {
                let values = rows + row * columns
                for column in 0..<columns {
                    let value = Double(values[column])
                    squares[column] += value * value
                }
            }
        }
        for name in wanted {
            if firstBroken == nil, !squares.allSatisfy(\.isFinite) { firstBroken = name }
            let first = matrix.index * columns
            sums[
                name,
                default: Sums(
                    squares: [Double](repeating: 0, count: columns * matrix.count),
                    counts: [Int](repeating: 0, count: matrix.count))
            ].add(squares, at: first, matrix: matrix.index, count: count)
        }
    }

    var entries: [String: ImportanceMatrix.Entry] {
        sums.mapValues { .init(sums: $0.squares.map { Float($0) }, counts: $0.counts.map { Float($0) }) }
    }
}
