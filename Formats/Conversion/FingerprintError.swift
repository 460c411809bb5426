import Foundation

/// Why a model has no fingerprint.
public struct FingerprintError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added.
    public struct Code: Hashable, Sendable {
        let name: String
        /// The file has no token embedding, hence is no language model.
        public static let missingEmbedding = Code(name: "missingEmbedding")
        /// A hyperparameter has a type that cannot be one.
        public static let malformedMetadata = Code(name: "malformedMetadata")
    }

    public var code: Code
    public var message: String
    public var path: String?

    public init(_ code: Code, _ message: String, path: String? = nil) {
        self.code = code
        self.message = message
        self.path = path
    }

    public var description: String { path.map { "\($0): \(message)" } ?? message }
    public var errorDescription: String? { description }
}
