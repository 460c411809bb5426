import Foundation

/// A string that equals another only when their UTF-8 bytes are the same.
///
/// Swift compares strings by canonical equivalence, so "é" composed and "é" decomposed are equal. Names in files are
/// bytes; two tensors may well differ only there. Use this as the key of dictionaries and sets of names.
public struct ExactString: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let text: String
    public init(_ text: String) { self.text = text }
    public var description: String { text }

    public static func == (left: ExactString, right: ExactString) -> Bool {
        equal(left.text, right.text)
    }

    public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }

    /// Byte order of UTF-8, which is also the order of Unicode scalars.
    public static func < (left: ExactString, right: ExactString) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    /// Whether two strings have the same UTF-8 bytes.
    public static func equal(_ left: String, _ right: String) -> Bool {
        guard left.utf8.count == right.utf8.count else { return false }
        let isSame = left.utf8.withContiguousStorageIfAvailable { one in
            right.utf8.withContiguousStorageIfAvailable { two in
                guard let a = one.baseAddress, let b = two.baseAddress else { return one.isEmpty }
                return memcmp(a, b, one.count) == 0
            }
        }
        if case .some(.some(let isSame)) = isSame { return isSame }
        return left.utf8.elementsEqual(right.utf8)
    }
}
