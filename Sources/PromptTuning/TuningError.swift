/// Why a tuning run cannot start or go on.
public struct TuningError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure this is; compare with `==`.
    public struct Code: Hashable, Sendable {
        let name: String

        /// A setting is out of range or contradicts another.
        public static let invalidConfiguration = Code(name: "invalidConfiguration")
        /// The data set has no rows of a split that is needed, or a row that cannot be used.
        public static let invalidData = Code(name: "invalidData")
        /// The initial prompt is worse than none.
        public static let badInitialization = Code(name: "badInitialization")
        /// A checkpoint is damaged or belongs to another run.
        public static let invalidCheckpoint = Code(name: "invalidCheckpoint")
        /// The loss stopped being a number.
        public static let diverged = Code(name: "diverged")
        /// No tuning method has this name.
        public static let unknownMethod = Code(name: "unknownMethod")
    }

    public let code: Code
    /// One sentence that says what is wrong and what would help.
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
