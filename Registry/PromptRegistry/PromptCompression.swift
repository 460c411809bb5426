import Foundation
import Safetensors
import SoftPrompts

/// What one way to store a prompt takes, and what it changes.
public struct CompressionRow: Hashable, Sendable, Codable {
    /// F32, BF16, F16, I8 or MIXED.
    public let type: String
    /// The type of each part, by the part's name, when they differ.
    public let parts: [String: String]?
    /// Bytes of the tensor file.
    public let fileBytes: Int
    /// Bytes of it at rest.
    public let storedBytes: Int
    /// Root mean square of the values' errors, over that of the values.
    public let relativeError: Double
    public let largestError: Double
    /// What the gate measured; nil without one.
    public let divergence: Double?
    /// Share of the labelled rows that are answered right; nil without such rows.
    public let score: Double?
    /// How much less that is than with the exact prompt, in percentage points; negative where it is more.
    public let scoreLossPoints: Double?
    /// Rows that only the exact prompt answers right, and those that only this one does: a loss of nought may hide both.
    public let rowsLost: Int?
    public let rowsGained: Int?
}

/// Chooses how exactly a prompt's values have to be stored.
public enum PromptCompression {
    /// Measures what a changed prompt costs. Given by whoever has a model.
    public struct Gate {
        /// The mean KL divergence of a model's predictions from those with the exact prompt.
        let divergence: (SoftPrompt) async throws -> Double
        /// Whether each of some labelled rows is answered right.
        let outcomes: ((SoftPrompt) async throws -> [Bool])?
        /// The same with the exact prompt.
        let expected: [Bool]?

        /// Runs the labelled rows, if there are any, with the exact prompt.
        public init(
            _ prompt: SoftPrompt, divergence: @escaping (SoftPrompt) async throws -> Double,
            outcomes: ((SoftPrompt) async throws -> [Bool])? = nil
        ) async throws {
            self.divergence = divergence
            self.outcomes = outcomes
            expected = try await outcomes?(prompt)
        }

        fileprivate func score(_ prompt: SoftPrompt) async throws -> Score? {
            guard let outcomes, let expected else { return nil }
            return Score(try await outcomes(prompt), expected: expected)
        }
    }

    /// What may be lost at most. A form is accepted when it is exact, or when all that was measured stays within.
    public struct Limits: Hashable, Sendable {
        /// Nats a token.
        public var divergence: Double
        /// Percentage points of the score; nil: it is not asked.
        public var scoreLossPoints: Double?

        public init(divergence: Double, scoreLossPoints: Double? = nil) {
            self.divergence = divergence
            self.scoreLossPoints = scoreLossPoints
        }

        fileprivate func accept(_ candidate: Candidate) -> Bool {
            if candidate.encoding.isExact { return true }
            guard let found = candidate.row.divergence, found <= divergence else { return false }
            return accept(scoreLoss: candidate.row.scoreLossPoints)
        }

        fileprivate func accept(scoreLoss: Double?) -> Bool {
            guard let scoreLossPoints else { return true }
            return scoreLoss.map { $0 <= scoreLossPoints } ?? false
        }
    }

    fileprivate struct Score {
        let share, lossPoints: Double
        let lost, gained: Int

        init(_ outcomes: [Bool], expected: [Bool]) {
            let count = Double(max(1, outcomes.count))
            share = Double(outcomes.count { $0 }) / count
            lost = zip(expected, outcomes).count { $0 && !$1 }
            gained = zip(expected, outcomes).count { !$0 && $1 }
            lossPoints = Double(lost - gained) / count * 100
        }
    }

    /// One way to store the prompt, measured.
    public struct Candidate: Hashable, Sendable {
        public let encoding: PromptEncoding
        public let row: CompressionRow
    }

    /// Measures every type for the whole prompt.
    public static func measure(_ prompt: SoftPrompt, gate: Gate? = nil) async throws -> [Candidate] {
        var found: [Candidate] = []
        for type in SoftPromptFile.types(for: prompt.placement) {
            // F16 cannot hold every prompt; the others can.
            if type == .f16, prompt.values.contains(where: { $0.magnitude >= 65520 }) { continue }
            found.append(try await candidate(prompt, PromptEncoding(type), gate: gate))
        }
        return found
    }

    /// The candidate that takes least at rest among those within the limits; F32, which changes nothing, always is.
    public static func choice(_ candidates: [Candidate], limits: Limits) -> Candidate? {
        candidates.filter { limits.accept($0) }.min { $0.row.storedBytes < $1.row.storedBytes }
    }

    /// Looks for a mixture of types, one for each part, that takes less than any single type within the limits.
    ///
    /// Each part alone is stored in I8 and measured, which tells how much the model minds. Then, above each type that
    /// stays within them for the whole prompt, as many parts go to I8 as they allow, those that matter least
    /// first; how many is found by bisection, every step measured on the whole mixture. The smallest result wins. Takes a
    /// run of the gate for each part and some twenty more; labelled rows are run only for mixtures whose divergence does.
    ///
    /// - Parameters:
    ///   - uniform: what ``measure(_:gate:)`` found.
    ///   - progress: called with the runs done and the runs expected.
    /// - Returns: nil when the prompt has one part, when all of it may be I8, or when nothing is gained.
    public static func mixture(
        _ prompt: SoftPrompt, uniform: [Candidate], limits: Limits, gate: Gate,
        progress: (_ done: Int, _ expected: Int) -> Void = { _, _ in }
    ) async throws -> Candidate? {
        let parts = PromptPart.parts(prompt.placement, prompt.shape)
        guard parts.count > 1, let best = choice(uniform, limits: limits), best.encoding.uniformType != .i8 else {
            return nil
        }
        let floors = uniform.filter { $0.encoding.uniformType != .i8 && limits.accept($0) }
        let steps = (Int.bitWidth - parts.count.leadingZeroBitCount) * floors.count
        var done = 0
        func measured(_ changed: SoftPrompt) async throws -> Double {
            let value = try await gate.divergence(changed)
            done += 1
            progress(done, parts.count + steps)
            return value
        }
        func isWithin(_ encoding: PromptEncoding) async throws -> Bool {
            let changed = try SoftPromptFile(prompt, encoding: encoding).prompt()
            guard try await measured(changed) <= limits.divergence else { return false }
            if limits.scoreLossPoints == nil { return true }
            return limits.accept(scoreLoss: try await gate.score(changed)?.lossPoints)
        }
        var costs: [(part: Int, divergence: Double)] = []
        for index in parts.indices {
            var types = [SafetensorsType](repeating: .f32, count: parts.count)
            types[index] = .i8
            let changed = try SoftPromptFile(prompt, encoding: PromptEncoding(parts: types)).prompt()
            costs.append((index, try await measured(changed)))
        }
        let order = costs.sorted { ($0.divergence, $0.part) < ($1.divergence, $1.part) }.map(\.part)
        func encoding(_ count: Int, above floor: SafetensorsType) -> PromptEncoding {
            var types = [SafetensorsType](repeating: floor, count: parts.count)
            for part in order.prefix(count) { types[part] = .i8 }
            return PromptEncoding(parts: types)
        }
        var smallest: Candidate?
        for floor in floors {
            guard let type = floor.encoding.uniformType else { continue }
            // Some count in low is known to do; from high on none is.
            var (low, high) = (0, parts.count)
            while high - low > 1 {
                let middle = (low + high) / 2
                if try await isWithin(encoding(middle, above: type)) { low = middle } else { high = middle }
            }
            guard low > 0 else { continue }
            let found = try await candidate(prompt, encoding(low, above: type), gate: gate)
            if found.row.storedBytes < (smallest ?? best).row.storedBytes { smallest = found }
        }
        return smallest
    }

    private static func candidate(
        _ prompt: SoftPrompt, _ encoding: PromptEncoding, gate: Gate?
    ) async throws -> Candidate {
        let file = try SoftPromptFile(prompt, encoding: encoding)
        let changed = try file.prompt()
        let (_, stored) = try Codec.encodeBest(file.tensors)
        var (squares, energy, largest) = (0.0, 0.0, 0.0)
        for (old, new) in zip(prompt.values, changed.values) {
            let error = Double(new) - Double(old)
            squares += error * error
            energy += Double(old) * Double(old)
            largest = max(largest, abs(error))
        }
        var parts: [String: String]?
        if encoding.uniformType == nil {
            parts = [:]
            for (index, part) in PromptPart.parts(prompt.placement, prompt.shape).enumerated() {
                parts?[part.name] = encoding.type(ofPart: index).name
            }
        }
        let score = try await gate?.score(changed)
        return Candidate(
            encoding: encoding,
            row: CompressionRow(
                type: encoding.name, parts: parts, fileBytes: file.tensors.count, storedBytes: stored.count,
                relativeError: energy > 0 ? (squares / energy).squareRoot() : 0, largestError: largest,
                divergence: try await gate?.divergence(changed), score: score?.share,
                scoreLossPoints: score?.lossPoints, rowsLost: score?.lost, rowsGained: score?.gained))
    }
}
