import Foundation

/// Why values could not be turned into bytes of a tensor type, or bytes into values.
public struct TensorTypeError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added.
    public struct Code: Hashable, Sendable {
        let name: String
        /// The type is known by its sizes only.
        public static let notDecodable = Code(name: "notDecodable")
        /// Nothing here writes this type.
        public static let notEncodable = Code(name: "notEncodable")
        /// The count is not a multiple of the block.
        public static let partialBlock = Code(name: "partialBlock")
        /// NaN or infinity where only finite values can be held.
        public static let notFinite = Code(name: "notFinite")
        /// The type cannot be encoded without an importance.
        public static let importanceRequired = Code(name: "importanceRequired")
        /// An importance of the wrong length, or with a value that is negative or not finite.
        public static let invalidImportance = Code(name: "invalidImportance")
    }

    public var code: Code
    public var message: String
    public var tensor: String?

    public init(_ code: Code, _ message: String, tensor: String? = nil) {
        self.code = code
        self.message = message
        self.tensor = tensor
    }

    public var description: String { tensor.map { "tensor \($0): \(message)" } ?? message }
    public var errorDescription: String? { description }
}
