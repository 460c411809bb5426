/// What can go wrong when weights are handed to the kernels.
public struct KernelsError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of failure, for callers that react to it.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String

        /// No kernel multiplies with this tensor type.
        public static let unsupportedType = Code(description: "unsupported tensor type")
        /// Rows, columns and bytes do not belong together.
        public static let badShape = Code(description: "bad shape")
        /// The system refused the memory.
        public static let outOfMemory = Code(description: "out of memory")
    }

    public let code: Code
    /// One sentence: what, and what to do.
    public let message: String
    /// The name of the tensor type concerned.
    public let tensorType: String

    public var description: String { "\(code) (\(tensorType)): \(message)" }

    init(_ code: Code, tensorType: String, _ message: String) {
        self.code = code
        self.message = message
        self.tensorType = tensorType
    }
}
