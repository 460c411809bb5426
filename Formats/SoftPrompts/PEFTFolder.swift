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
        let (json, file) = try Self.open(path)
        try self.init(path: path, json: json, file: file, task: task)
    }

    /// The configuration and the tensor file of a folder; pickles are refused.
    static func open(_ path: String) throws -> (configuration: JSONValue, tensors: SafetensorsFile) {
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
        return (json, try SafetensorsFile(path: tensorPath))
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
        let rows =
            placement == .adaptionPrompt
            ? try Self.adaptionRows(file, configuration)
            : try Self.tokenRows(file, configuration, typeName: typeName, task: task, path: path)
        self.path = path
        self.placement = placement
        self.method = method
        virtualTokenCount = rows.tokens
        columns = rows.columns
        values = rows.values
        baseName = configuration["base_model_name_or_path"]?.stringValue
        self.configuration = configuration
    }

    /// `(tokens, columns)` values.
    private typealias Rows = (tokens: Int, columns: Int, values: [Float])

    private static func adaptionRows(_ file: SafetensorsFile, _ configuration: JSONObject) throws -> Rows {
        let prompt = try AdaptionTensors.Foreign(file, configuration)
        return (prompt.tokens, prompt.layerCount * (prompt.hiddenSize + 1), prompt.values)
    }

    /// The rows of `prompt_embeddings`, times one task's matrix where there are several tasks.
    private static func tokenRows(
        _ file: SafetensorsFile, _ configuration: JSONObject, typeName: String, task: Int?, path: String
    ) throws -> Rows {
        func refuse(_ code: SoftPromptError.Code, _ reason: String) -> SoftPromptError {
            SoftPromptError(code, reason, path: path)
        }
        let submodules = configuration["num_transformer_submodules"]?.intValue ?? 1
        guard submodules == 1 else {
            throw refuse(.unsupported, "the prompt is for an encoder and a decoder (\(submodules) submodules)")
        }
        guard let tokens = configuration["num_virtual_tokens"]?.intValue else {
            throw refuse(.invalidConfiguration, "the configuration has no \"num_virtual_tokens\"")
        }
        let allowed = Set([PEFT.tensorName, MultitaskPrompt.columnsName, MultitaskPrompt.rowsName])
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
        guard typeName == MultitaskPrompt.peftType else {
            return (tokens, tensor.dimensions[1], try file.floats(of: tensor))
        }
        let multitask = try MultitaskPrompt(file: file, tokenCount: tokens)
        guard let task = task ?? (multitask.taskCount == 1 ? 0 : nil), task >= 0, task < multitask.taskCount else {
            throw refuse(
                .unsupported,
                "the prompt serves \(multitask.taskCount) tasks; say which one (0 to \(multitask.taskCount - 1))")
        }
        return (tokens, tensor.dimensions[1], multitask.values(ofTask: task))
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
                switch placement {
                case .inputEmbeddings: "hidden size \(shape.hiddenSize)"
                case .keysAndValues:
                    "\(shape.layerCount) layers, \(shape.keyValueHeadCount) key-value heads of \(shape.headDimension)"
                case .adaptionPrompt: "\(shape.layerCount) layers, hidden size \(shape.hiddenSize)"
                }
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
