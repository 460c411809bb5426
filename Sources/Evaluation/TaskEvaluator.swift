import Generation
import Kernels
import LanguageModels
import PromptTuning
import Tokenization

/// How an answer is judged.
public enum Scoring: String, Sendable, CaseIterable, Codable {
    /// The label whose text the model finds most probable, among the task's labels.
    case labels
    /// The greedy continuation's first line must be the target.
    case generate
}

/// What an evaluation found.
public struct TaskReport: Sendable, Codable {
    /// The prompt: `zero-shot`, `few-shot`, or the attached prompt's name.
    public var prompt: String
    public var scoring: Scoring
    public var rows: Int
    public var correct: Int
    public var accuracy: Double
    /// 95 % Wilson interval of the accuracy.
    public var accuracyLow: Double
    public var accuracyHigh: Double
    /// Mean negative log-likelihood of the right label among all tokens, nats; nil when answers were generated.
    public var loss: Double?
    /// Mean tokens of context a request occupies: prompt (virtual tokens included) and row.
    public var contextTokens: Double
    /// Of these, tokens that each request must compute; virtual tokens of an attached prompt are resident.
    public var computedTokens: Double
    /// Median seconds from request to first token, each request starting cold.
    public var timeToFirstToken: Double
    /// Seconds the whole evaluation took.
    public var seconds: Double
    /// Answer of each row, in the order of the rows.
    public var answers: [String]
    /// Log-probability of each label for each row, of several prompts the mean; nil when answers were generated.
    public var labelScores: [[Double]]?
}

/// Runs a labelled task through a model, with a hand-written or an attached prompt.
///
/// Rows share the text before them: the tokens that two consecutive requests have in common are computed once. The time
/// to first token is measured apart, on requests that start with nothing but the attached prompt.
public final class TaskEvaluator {
    private let session: any GenerationContext
    private let tokenizer: any Tokenizer
    private let template: ExampleTemplate
    private let labels: [String]
    private let labelTokens: [[Int]]
    /// Ids now in the session's cache behind the attached prompt.
    private var resident: [Int] = []
    /// Cold requests measured for the time to first token.
    private static let timedRequests = 15

    /// - Parameters:
    ///   - labels: the answers to choose from; needed for `Scoring.labels`.
    ///   - session: carries the attached prompt, if any; or several that answer together.
    public init(session: any GenerationContext, tokenizer: any Tokenizer, template: ExampleTemplate, labels: [String]) {
        self.session = session
        self.tokenizer = tokenizer
        self.template = template
        self.labels = labels
        labelTokens = labels.map { tokenizer.encode(" " + $0, parseSpecial: false, addSpecial: false) }
    }

    /// Scores every row.
    ///
    /// - Parameters:
    ///   - prompt: text before each row.
    ///   - progress: called with the number of rows done.
    ///   - shouldStop: asked between rows; stopping throws `CancellationError`.
    public func evaluate(
        _ rows: [Example], prompt: HandWrittenPrompt, name: String, scoring: Scoring, measuresTime: Bool = true,
        shouldStop: () -> Bool = { false }, progress: (Int) -> Void = { _ in }
    ) throws -> TaskReport {
        let clock = ContinuousClock()
        let started = clock.now
        let prefix = prompt.text(template: template)
        let requests = rows.map { row in
            tokenizer.encode(prefix + template.prompt(for: row), parseSpecial: false, addSpecial: true)
        }
        var answers: [String] = []
        var allScores: [[Double]] = []
        var loss = 0.0
        for (index, row) in rows.enumerated() {
            if shouldStop() { throw CancellationError() }
            switch scoring {
            case .labels:
                // One run of scores for each prompt that answers.
                let own = try labelScores(requests[index])
                answers.append(labels[combination.choose(own)])
                let scores = labels.indices.map { label in own.reduce(0) { $0 + $1[label] } / Double(own.count) }
                allScores.append(scores)
                if let target = labels.firstIndex(of: row.target) { loss -= scores[target] }
            case .generate:
                answers.append(try generate(requests[index]))
            }
            progress(index + 1)
        }
        let times = measuresTime ? try requests.prefix(Self.timedRequests).map(timeToFirstToken) : []
        let correct = zip(answers, rows).count { $0 == $1.target }
        let interval = Proportion(successes: correct, trials: rows.count).wilsonInterval()
        let computed = Double(requests.reduce(0) { $0 + $1.count } * memberCount) / Double(max(rows.count, 1))
        return TaskReport(
            prompt: name, scoring: scoring, rows: rows.count, correct: correct,
            accuracy: Double(correct) / Double(max(rows.count, 1)), accuracyLow: interval.lowerBound,
            accuracyHigh: interval.upperBound, loss: scoring == .labels ? loss / Double(max(rows.count, 1)) : nil,
            contextTokens: computed + Double(ensemble?.totalAttachedCount ?? session.attachedCount),
            computedTokens: computed,
            timeToFirstToken: Percentile.median(times) ?? 0, seconds: (clock.now - started).seconds, answers: answers,
            labelScores: scoring == .labels ? allScores : nil)
    }

    /// The session as several prompts, where it is that.
    private var ensemble: SessionEnsemble? { session as? SessionEnsemble }
    private var memberCount: Int { ensemble?.memberCount ?? 1 }
    private var combination: PromptEnsemble { PromptEnsemble(rule: ensemble?.rule ?? .mean) }

    /// Log-probability of each label after the request, one run for each prompt.
    private func labelScores(_ request: [Int]) throws -> [[Double]] {
        /// A row of the logits that came last, by prompt.
        func row(_ index: Int, of rows: UnsafeBufferPointer<Float>) -> [LogProbabilities] {
            let width = session.model.shape.vocabularySize
            guard let ensemble else {
                return [LogProbabilities(UnsafeBufferPointer(rebasing: rows[index * width..<(index + 1) * width]))]
            }
            return (0..<memberCount).map { LogProbabilities(ensemble.logits(ofMember: $0, row: index)) }
        }
        var scores = row(0, of: try run(request)).map { first in
            labelTokens.map { tokens in tokens.first.map { first[$0] } ?? 0 }
        }
        let longer = labelTokens.indices.filter { labelTokens[$0].count > 1 }
        for label in longer {
            let tokens = labelTokens[label]
            let position = session.position
            let rows = try session.append(Array(tokens.dropLast()), logitCount: tokens.count - 1)
            for index in 1..<tokens.count {
                for (member, probabilities) in row(index - 1, of: rows).enumerated() {
                    scores[member][label] += probabilities[tokens[index]]
                }
            }
            session.reset(to: position)
        }
        return scores
    }

    /// The first line of the greedy continuation, without blanks at its ends.
    private func generate(_ request: [Int]) throws -> String {
        var logits = try run(request)
        let position = session.position
        defer { session.reset(to: position) }
        var decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecial: true)
        var text = ""
        for _ in 0..<32 {
            let token = VectorMath.argmax(logits.baseAddress!, count: logits.count)
            if tokenizer.endOfGeneration.contains(token) { break }
            text += decoder.append(token)
            let line = text.drop { $0.isWhitespace }
            if line.contains(where: \.isNewline) || session.remaining == 0 { break }
            logits = try session.append([token], logitCount: 1)
        }
        text += decoder.finish()
        let line = text.drop { $0.isWhitespace }.prefix { !$0.isNewline }
        return line.trimmed
    }

    /// Logits after `request`, reusing what the session already holds of it.
    private func run(_ request: [Int]) throws -> UnsafeBufferPointer<Float> {
        // The last token is always computed anew: its logits are what is asked for.
        let common = min(zip(request, resident).prefix { $0 == $1 }.count, request.count - 1)
        session.reset(to: session.attachedCount + common)
        let logits = try session.append(Array(request[common...]), logitCount: 1)
        resident = request
        return logits
    }

    /// Seconds until the first token of a request that finds nothing but the attached prompt in the cache.
    private func timeToFirstToken(_ request: [Int]) throws -> Double {
        session.reset(to: nil)
        resident = []
        let clock = ContinuousClock()
        let started = clock.now
        let logits = try session.append(request, logitCount: 1)
        _ = VectorMath.argmax(logits.baseAddress!, count: logits.count)
        return (clock.now - started).seconds
    }
}

extension Substring {
    fileprivate var trimmed: String {
        var result = self
        while let last = result.last, last.isWhitespace { result.removeLast() }
        return String(result)
    }
}

/// Natural logarithms of the probabilities that a row of logits gives.
struct LogProbabilities {
    private let logits: UnsafeBufferPointer<Float>
    private let logSum: Double

    /// - Parameter logits: must outlive this value.
    init(_ logits: UnsafeBufferPointer<Float>) {
        self.logits = logits
        logSum = Double(VectorMath.logSumExp(logits.baseAddress!, count: logits.count))
    }

    subscript(token: Int) -> Double { Double(logits[token]) - logSum }
}
