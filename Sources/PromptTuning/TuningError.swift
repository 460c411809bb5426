/// What went wrong while a soft prompt was being tuned or its data read.
public struct TuningError: Error, Sendable, CustomStringConvertible {
    /// The sort of failure; new ones may be added.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        public init(_ description: String) { self.description = description }

        /// A data file cannot be read.
        public static let unreadableFile = Code("unreadableFile")
        /// A row of a data file is not what it must be.
        public static let invalidRow = Code("invalidRow")
        /// A setting is out of range or contradicts another.
        public static let invalidSetting = Code("invalidSetting")
        /// A saved state does not belong to what is being trained.
        public static let incompatibleState = Code("incompatibleState")
        /// The data set has no examples of a split that is needed, or one that cannot be used.
        public static let invalidData = Code("invalidData")
        /// A checkpoint is damaged or belongs to another run.
        public static let invalidCheckpoint = Code("invalidCheckpoint")
        /// The loss stopped being a number.
        public static let diverged = Code("diverged")
        /// No tuning method has this name.
        public static let unknownMethod = Code("unknownMethod")
    }

    public let code: Code
    /// A sentence for people: what is wrong and what to do about it.
    public let message: String
    public let file: String?
    /// Counted from 1.
    public let line: Int?

    public init(code: Code, message: String, file: String? = nil, line: Int? = nil) {
        self.code = code
        self.message = message
        self.file = file
        self.line = line
    }

    public var description: String {
        let place = [file, line.map(String.init)].compactMap { $0 }.joined(separator: ":")
        return place.isEmpty ? message : "\(place): \(message)"
    }
}
