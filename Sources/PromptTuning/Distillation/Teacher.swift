import Foundation
import Kernels
import Layers
import LanguageModels
import SoftPrompts
import Tokenization

/// The base as it answers behind some context: what a prompt shall learn to imitate.
public final class Teacher {
    /// What the teacher has read before a sequence.
    public enum Context: Sendable {
        /// A text's tokens, without the token that begins sequences.
        case text([Int])
        /// A soft prompt: `(layer, key|value, head, token, headDimension)`.
        case prefix([Float], count: Int)
        /// A soft prompt at the input: `(token, hiddenSize)`.
        case embeddings([Float], count: Int)
        /// An adaption prompt: `(token, layer, hiddenSize + 1)`.
        case adaptionPrompt([Float], count: Int)
        case nothing

        /// A soft prompt in the layout of training.
        public init(_ placement: SoftPrompt.Placement, _ values: [Float], count: Int) {
            switch placement {
            case .inputEmbeddings: self = .embeddings(values, count: count)
            case .keysAndValues: self = .prefix(values, count: count)
            case .adaptionPrompt: self = .adaptionPrompt(values, count: count)
            }
        }
    }

    /// How a sequence goes on behind what is given.
    public struct Continuation: Sendable, Equatable {
        /// Tokens at most; 0 records the given tokens alone.
        public var tokens: Int
        /// 0 takes the likeliest token.
        public var temperature: Double
        /// Ends with the first token that holds a line break, where one is written.
        public var endsAtLine: Bool

        public init(tokens: Int, temperature: Double = 0, endsAtLine: Bool = false) {
            self.tokens = tokens
            self.temperature = temperature
            self.endsAtLine = endsAtLine
        }
    }

    private let model: any LanguageModel
    private let tokenizer: any Tokenizer
    private let cache: KVCache
    private let workspace = InferenceWorkspace()
    private let readCount: Int
    /// Tokens that begin a sequence of the student's and that the teacher has read already.
    private let lead: [Int]
    private let repeatsLead: Bool
    /// Likeliest tokens kept of each position.
    public let keptTokens: Int
    /// Logits after the context, for a sequence without tokens of its own.
    private var contextLogits: [Float] = []

    /// Reads the context.
    /// - Throws: `ModelError.contextFull` when the model has no room for it.
    public init(model: any LanguageModel, tokenizer: any Tokenizer, context: Context, keptTokens: Int = 32) throws {
        self.model = model
        self.tokenizer = tokenizer
        self.keptTokens = min(keptTokens, model.shape.vocabularySize)
        lead = tokenizer.addsBeginning ? tokenizer.special.beginningOfSequence.map { [$0] } ?? [] : []
        var gated: GatedPrompt?
        if case .adaptionPrompt(let values, let count) = context {
            gated = try model.gatedPrompt(values, count: count)
        }
        let cache = model.makeCache(element: .f32, gated: gated)
        self.cache = cache
        var repeats = true
        switch context {
        case .text(let ids):
            let all = lead + ids
            guard all.count < model.shape.contextLength else {
                throw ModelError(
                    .contextFull,
                    "the text has \(all.count) tokens and the model a context of \(model.shape.contextLength)")
            }
            if !all.isEmpty {
                contextLogits = Array(
                    try model.forward(.tokens(all), cache: cache, workspace: workspace, logitCount: 1))
            }
            repeats = all.isEmpty
        case .prefix(let values, let count):
            values.withUnsafeBufferPointer { cache.loadPrefix($0.baseAddress!, tokens: count) }
        case .embeddings(let values, let count):
            _ = try model.forward(.embeddings(values, count: count), cache: cache, workspace: workspace, logitCount: 0)
        case .adaptionPrompt, .nothing: break
        }
        readCount = cache.count
        repeatsLead = repeats
    }

    /// Positions left behind the context.
    public var room: Int { model.shape.contextLength - readCount }

    /// Reads a sequence and what the teacher makes of it, and keeps its expectations.
    ///
    /// - Parameters:
    ///   - input: tokens of the sequence, without the token that begins sequences; may be empty after a text.
    ///   - inputWeight: weight of positions within the input; 0 leaves them out.
    ///   - draw: the randomness of sampled continuations.
    /// - Returns: nil when the sequence has no position to learn.
    public func record(
        _ input: [Int], inputWeight: Float, continuation: Continuation, draw: inout SplitMix64
    ) throws -> TeacherRecording.Sequence? {
        cache.truncate(to: readCount)
        let own = (repeatsLead ? lead : []) + input
        // Logits of the last `own.count` positions predict own[1...] and what follows.
        let vocabulary = model.shape.vocabularySize
        var rows: [TokenDistribution] = []
        var next: [Float]
        if own.isEmpty {
            next = contextLogits
        } else {
            let wantsAll = inputWeight > 0
            let logits = try model.forward(
                .tokens(own), cache: cache, workspace: workspace, logitCount: wantsAll ? own.count : 1)
            if wantsAll {
                rows = (0..<own.count - 1).map { distribution(logits.baseAddress! + $0 * vocabulary) }
                next = Array(logits[(own.count - 1) * vocabulary..<own.count * vocabulary])
            } else {
                next = Array(logits)
            }
        }
        var tokens = lead + input
        var weights = rows.map { _ in inputWeight }
        var answer: [TokenDistribution] = []
        while answer.count < continuation.tokens, !next.isEmpty, cache.count < model.shape.contextLength {
            let expected = next.withUnsafeBufferPointer { distribution($0.baseAddress!) }
            let token = choose(next, temperature: continuation.temperature, draw: &draw)
            answer.append(expected)
            tokens.append(token)
            weights.append(1)
            if tokenizer.endOfGeneration.contains(token) { break }
            if continuation.endsAtLine, answer.count > 1,
                tokenizer.decode([token], skipSpecial: true).contains(where: \.isNewline)
            {
                break
            }
            if answer.count == continuation.tokens { break }
            next = Array(try model.forward(.tokens([token]), cache: cache, workspace: workspace, logitCount: 1))
        }
        var distributions = rows + answer
        if distributions.count == tokens.count, !distributions.isEmpty {
            // The student's first token is predicted by nothing.
            distributions.removeFirst()
            weights.removeFirst()
        }
        guard !distributions.isEmpty else { return nil }
        return TeacherRecording.Sequence(
            tokens: tokens, start: tokens.count - distributions.count, distributions: distributions, weights: weights)
    }

    private func choose(_ logits: [Float], temperature: Double, draw: inout SplitMix64) -> Int {
        let likeliest = logits.withUnsafeBufferPointer { VectorMath.argmax($0.baseAddress!, count: $0.count) }
        guard temperature > 0 else { return likeliest }
        let largest = logits[likeliest]
        var total = 0.0
        for value in logits { total += exp(Double(value - largest) / temperature) }
        var rest = draw.nextUniform() * total
        for (id, value) in logits.enumerated() {
            rest -= exp(Double(value - largest) / temperature)
            if rest < 0 { return id }
        }
        return likeliest
    }

    /// The likeliest tokens of a row of logits, ties to the lower id.
    func distribution(_ logits: UnsafePointer<Float>) -> TokenDistribution {
        let count = model.shape.vocabularySize
        let logSum = VectorMath.logSumExp(logits, count: count)
        var best: [(id: Int, value: Float)] = []
        best.reserveCapacity(keptTokens + 1)
        for id in 0..<count {
            let value = logits[id]
            if best.count == keptTokens, value <= best[keptTokens - 1].value { continue }
            var place = best.count
            while place > 0, best[place - 1].value < value { place -= 1 }
            best.insert((id, value), at: place)
            if best.count > keptTokens { best.removeLast() }
        }
        return TokenDistribution(
            tokens: best.map { Int32($0.id) }, probabilities: best.map { exp($0.value - logSum) })
    }
}
