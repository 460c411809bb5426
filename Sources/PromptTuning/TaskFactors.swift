import LanguageModels
import SoftPrompts

/// The parameters of several tasks that share a prompt: the prompt of task t is `shared ⊙ (columns[t] · rows[t])`.
///
/// Parameters in order: shared `(token, width)`, columns `(task, token, rank)`, rows `(task, rank, width)`, which is what
/// `MultitaskPrompt` stores. Factors near 1 against embeddings near 0.1: one learning rate moves the shared prompt fast
/// and the tasks' matrices slowly, as the paper's two rates do.
public struct TaskFactors: Sendable, Equatable {
    public let tokens, width, tasks, rank: Int

    public init(tokens: Int, width: Int, tasks: Int, rank: Int) {
        precondition(tokens > 0 && width > 0 && tasks > 0 && rank > 0, "task factors need at least one of each")
        self.tokens = tokens
        self.width = width
        self.tasks = tasks
        self.rank = rank
    }

    public var parameterCount: Int { promptCount + tasks * rank * (tokens + width) }

    /// Floats of one task's prompt.
    public var promptCount: Int { tokens * width }
    private var columnStart: Int { promptCount }
    private var rowStart: Int { columnStart + tasks * tokens * rank }

    /// Parameters under which every task's prompt is `values`.
    ///
    /// The first rank is all ones; of the others the rows are zero and the columns random, so that they add nothing and
    /// yet learn (two zeros would never move).
    public func parameters(from values: [Float], seed: UInt64) -> [Float] {
        precondition(values.count == promptCount)
        var random = SplitMix64(seed: seed, stream: 0x7a5c)
        var result = values
        result.reserveCapacity(parameterCount)
        for _ in 0..<tasks * tokens {
            for r in 0..<rank { result.append(r == 0 ? 1 : Float(random.nextUniform() * 2 - 1) * 0.5) }
        }
        for _ in 0..<tasks {
            for r in 0..<rank { result += [Float](repeating: r == 0 ? 1 : 0, count: width) }
        }
        return result
    }

    /// The prompts of all tasks: `(task, token, width)`.
    public func prompts(_ parameters: [Float]) -> [Float] {
        precondition(parameters.count == parameterCount)
        var result = [Float](repeating: 0, count: tasks * promptCount)
        for task in 0..<tasks {
            for token in 0..<tokens {
                let columns = columnStart + (task * tokens + token) * rank
                let target = task * promptCount + token * width
                for r in 0..<rank {
                    let rows = rowStart + (task * rank + r) * width
                    for d in 0..<width { result[target + d] += parameters[columns + r] * parameters[rows + d] }
                }
                for d in 0..<width { result[target + d] *= parameters[token * width + d] }
            }
        }
        return result
    }

    /// The gradient of the parameters, from that of all tasks' prompts `(task, token, width)`.
    public func gradient(_ gradient: [Float], parameters: [Float]) -> [Float] {
        precondition(gradient.count == tasks * promptCount && parameters.count == parameterCount)
        var result = [Float](repeating: 0, count: parameterCount)
        var product = [Float](repeating: 0, count: width)
        for task in 0..<tasks {
            for token in 0..<tokens {
                let source = task * promptCount + token * width, shared = token * width
                let columns = columnStart + (task * tokens + token) * rank
                for d in 0..<width { product[d] = gradient[source + d] * parameters[shared + d] }
                for r in 0..<rank {
                    let rows = rowStart + (task * rank + r) * width
                    let column = parameters[columns + r]
                    var slope: Float = 0
                    for d in 0..<width {
                        let row = parameters[rows + d]
                        result[shared + d] += gradient[source + d] * column * row
                        slope += product[d] * row
                        result[rows + d] += product[d] * column
                    }
                    result[columns + r] = slope
                }
            }
        }
        return result
    }

    // MARK: - Storing

    /// The parameters as PEFT saves them.
    public func multitaskPrompt(_ parameters: [Float]) throws -> MultitaskPrompt {
        precondition(parameters.count == parameterCount)
        return try MultitaskPrompt(
            tokenCount: tokens, width: width, taskCount: tasks, rank: rank,
            shared: Array(parameters[..<columnStart]), columns: Array(parameters[columnStart..<rowStart]),
            rows: Array(parameters[rowStart...]))
    }

    /// Parameters that begin every task with the one task of `source`.
    ///
    /// - Throws: `TuningError.invalidSetting` when its tokens, width or rank are others.
    public func parameters(from source: MultitaskPrompt) throws -> [Float] {
        guard source.tokenCount == tokens, source.width == width, source.rank == rank, source.taskCount == 1 else {
            throw TuningError(
                code: .invalidSetting,
                message:
                    "the source has \(source.tokenCount) virtual tokens of \(source.width) and task matrices of rank "
                    + "\(source.rank); this run has \(tokens) of \(width) and rank \(rank)")
        }
        return source.shared + (0..<tasks).flatMap { _ in source.columns } + (0..<tasks).flatMap { _ in source.rows }
    }
}
