import Foundation

/// Why a soft prompt was refused: which file, what is wrong, and what to do.
public struct SoftPromptError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added; match with `==` and keep a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }

        /// Shape, size or values contradict each other or the limits.
        public static let invalidPrompt = Code("invalid prompt")
        /// A value is NaN or infinite.
        public static let notFinite = Code("not finite")
        /// A JSON document is malformed or lacks something.
        public static let invalidConfiguration = Code("invalid configuration")
        /// The schema or the method is not one that is read here.
        public static let unsupported = Code("unsupported")
        /// A text that should be a digest is none.
        public static let invalidDigest = Code("invalid digest")
        /// The prompt's shape is not the model's.
        public static let wrongShape = Code("wrong shape")
        /// A file that is needed is not there.
        public static let missingFile = Code("missing file")
    }

    public var code: Code
    public var message: String
    /// The file or folder, where there is one.
    public var path: String?

    public init(_ code: Code, _ message: String, path: String? = nil) {
        self.code = code
        self.message = message
        self.path = path
    }

    public var description: String { path.map { "\($0): \(message)" } ?? message }
    public var errorDescription: String? { description }
}
