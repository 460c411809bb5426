import ByteIO
import Foundation
import LanguageModels
import Safetensors

/// What a teacher expected at every position of some sequences: its likeliest tokens and their probabilities.
///
/// Stored as one safetensors file a portion:
///
///     lengths   I32 (sequences)             tokens of each sequence
///     starts    I32 (sequences)             position of its first distribution
///     tokens    I32 (Σ lengths)             the sequences, end to end
///     weights   F32 (Σ positions)           weight of each position
///     ids       I32 (Σ positions, k)        likeliest first
///     shares    F32 (Σ positions, k)        probability of each
public struct TeacherRecording: Sendable, Equatable {
    /// A sequence as the student reads it.
    public struct Sequence: Sendable, Equatable {
        public let tokens: [Int]
        /// The position that the first distribution predicts; the others follow one by one to the end.
        public let start: Int
        /// One for each position from `start` on.
        public let distributions: [TokenDistribution]
        /// How much each position counts.
        public let weights: [Float]

        public init(tokens: [Int], start: Int, distributions: [TokenDistribution], weights: [Float]) {
            precondition(
                start + distributions.count == tokens.count && weights.count == distributions.count,
                "a sequence has a distribution for each position from its start to its end")
            self.tokens = tokens
            self.start = start
            self.distributions = distributions
            self.weights = weights
        }

        /// The sequence as something to learn.
        public var example: TrainingBatch.Example {
            TrainingBatch.Example(
                tokens: tokens,
                targets: distributions.indices.map {
                    .init(position: start + $0, target: .distribution(distributions[$0]), weight: weights[$0])
                })
        }
    }

    public var sequences: [Sequence]

    public init(_ sequences: [Sequence]) { self.sequences = sequences }

    // MARK: - Storing

    /// - Parameter identity: what the recording depends on; a file with another is not read.
    /// - Throws: when the file cannot be written; it then does not exist.
    public func write(to path: String, identity: String) throws {
        let k = sequences.first?.distributions.first?.tokens.count ?? 0
        var writer = SafetensorsWriter(metadata: [(key: "identity", value: identity)])
        func add(_ name: String, _ values: [Int32], _ shape: [Int]) throws {
            try writer.add(name: name, type: .i32, shape: shape, bytes: values.withUnsafeBytes { Array($0) })
        }
        let positions = sequences.reduce(0) { $0 + $1.distributions.count }
        try add("lengths", sequences.map { Int32($0.tokens.count) }, [sequences.count])
        try add("starts", sequences.map { Int32($0.start) }, [sequences.count])
        let tokens = sequences.flatMap { $0.tokens.map { Int32($0) } }
        try add("tokens", tokens, [tokens.count])
        try add("ids", sequences.flatMap { $0.distributions.flatMap(\.tokens) }, [positions, k])
        try writer.add(
            name: "shares", shape: [positions, k],
            floats: sequences.flatMap { $0.distributions.flatMap(\.probabilities) })
        try writer.add(name: "weights", shape: [positions], floats: sequences.flatMap(\.weights))
        try writer.write(to: path)
    }

    /// Reads what `write` wrote.
    /// - Returns: nil when the file is another recording's or damaged: it is then made again.
    public static func read(from path: String, identity: String) -> TeacherRecording? {
        guard FileManager.default.fileExists(atPath: path), let file = try? SafetensorsFile(path: path),
            file.metadata?.first(where: { $0.key == "identity" })?.value == identity
        else { return nil }
        func integers(_ name: String) -> [Int]? {
            guard let tensor = file.tensor(named: name), tensor.type == .i32 else { return nil }
            let bytes = file.bytes(of: tensor)
            return (0..<bytes.count / 4).map {
                Int(Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self)))
            }
        }
        func floats(_ name: String) -> [Float]? {
            guard let tensor = file.tensor(named: name) else { return nil }
            return try? file.floats(of: tensor)
        }
        guard let lengths = integers("lengths"), let starts = integers("starts"), let tokens = integers("tokens"),
            let ids = integers("ids"), let shares = floats("shares"), let weights = floats("weights"),
            lengths.count == starts.count, ids.count == shares.count
        else { return nil }
        // Each number is below 2³¹ and they are as many as the file is long: sums cannot overflow.
        let counts: [Int] = zip(lengths, starts).map { length, start in length - start }
        guard starts.allSatisfy({ $0 >= 0 }), counts.allSatisfy({ $0 >= 0 }),
            lengths.reduce(0, +) == tokens.count, counts.reduce(0, +) == weights.count,
            weights.isEmpty ? ids.isEmpty : ids.count % weights.count == 0
        else { return nil }
        let k = weights.isEmpty ? 0 : ids.count / weights.count
        var sequences: [Sequence] = []
        var token = 0, position = 0
        for (length, start) in zip(lengths, starts) {
            let count = length - start
            sequences.append(
                Sequence(
                    tokens: Array(tokens[token..<token + length]), start: start,
                    distributions: (position..<position + count).map { row in
                        TokenDistribution(
                            tokens: ids[row * k..<(row + 1) * k].map { Int32(truncatingIfNeeded: $0) },
                            probabilities: Array(shares[row * k..<(row + 1) * k]))
                    }, weights: Array(weights[position..<position + count])))
            token += length
            position += count
        }
        return TeacherRecording(sequences)
    }
}
