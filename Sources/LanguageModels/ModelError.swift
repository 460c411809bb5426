/// Why a model cannot be loaded or run.
public struct ModelError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure this is; compare with `==`.
    public struct Code: Hashable, Sendable {
        let name: String

        /// `general.architecture` names a model family that is not built in.
        public static let unsupportedArchitecture = Code(name: "unsupportedArchitecture")
        /// A hyperparameter is missing or contradicts another.
        public static let invalidHyperparameter = Code(name: "invalidHyperparameter")
        /// A tensor is missing or has another shape or an unusable type.
        public static let invalidTensor = Code(name: "invalidTensor")
        /// The tokenizer cannot be built.
        public static let invalidTokenizer = Code(name: "invalidTokenizer")
        /// More tokens than the context holds.
        public static let contextFull = Code(name: "contextFull")
        /// A token, position or prompt does not fit the model.
        public static let invalidInput = Code(name: "invalidInput")
        /// A saved session is damaged or another model's.
        public static let invalidState = Code(name: "invalidState")
    }

    public let code: Code
    /// One sentence that says what is wrong and what would help.
    public let message: String
    /// The model file, where one is involved.
    public let path: String?

    public init(_ code: Code, _ message: String, path: String? = nil) {
        self.code = code
        self.message = message
        self.path = path
    }

    public var description: String { path.map { "\($0): \(message)" } ?? message }
}
