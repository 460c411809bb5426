import Foundation

/// Why a model could not be converted, quantized, verified or compared: where, what is wrong, what to do.
public struct ConversionError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added; match with `==` and keep a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }

        /// A file that the folder should have is not there.
        public static let missingFile = Code("missing file")
        /// A configuration, index or tokenizer file is not what it should be.
        public static let malformed = Code("malformed")
        /// The architecture, tokenizer or packing is known by name but not supported, or not known.
        public static let unsupported = Code("unsupported")
        /// A tensor that the architecture needs is not there.
        public static let missingTensor = Code("missing tensor")
        /// A tensor has another shape or type than the configuration says.
        public static let unexpectedTensor = Code("unexpected tensor")
        /// What was asked for contradicts itself or the model.
        public static let invalidRequest = Code("invalid request")
        /// The destination exists, lies on the source, or has no room.
        public static let destination = Code("destination")
        /// Content is damaged: NaN, infinity, or a digest that does not match.
        public static let damaged = Code("damaged")
    }

    public var code: Code
    public var message: String
    public var path: String?
    public var tensor: String?

    public init(_ code: Code, _ message: String, path: String? = nil, tensor: String? = nil) {
        self.code = code
        self.message = message
        self.path = path
        self.tensor = tensor
    }

    public var description: String { path.map { "\($0): \(message)" } ?? message }
    public var errorDescription: String? { description }
}
