import GGUF
import Kernels

/// Every architecture built in. A new one is a line here.
public enum ModelCatalog {
    public static let architectures: [any ModelArchitecture.Type] = [
        LlamaArchitecture.self
    ]

    /// The architecture that reads `file`.
    ///
    /// - Throws: `ModelError.unsupportedArchitecture`, listing those there are.
    public static func architecture(for file: GGUFFile, path: String) throws -> any ModelArchitecture.Type {
        guard let name = try file.metadata.stringIfPresent("general.architecture") else {
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
