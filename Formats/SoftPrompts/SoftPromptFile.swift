import ByteIO
import Safetensors

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
    /// virtual token, or each head of keys and values) quarters it; PEFT cannot load that last one, nor parts of different
    /// types.
    public static let types: [SafetensorsType] = [.f32, .bf16, .f16, .i8]

    /// Those out of ``types`` that a prompt can be stored in: the gates of adaption prompts do not bear 8 bits.
    public static func types(for placement: SoftPrompt.Placement) -> [SafetensorsType] {
        placement == .adaptionPrompt ? types.filter { $0 != .i8 } : types
    }

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

    /// Writes a prompt, all values alike.
    /// - Parameter type: one of ``types``.
    /// - Throws: ``SoftPromptError`` when the prompt is not valid, or a value is too large for F16.
    public init(_ prompt: SoftPrompt, type: SafetensorsType = .f32) throws {
        try self.init(prompt, encoding: PromptEncoding(type))
    }

    /// Writes a prompt.
    /// - Parameter encoding: types out of ``types``, one for all parts or one for each.
    /// - Throws: ``SoftPromptError`` when the prompt is not valid, a value is too large for F16, or there are more or
    ///   fewer types than parts.
    public init(_ prompt: SoftPrompt, encoding: PromptEncoding) throws {
        try prompt.validate()
        let allowed = Self.types(for: prompt.placement)
        if let type = encoding.types.first(where: { !allowed.contains($0) }) {
            let names = allowed.map(\.name).joined(separator: ", ")
            throw SoftPromptError(.unsupported, "prompts of \(prompt.method) are stored as \(names), not \(type)")
        }
        let parts = PromptPart.count(prompt.placement, prompt.shape)
        guard encoding.uniformType != nil || encoding.types.count == parts else {
            throw SoftPromptError(
                .unsupported, "\(encoding.types.count) types were given for a prompt of \(parts) parts")
        }
        tensors = try PromptTensors.serialized(prompt, encoding)
        peftConfiguration = PEFT.configuration(for: prompt).prettyBytes(indent: 2, sortingKeys: true)
        configuration = SoftPromptConfiguration(prompt, encoding: encoding).json.canonicalBytes()
    }

    /// Reads the prompt back, checking the tensor file against the configuration.
    /// - Parameter name: stands for the files in errors.
    public func prompt(name: String = "the prompt") throws -> SoftPrompt {
        let configuration = try SoftPromptConfiguration(bytes: configuration, path: name)
        let file = try SafetensorsFile(bytes: tensors, name: "\(name)/\(Self.tensorFileName)")
        do {
            return try configuration.prompt(values: PromptTensors.values(file, configuration))
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
