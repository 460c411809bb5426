import ByteIO
import Foundation
import Safetensors

/// A multitask prompt (Wang et al. 2023, arXiv 2303.02861) as PEFT's `MULTITASK_PROMPT_TUNING` saves it: one shared prompt,
/// and for each task the factors of a matrix that it is multiplied by, element by element.
///
/// | tensor | shape |
/// |---|---|
/// | `prompt_embeddings` | `(token, width)` |
/// | `prefix_task_cols` | `(task, token, rank)` |
/// | `prefix_task_rows` | `(task, rank, width)` |
///
/// The prompt of task t is `prompt_embeddings ⊙ (prefix_task_cols[t] · prefix_task_rows[t])`.
public struct MultitaskPrompt: Sendable, Equatable {
    public let tokenCount, width, taskCount, rank: Int
    /// `(token, width)`.
    public let shared: [Float]
    /// `(task, token, rank)`.
    public let columns: [Float]
    /// `(task, rank, width)`.
    public let rows: [Float]

    /// - Throws: ``SoftPromptError`` when the counts do not fit, or a value is not finite.
    public init(
        tokenCount: Int, width: Int, taskCount: Int, rank: Int, shared: [Float], columns: [Float], rows: [Float]
    ) throws(SoftPromptError) {
        func product(_ factors: Int...) -> Int? {
            factors.reduce(1 as Int?) { total, factor in
                guard let total, factor > 0 else { return nil }
                let (value, overflow) = total.multipliedReportingOverflow(by: factor)
                return overflow ? nil : value
            }
        }
        guard shared.count == product(tokenCount, width), columns.count == product(taskCount, tokenCount, rank),
            rows.count == product(taskCount, rank, width)
        else {
            throw SoftPromptError(
                .invalidPrompt,
                "\(shared.count), \(columns.count) and \(rows.count) values do not make a prompt of \(tokenCount) virtual "
                    + "tokens of \(width) for \(taskCount) tasks of rank \(rank)")
        }
        guard [shared, columns, rows].allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
            throw SoftPromptError(
                .notFinite, "the multitask prompt holds a value that is no number; the training diverged")
        }
        self.tokenCount = tokenCount
        self.width = width
        self.taskCount = taskCount
        self.rank = rank
        self.shared = shared
        self.columns = columns
        self.rows = rows
    }

    /// Reads the three tensors of a file.
    init(file: SafetensorsFile, tokenCount: Int) throws {
        let shared = try file.requireTensor(named: PEFT.tensorName)
        let columns = try file.requireTensor(named: Self.columnsName)
        let rows = try file.requireTensor(named: Self.rowsName)
        let a = columns.dimensions, b = rows.dimensions
        guard shared.dimensions.count == 2, shared.dimensions[0] == tokenCount, a.count == 3, b.count == 3,
            a[0] == b[0], a[1] == tokenCount, a[2] == b[1], b[2] == shared.dimensions[1]
        else {
            throw SoftPromptError(
                .invalidPrompt,
                "the task matrices have the shapes \(columns.shapeText) and \(rows.shapeText), beside a prompt of "
                    + shared.shapeText, path: file.path)
        }
        do {
            try self.init(
                tokenCount: tokenCount, width: b[2], taskCount: a[0], rank: a[2],
                shared: try file.floats(of: shared), columns: try file.floats(of: columns),
                rows: try file.floats(of: rows))
        } catch var error as SoftPromptError {
            error.path = error.path ?? file.path
            throw error
        }
    }

    /// Reads a folder that PEFT or ``write(toFolder:baseName:shape:)`` saved.
    /// - Throws: ``SoftPromptError`` when it holds something else.
    public init(folder: String) throws {
        let (json, file) = try PEFTFolder.open(folder)
        guard json["peft_type"]?.stringValue == Self.peftType else {
            throw SoftPromptError(
                .unsupported,
                "the adapter is of type \((json["peft_type"]?.stringValue ?? "none").quotedForMessage); "
                    + "\(Self.peftType) is expected", path: folder)
        }
        guard let tokens = json["num_virtual_tokens"]?.intValue else {
            throw SoftPromptError(
                .invalidConfiguration, "the configuration has no \"num_virtual_tokens\"", path: folder)
        }
        try self.init(file: file, tokenCount: tokens)
    }

    static let peftType = "MULTITASK_PROMPT_TUNING"
    static let columnsName = "prefix_task_cols"
    static let rowsName = "prefix_task_rows"

    // MARK: - Tasks

    /// The plain prompt of a task: `(token, width)`.
    public func values(ofTask task: Int) -> [Float] {
        precondition(task >= 0 && task < taskCount, "there is no task \(task)")
        var result = shared
        for token in 0..<tokenCount {
            for d in 0..<width {
                var factor: Float = 0
                for r in 0..<rank {
                    factor += columns[(task * tokenCount + token) * rank + r] * rows[(task * rank + r) * width + d]
                }
                result[token * width + d] *= factor
            }
        }
        return result
    }

    /// The shared prompt with one task's factors (PEFT's `EXACT_SOURCE_TASK`).
    public func only(task: Int) -> MultitaskPrompt {
        precondition(task >= 0 && task < taskCount, "there is no task \(task)")
        let a = tokenCount * rank, b = rank * width
        return MultitaskPrompt(
            self, columns: Array(columns[task * a..<(task + 1) * a]), rows: Array(rows[task * b..<(task + 1) * b]))
    }

    /// The shared prompt with the mean of the tasks' factors (PEFT's `AVERAGE_SOURCE_TASKS`: the means of columns and of
    /// rows, not of their products).
    public var average: MultitaskPrompt {
        func mean(_ values: [Float]) -> [Float] {
            let size = values.count / taskCount
            return (0..<size).map { index in
                Float((0..<taskCount).reduce(0.0) { $0 + Double(values[$1 * size + index]) } / Double(taskCount))
            }
        }
        return MultitaskPrompt(self, columns: mean(columns), rows: mean(rows))
    }

    private init(_ other: MultitaskPrompt, columns: [Float], rows: [Float]) {
        (tokenCount, width, rank, shared) = (other.tokenCount, other.width, other.rank, other.shared)
        taskCount = 1
        self.columns = columns
        self.rows = rows
    }

    // MARK: - Writing

    /// `adapter_config.json`, with the keys that every PEFT since 0.5 knows.
    func configuration(baseName: String, shape: ModelShape) -> JSONValue {
        .object(
            JSONObject([
                ("auto_mapping", .null), ("base_model_name_or_path", .string(baseName)), ("inference_mode", true),
                ("num_attention_heads", JSONValue(shape.headCount)), ("num_layers", JSONValue(shape.layerCount)),
                ("num_ranks", JSONValue(rank)), ("num_tasks", JSONValue(taskCount)),
                ("num_transformer_submodules", 1), ("num_virtual_tokens", JSONValue(tokenCount)),
                ("peft_type", .string(Self.peftType)), ("prompt_tuning_init", "RANDOM"),
                ("prompt_tuning_init_state_dict_path", .null), ("prompt_tuning_init_task", 0),
                ("prompt_tuning_init_text", .null), ("revision", .null), ("task_type", "CAUSAL_LM"),
                ("token_dim", JSONValue(width)), ("tokenizer_kwargs", .null), ("tokenizer_name_or_path", .null),
            ]))
    }

    /// Writes PEFT's two files into a folder that exists; deterministic.
    public func write(toFolder folder: String, baseName: String, shape: ModelShape) throws {
        var writer = SafetensorsWriter(metadata: [("format", "pt")])
        try writer.add(name: Self.columnsName, shape: [taskCount, tokenCount, rank], floats: columns)
        try writer.add(name: Self.rowsName, shape: [taskCount, rank, width], floats: rows)
        try writer.add(name: PEFT.tensorName, shape: [tokenCount, width], floats: shared)
        try AtomicFile.write(try writer.serialized(), to: "\(folder)/\(SoftPromptFile.tensorFileName)")
        try AtomicFile.write(
            configuration(baseName: baseName, shape: shape).prettyBytes(indent: 2, sortingKeys: true),
            to: "\(folder)/\(SoftPromptFile.peftConfigurationFileName)")
    }
}
