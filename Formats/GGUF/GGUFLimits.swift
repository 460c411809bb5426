/// Numbers of the format and of its reference implementation.
enum GGUFLimits {
    static let magic: [UInt8] = Array("GGUF".utf8)
    static let alignmentKey = "general.alignment"
    static let defaultAlignment = 32
    /// Our own; the format has none, and a huge one would only serve to overflow sums.
    static let largestAlignment: UInt32 = 1 << 20
    static let keyLength = 65535
    static let tensorNameLength = 63
    static let dimensions: UInt32 = 4
}
