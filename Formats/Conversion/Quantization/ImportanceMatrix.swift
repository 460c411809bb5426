import ByteIO
import Foundation
import GGUF
import TensorTypes

/// How much each column of each weight matters: the mean square of the activations that meet it, gathered over a text.
///
/// An error in a column that meets large activations costs more; encoders that are told put it elsewhere. For a matrix
/// of `columns` inputs there are `columns` sums of squares and the number of vectors they were gathered over; a stack of
/// experts has both for each expert.
///
///     let matrix = try ImportanceMatrix(path: "imatrix.gguf")
///     let weights = matrix.importance(of: "blk.0.ffn_down.weight")
public struct ImportanceMatrix: Sendable {
    /// What was gathered for one tensor.
    public struct Entry: Sendable, Equatable {
        /// `columns` values for each matrix: sums of squares, finite and not negative.
        public var sums: [Float]
        /// For each matrix, how many vectors were summed; one number may stand for all matrices.
        public var counts: [Float]

        /// - Precondition: `counts` is not empty and divides `sums`.
        public init(sums: [Float], counts: [Float]) {
            precondition(!counts.isEmpty && sums.count % counts.count == 0)
            self.sums = sums
            self.counts = counts
        }
    }

    /// By the name of the tensor.
    public var entries: [String: Entry] = [:]
    /// Names of the texts.
    public var datasets: [String] = []
    /// How many stretches of text were read.
    public var chunkCount = 0
    /// Tokens in a stretch; 0 when the file does not say (legacy files).
    public var chunkSize = 0
    /// The path the matrix was read from.
    public var path: String?

    public init() {}

    /// The mean square of each column: `sums / counts`. Columns of an expert that no token reached weigh 1.
    public func importance(of name: String) -> [Float]? {
        guard let entry = entries[name] else { return nil }
        let columns = entry.sums.count / entry.counts.count
        var result = entry.sums
        for (matrix, count) in entry.counts.enumerated() {
            let range = matrix * columns..<(matrix + 1) * columns
            for index in range { result[index] = count > 0 ? entry.sums[index] / count : 1 }
        }
        return result
    }

    /// The keys that llama-quantize leaves in a file it made with a matrix.
    var provenance: [(String, GGUFValue)] {
        var result: [(String, GGUFValue)] = []
        func limited(_ text: String) -> GGUFValue {
            // The reference keeps 127 bytes; ours end at a character.
            var kept = text
            while kept.utf8.count > 127 { kept.removeLast() }
            return .text(kept)
        }
        if let path { result.append(("quantize.imatrix.file", limited(path))) }
        if let first = datasets.first { result.append(("quantize.imatrix.dataset", limited(first))) }
        result.append(("quantize.imatrix.entries_count", .uint32(UInt32(clamping: entries.count))))
        if chunkCount > 0 { result.append(("quantize.imatrix.chunks_count", .uint32(UInt32(clamping: chunkCount)))) }
        return result
    }

    /// Adds what another text gave. Sums and counts add up, so the order of merging does not matter.
    /// - Throws: ``ConversionError`` when a tensor has another size in both, which two models' matrices have.
    public mutating func merge(_ other: ImportanceMatrix) throws {
        for (name, added) in other.entries {
            guard let present = entries[name] else {
                entries[name] = added
                continue
            }
            guard present.sums.count == added.sums.count else {
                throw ConversionError(
                    .invalidRequest,
                    "\(name) has \(present.sums.count) values in one importance matrix and \(added.sums.count) in another; "
                        + "they are of different models", path: other.path)
            }
            let counts = max(present.counts.count, added.counts.count)
            func spread(_ values: [Float]) -> [Float] {
                values.count == counts ? values : Array(repeating: values[0], count: counts)
            }
            entries[name] = Entry(
                sums: zip(present.sums, added.sums).map { $0 + $1 },
                counts: zip(spread(present.counts), spread(added.counts)).map { $0 + $1 })
        }
        datasets += other.datasets.filter { !datasets.contains($0) }
        chunkCount += other.chunkCount
        if chunkSize == 0 { chunkSize = other.chunkSize }
    }
}

// MARK: - Statistics

extension ImportanceMatrix {
    /// What one tensor's importance looks like.
    public struct Statistics: Sendable {
        public let name: String
        public let columns, matrices: Int
        /// Vectors gathered; the least over experts.
        public let count: Float
        /// Of the mean squares.
        public let sum, mean, deviation, least, greatest: Double
        /// Fraction of columns with more than a hundred-thousandth.
        public let active: Double
        /// Of the distribution over columns, in bits, and as a fraction of the most possible: 1 when all weigh alike.
        public let entropy, evenness: Double
        /// Experts that no token reached.
        public let unreached: Int
    }

    /// One row a tensor, by name.
    public var statistics: [Statistics] {
        entries.keys.sorted { ExactString($0) < ExactString($1) }.compactMap { name in
            guard let entry = entries[name], let values = importance(of: name), !values.isEmpty else { return nil }
            let sum = values.reduce(0.0) { $0 + Double($1) }
            let mean = sum / Double(values.count)
            let variance = values.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(values.count)
            var entropy = 0.0
            if sum > 0 {
                for value in values where value > 0 {
                    let share = Double(value) / sum
                    entropy -= share * log2(share)
                }
            }
            let most = log2(Double(values.count))
            return Statistics(
                name: name, columns: values.count / entry.counts.count, matrices: entry.counts.count,
                count: entry.counts.min() ?? 0, sum: sum, mean: mean, deviation: variance.squareRoot(),
                least: Double(values.min() ?? 0), greatest: Double(values.max() ?? 0),
                active: Double(values.count { $0 > 1e-5 }) / Double(values.count), entropy: entropy,
                evenness: most > 0 ? entropy / most : 1, unreached: entry.counts.count { $0 == 0 })
        }
    }
}
