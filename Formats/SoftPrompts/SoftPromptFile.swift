import ByteIO
import Safetensors
import TensorTypes

/// The three files that a stored soft prompt consists of, as bytes.
///
/// `adapter_model.safetensors` and `adapter_config.json` are what Hugging Face PEFT writes and loads; the
/// configuration is ours and says what PEFT has no place for: the base's fingerprint, the exact shape, the training.
/// All three are deterministic: the same prompt gives the same bytes.
public struct SoftPromptFile: Sendable, Equatable {
    public static let tensorFileName = "adapter_model.safetensors"
    public static let peftConfigurationFileName = "adapter_config.json"
    /// The name our configuration gets where it has to be a file; in a registry it is the manifest's config.
    public static let configurationFileName = "incipit.json"

    public static let artifactType = "application/vnd.incipit.softprompt.v1+json"
    public static let configurationMediaType = "application/vnd.incipit.softprompt.config.v1+json"
    public static let tensorMediaType = "application/vnd.incipit.softprompt.tensor.v1.safetensors"
    public static let peftConfigurationMediaType = "application/vnd.incipit.softprompt.peft.config.v1+json"

    /// How values can be stored. F32 keeps every bit, F16 and BF16 halve the size and round, and I8 (with a scale for each
    /// virtual token, or each head of keys and values) quarters it; PEFT cannot load that last one.
    public static let types: [SafetensorsType] = [.f32, .bf16, .f16, .i8]

    /// `adapter_model.safetensors`.
    public var tensors: [UInt8]
    /// `adapter_config.json`.
    public var peftConfiguration: [UInt8]
    /// Our configuration, canonical JSON.
    public var configuration: [UInt8]

    public init(tensors: [UInt8], peftConfiguration: [UInt8], configuration: [UInt8]) {
        self.tensors = tensors
        self.peftConfiguration = peftConfiguration
        self.configuration = configuration
    }

    /// Writes a prompt.
    /// - Parameter type: one of ``types``.
    /// - Throws: ``SoftPromptError`` when the prompt is not valid, or a value is too large for F16.
    public init(_ prompt: SoftPrompt, type: SafetensorsType = .f32) throws {
        try prompt.validate()
        guard Self.types.contains(type) else {
            throw SoftPromptError(.unsupported, "prompts are stored as F32, F16, BF16 or I8, not \(type)")
        }
        if type == .f16, let large = prompt.values.first(where: { $0.magnitude >= 65520 }) {
            throw SoftPromptError(
                .invalidPrompt, "the value \(large) does not fit F16; store the prompt as F32 or BF16")
        }
        var writer = SafetensorsWriter(metadata: [("format", "pt")])
        let shape = [prompt.virtualTokenCount, prompt.columns]
        if type == .i8 {
            let group = RowQuantization.groupSize(prompt.placement, prompt.shape)
            let (codes, scales) = RowQuantization.quantize(prompt.values, group: group)
            try writer.add(name: PEFT.tensorName, type: .i8, shape: shape, bytes: codes)
            try writer.add(
                name: RowQuantization.scaleTensorName, type: .f32,
                shape: [prompt.virtualTokenCount, prompt.columns / group], floats: scales)
        } else {
            try writer.add(name: PEFT.tensorName, type: type, shape: shape, floats: prompt.values)
        }
        tensors = try writer.serialized()
        peftConfiguration = PEFT.configuration(for: prompt).prettyBytes(indent: 2, sortingKeys: true)
        configuration = SoftPromptConfiguration(prompt, type: type).json.canonicalBytes()
    }

    /// Reads the prompt back, checking the tensor file against the configuration.
    /// - Parameter name: stands for the files in errors.
    public func prompt(name: String = "the prompt") throws -> SoftPrompt {
        let configuration = try SoftPromptConfiguration(bytes: configuration, path: name)
        let file = try SafetensorsFile(bytes: tensors, name: "\(name)/\(Self.tensorFileName)")
        let tensor = try file.requireTensor(named: PEFT.tensorName)
        func refuse(_ reason: String) -> SoftPromptError { SoftPromptError(.invalidPrompt, reason, path: file.path) }
        let isQuantized = configuration.type == .i8
        guard file.tensors.count == (isQuantized ? 2 : 1) else {
            let expected = isQuantized ? "\(PEFT.tensorName) and its scales are" : "only \(PEFT.tensorName) is"
            throw refuse("the file has \(file.tensors.count) tensors; \(expected) expected")
        }
        guard tensor.dimensions == [configuration.virtualTokenCount, configuration.columns] else {
            throw refuse(
                "\(PEFT.tensorName) has the shape \(tensor.shapeText); the configuration says "
                    + "\(configuration.virtualTokenCount)x\(configuration.columns)")
        }
        guard tensor.type == configuration.type else {
            throw refuse("\(PEFT.tensorName) is \(tensor.type); the configuration says \(configuration.type)")
        }
        do {
            guard isQuantized else { return try configuration.prompt(values: try file.floats(of: tensor)) }
            let group = RowQuantization.groupSize(configuration.placement, configuration.shape)
            let scales = try file.requireTensor(named: RowQuantization.scaleTensorName)
            guard scales.type == .f32,
                scales.dimensions == [configuration.virtualTokenCount, configuration.columns / group]
            else { throw refuse("\(scales.name) must be F32 with a scale for each group of \(group) values") }
            let codes = Array(file.bytes(of: tensor))
            return try configuration.prompt(
                values: RowQuantization.dequantize(codes, scales: try file.floats(of: scales), group: group))
        } catch var error as SoftPromptError {
            error.path = error.path ?? file.path
            throw error
        }
    }

    // MARK: - Folders

    /// Writes the three files into a folder that exists. PEFT loads the folder as it is.
    public func write(toFolder folder: String) throws {
        try writePEFT(toFolder: folder)
        try AtomicFile.write(configuration, to: "\(folder)/\(Self.configurationFileName)")
    }

    /// Writes PEFT's two files into a folder that exists.
    public func writePEFT(toFolder folder: String) throws {
        try AtomicFile.write(tensors, to: "\(folder)/\(Self.tensorFileName)")
        try AtomicFile.write(peftConfiguration, to: "\(folder)/\(Self.peftConfigurationFileName)")
    }

    /// Reads the three files from a folder that ``write(toFolder:)`` filled.
    public init(folder: String) throws {
        tensors = try Self.read("\(folder)/\(Self.tensorFileName)")
        peftConfiguration = try Self.read("\(folder)/\(Self.peftConfigurationFileName)")
        configuration = try Self.read("\(folder)/\(Self.configurationFileName)")
    }

    private static func read(_ path: String) throws -> [UInt8] { try MappedFile(path: path).copyBytes() }
}
