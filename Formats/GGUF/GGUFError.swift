import Foundation

/// Why a GGUF file was refused: which file, where in it, what is wrong, and what to do.
public struct GGUFError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added; match with `==` and keep a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }

        /// The file does not begin with "GGUF".
        public static let notGGUF = Code("not GGUF")
        /// A version, or byte order, that is not read here.
        public static let unsupportedVersion = Code("unsupported version")
        /// The file ends before what it announces.
        public static let truncated = Code("truncated")
        /// The header or the metadata contradicts the format.
        public static let malformed = Code("malformed")
        /// A tensor's description contradicts the format or the file.
        public static let badTensor = Code("bad tensor")
        /// The tensor type is not known, or no longer exists.
        public static let unknownTensorType = Code("unknown tensor type")
        /// The parts of a split model do not belong together, or one is missing.
        public static let brokenSplit = Code("broken split")
        /// A part of a split model other than the first was opened as a model.
        public static let notFirstPart = Code("not the first part")
        /// A piece of a file that was cut without regard to its content.
        public static let rawPiece = Code("raw piece")
        /// A change of metadata that would make the file unusable.
        public static let refusedEdit = Code("refused edit")
        /// A metadata key that is asked for is not there.
        public static let missingKey = Code("missing key")
        /// A metadata value has another type than asked for.
        public static let unexpectedType = Code("unexpected type")
        /// A tensor that is asked for is not there.
        public static let missingTensor = Code("missing tensor")
        /// What is to be written does not make a valid file.
        public static let invalidContent = Code("invalid content")
    }

    public var code: Code
    /// A sentence without file and offset.
    public var message: String
    public var path: String?
    /// Bytes from the start of the file.
    public var offset: Int?
    public var key: String?
    public var tensor: String?

    public init(
        _ code: Code, _ message: String, path: String? = nil, offset: Int? = nil, key: String? = nil,
        tensor: String? = nil
    ) {
        self.code = code
        self.message = message
        self.path = path
        self.offset = offset
        self.key = key
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
