import GGUF
import Kernels

/// Every architecture built in. A new one is a line here.
public enum ModelCatalog {
    public static let architectures: [any ModelArchitecture.Type] = [
        LlamaArchitecture.self,
        Qwen2Architecture.self, Qwen2MoEArchitecture.self, Qwen3Architecture.self, Qwen3MoEArchitecture.self,
        Gemma2Architecture.self, Gemma3Architecture.self,
        Phi3Architecture.self,
        GraniteArchitecture.self, SmolLM3Architecture.self,
        OLMo2Architecture.self,
        StableLMArchitecture.self,
        GPT2Architecture.self, GPTNeoXArchitecture.self,
    ]

    /// The architecture that reads `file`.
    ///
    /// - Throws: `ModelError.unsupportedArchitecture`, listing those there are.
    public static func architecture(for file: GGUFFile, path: String) throws -> any ModelArchitecture.Type {
        try architecture(for: file.metadata, path: path)
    }

    /// The architecture that reads a model with this metadata.
    ///
    /// - Throws: `ModelError.unsupportedArchitecture`, listing those there are.
    public static func architecture(for metadata: GGUFMetadata, path: String) throws -> any ModelArchitecture.Type {
        guard let name = try metadata.stringIfPresent("general.architecture") else {
            throw ModelError(
                .unsupportedArchitecture,
                "general.architecture is missing, so this is no model file; `incipit inspect` shows what it holds",
                path: path)
        }
        guard let match = architectures.first(where: { $0.name == name }) else {
            let known = architectures.map { $0.name }.joined(separator: ", ")
            throw ModelError(
                .unsupportedArchitecture,
                "architecture “\(name)” cannot be run yet; those that can: \(known)", path: path)
        }
        return match
    }
}
