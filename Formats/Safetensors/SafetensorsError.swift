import Foundation

/// Why a safetensors file was refused: which file, which tensor, what is wrong.
public struct SafetensorsError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added; match with `==` and keep a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }

        /// Fewer than the 8 bytes of the header's length.
        public static let headerTooSmall = Code("header too small")
        /// The header is longer than the format allows.
        public static let headerTooLarge = Code("header too large")
        /// The header is longer than the file.
        public static let truncated = Code("truncated")
        /// The header is not JSON of the right form.
        public static let invalidHeader = Code("invalid header")
        /// A name occurs twice.
        public static let duplicateName = Code("duplicate name")
        /// Tensors overlap, leave holes, or end before they begin.
        public static let invalidOffsets = Code("invalid offsets")
        /// A shape has more elements or bytes than 64 bits can count.
        public static let overflow = Code("overflow")
        /// A tensor of 4-bit or 6-bit values does not fill whole bytes.
        public static let misaligned = Code("misaligned")
        /// A tensor's bytes do not fit its shape.
        public static let wrongSize = Code("wrong size")
        /// The tensors do not cover the file exactly.
        public static let incompleteFile = Code("incomplete file")
        /// A tensor that is asked for is not there.
        public static let missingTensor = Code("missing tensor")
        /// The index of a model in several files is not what it should be.
        public static let invalidIndex = Code("invalid index")
        /// Index and files do not hold the same tensors.
        public static let indexMismatch = Code("index mismatch")
        /// A file of the model is not there.
        public static let missingFile = Code("missing file")
        /// A tensor's type is not the one needed.
        public static let unexpectedType = Code("unexpected type")
    }

    public var code: Code
    public var message: String
    public var path: String?
    /// Bytes from the start of the file.
    public var offset: Int?
    public var tensor: String?

    public init(_ code: Code, _ message: String, path: String? = nil, offset: Int? = nil, tensor: String? = nil) {
        self.code = code
        self.message = message
        self.path = path
        self.offset = offset
        self.tensor = tensor
    }

    public var description: String {
        var text = ""
        if let path { text += "\(path): " }
        text += message
        if let offset { text += " (at byte \(offset))" }
        return text
    }

    public var errorDescription: String? { description }
}
