import Foundation

/// An error of reading or writing bytes: a failed system call, a read past the end, or malformed JSON.
///
/// Callers match on ``code``; people read ``description``, which names the file and the byte offset where known.
public struct ByteIOError: Error, Sendable, CustomStringConvertible, LocalizedError {
    /// What kind of failure this is. New codes may be added; match with `==` and keep a default.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        public init(_ description: String) { self.description = description }

        /// The file does not exist.
        public static let notFound = Code("not found")
        /// The system refused access to the file.
        public static let accessDenied = Code("access denied")
        /// The path names something that is not a regular file.
        public static let notRegularFile = Code("not a regular file")
        /// The file to be written exists, and is not to be replaced.
        public static let alreadyExists = Code("already exists")
        /// Whoever asked for the work has stopped it.
        public static let cancelled = Code("cancelled")
        /// The file was changed by another program while it was read.
        public static let changed = Code("changed")
        /// Another system call failed; see ``ByteIOError/systemError``.
        public static let system = Code("system")
        /// A read would pass the end of the bytes.
        public static let outOfBounds = Code("out of bounds")
        /// The text is not the JSON that was asked for.
        public static let invalidJSON = Code("invalid JSON")
        /// A JSON object has one key twice.
        public static let duplicateKey = Code("duplicate key")
        /// A JSON value has another type than asked for, or is missing.
        public static let unexpectedJSON = Code("unexpected JSON")
    }

    public var code: Code
    /// A sentence without file or offset.
    public var message: String
    public var path: String?
    /// Bytes from the start of the file or text.
    public var offset: Int?
    /// `errno` of the system call that failed.
    public var systemError: Int32?

    public init(
        _ code: Code, _ message: String, path: String? = nil, offset: Int? = nil, systemError: Int32? = nil
    ) {
        self.code = code
        self.message = message
        self.path = path
        self.offset = offset
        self.systemError = systemError
    }

    /// An error for a system call that has just failed with `errno`.
    static func failed(_ action: String, path: String, number: Int32) -> ByteIOError {
        let code: Code =
            switch number {
            case ENOENT: .notFound
            case EACCES, EPERM, EROFS: .accessDenied
            case EEXIST: .alreadyExists
            default: .system
            }
        let advice =
            switch number {
            case ENOSPC, EDQUOT: "; make room or write to another disk"
            case EFBIG: "; the file system does not hold files of this size"
            default: ""
            }
        return ByteIOError(
            code, "cannot \(action): \(String(cString: strerror(number)))\(advice)", path: path, systemError: number)
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
