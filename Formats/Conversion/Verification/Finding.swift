/// Something that is wrong, or odd, about a model.
public struct Finding: Sendable, Hashable {
    public enum Severity: String, Sendable {
        /// The model cannot be right.
        case error
        /// The model may be right, but most are not like this.
        case warning
    }

    public let severity: Severity
    /// The tensor or metadata key it is about; empty when it is about the whole.
    public let subject: String
    /// What is wrong and where, and what to do when there is something to do.
    public let message: String

    public static func error(_ subject: String, _ message: String) -> Finding {
        Finding(severity: .error, subject: subject, message: message)
    }

    public static func warning(_ subject: String, _ message: String) -> Finding {
        Finding(severity: .warning, subject: subject, message: message)
    }
}
