import ByteIO
import Foundation
import Safetensors

/// A prompt as a PEFT folder holds it: values and widths, but no proof of its base.
///
///     let imported = try PEFTFolder(path: "my-adapter")
///     let prompt = try imported.prompt(shape: shape, base: fingerprint, baseName: "SmolLM2-135M-Instruct")
public struct PEFTFolder: Sendable {
    public let path: String
    public let placement: SoftPrompt.Placement
    /// Our name of the method.
    public let method: String
    public let virtualTokenCount: Int
    public let columns: Int
    /// `(virtualTokenCount, columns)`.
    public let values: [Float]
    /// What the folder says of its base; nobody has checked it.
    public let baseName: String?
    /// The whole of `adapter_config.json`.
    public let configuration: JSONObject

    /// Reads a folder with `adapter_config.json` and `adapter_model.safetensors`.
    /// - Parameter task: which task of a multi-task prompt; may be nil when there is one.
    /// - Throws: ``SoftPromptError`` for what is no soft prompt, or needs more than prompts here can say.
    public init(path: String, task: Int? = nil) throws {
        func refuse(_ code: SoftPromptError.Code, _ reason: String) -> SoftPromptError {
            SoftPromptError(code, reason, path: path)
        }
        let files = FileManager.default
        let configurationPath = "\(path)/\(SoftPromptFile.peftConfigurationFileName)"
        let tensorPath = "\(path)/\(SoftPromptFile.tensorFileName)"
        guard files.fileExists(atPath: configurationPath) else {
            throw refuse(
                .missingFile, "there is no \(SoftPromptFile.peftConfigurationFileName); this is no PEFT folder")
        }
        guard files.fileExists(atPath: tensorPath) else {
            let hasPickle = files.fileExists(atPath: "\(path)/adapter_model.bin")
            throw refuse(
                .missingFile,
                hasPickle
                    ? "adapter_model.bin is a pickle, which can run code when loaded, and is not read; "
                        + "save it again with safe_serialization=True"
                    : "there is no \(SoftPromptFile.tensorFileName)")
        }
        let configurationFile = try MappedFile(path: configurationPath)
        guard configurationFile.count <= SoftPromptConfiguration.sizeLimit else {
            throw refuse(.invalidConfiguration, "the configuration has \(configurationFile.count) bytes")
        }
        let json = try JSONValue.parse(configurationFile.copyBytes(), path: configurationPath)
        try self.init(path: path, json: json, file: SafetensorsFile(path: tensorPath), task: task)
    }

    init(path: String, json: JSONValue, file: SafetensorsFile, task: Int?) throws {
        func refuse(_ code: SoftPromptError.Code, _ reason: String) -> SoftPromptError {
            SoftPromptError(code, reason, path: path)
        }
        guard let configuration = json.objectValue, let typeName = configuration["peft_type"]?.stringValue else {
            throw refuse(.invalidConfiguration, "the configuration has no \"peft_type\"")
        }
        guard let (method, placement) = PEFT.types[typeName] else {
            throw refuse(
                .unsupported,
                "the adapter is of type \(typeName.quotedForMessage), which is no soft prompt; known are "
                    + PEFT.types.keys.sorted().joined(separator: ", "))
        }
        let submodules = configuration["num_transformer_submodules"]?.intValue ?? 1
        guard submodules == 1 else {
            throw refuse(.unsupported, "the prompt is for an encoder and a decoder (\(submodules) submodules)")
        }
        guard let tokens = configuration["num_virtual_tokens"]?.intValue else {
            throw refuse(.invalidConfiguration, "the configuration has no \"num_virtual_tokens\"")
        }
        let allowed = Set([PEFT.tensorName, "prefix_task_cols", "prefix_task_rows"])
        if let extra = file.tensors.first(where: { !allowed.contains($0.name) }) {
            throw refuse(
                .unsupported,
                "the adapter also holds \(extra.name.quotedForMessage): a changed head cannot be attached as a prompt")
        }
        let tensor = try file.requireTensor(named: PEFT.tensorName)
        guard tensor.shape.count == 2, tensor.dimensions[0] == tokens, tokens >= 1, tensor.dimensions[1] >= 1 else {
            throw refuse(
                .invalidPrompt,
                "\(PEFT.tensorName) has the shape \(tensor.shapeText); \(tokens) rows are expected")
        }
        var values = try file.floats(of: tensor)
        if typeName == "MULTITASK_PROMPT_TUNING" {
            try Self.fold(&values, tokens: tokens, width: tensor.dimensions[1], file: file, task: task)
        }
        self.path = path
        self.placement = placement
        self.method = method
        virtualTokenCount = tokens
        columns = tensor.dimensions[1]
        self.values = values
        baseName = configuration["base_model_name_or_path"]?.stringValue
        self.configuration = configuration
    }

    /// Multi-task prompt tuning: the prompt of task t is the shared one times `cols[t] @ rows[t]`, element by element.
    private static func fold(
        _ values: inout [Float], tokens: Int, width: Int, file: SafetensorsFile, task: Int?
    ) throws {
        let columns = try file.requireTensor(named: "prefix_task_cols")  // (task, token, rank)
        let rows = try file.requireTensor(named: "prefix_task_rows")  // (task, rank, width)
        let a = columns.dimensions, b = rows.dimensions
        guard a.count == 3, b.count == 3, a[0] == b[0], a[1] == tokens, a[2] == b[1], b[2] == width else {
            throw SoftPromptError(
                .invalidPrompt, "the task matrices have the shapes \(columns.shapeText) and \(rows.shapeText)",
                path: file.path)
        }
        guard let task = task ?? (a[0] == 1 ? 0 : nil), task >= 0, task < a[0] else {
            throw SoftPromptError(
                .unsupported, "the prompt serves \(a[0]) tasks; say which one (0 to \(a[0] - 1))", path: file.path)
        }
        let rank = a[2]
        let left = try file.floats(of: columns)
        let right = try file.floats(of: rows)
        for token in 0..<tokens {
            for d in 0..<width {
                var factor: Float = 0
                for r in 0..<rank {
                    factor += left[(task * tokens + token) * rank + r] * right[(task * rank + r) * width + d]
                }
                values[token * width + d] *= factor
            }
        }
    }

    /// Ties the values to a base, once the caller vouches for it.
    /// - Throws: ``SoftPromptError`` of code `wrongShape` when the values do not have the model's widths.
    public func prompt(
        shape: ModelShape, base: BaseFingerprint, baseName: String, baseSource: String? = nil,
        training: [String: JSONValue] = [:]
    ) throws(SoftPromptError) -> SoftPrompt {
        let expected = SoftPrompt.columns(placement, shape)
        guard columns == expected else {
            let widths =
                placement == .inputEmbeddings
                ? "hidden size \(shape.hiddenSize)"
                : "\(shape.layerCount) layers, \(shape.keyValueHeadCount) key-value heads of \(shape.headDimension)"
            throw SoftPromptError(
                .wrongShape,
                "the prompt has \(columns) values a virtual token; the model \(baseName) (\(widths)) needs \(expected)",
                path: path)
        }
        return try SoftPrompt(
            placement: placement, virtualTokenCount: virtualTokenCount, values: values, shape: shape, base: base,
            baseName: baseName, baseSource: baseSource, method: method, training: training)
    }
}
