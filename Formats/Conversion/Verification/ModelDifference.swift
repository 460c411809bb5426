import ByteIO
import GGUF
import TensorTypes

/// What differs between two models: metadata, tensors, and how far their numbers are apart.
///
///     let difference = try ModelDifference(of: original, and: quantized)
///     print(difference.overall.relative)
public struct ModelDifference: Sendable {
    /// A metadata key whose values differ, or that one side lacks.
    public struct Key: Sendable {
        public let key: String
        public let left, right: GGUFValue?
    }

    /// A tensor that both have.
    public struct Tensor: Sendable {
        public let left, right: SourceTensor
        /// Nil when the shapes differ.
        public let error: ErrorMeasure?
    }

    public let metadata: [Key]
    public let onlyLeft, onlyRight: [SourceTensor]
    /// In the left side's order.
    public let tensors: [Tensor]
    /// Over all tensors of equal shape.
    public let overall: ErrorMeasure

    /// Whether metadata, tensors, types and every number are equal.
    public var isEqual: Bool {
        metadata.isEmpty && onlyLeft.isEmpty && onlyRight.isEmpty
            && tensors.allSatisfy { $0.left.type == $0.right.type && $0.error?.isExact == true }
    }

    /// Compares two models, reading each tensor once, on all cores.
    /// - Parameter progress: called on the calling thread with the values compared so far and in all; what it throws ends
    ///   the work.
    /// - Throws: what reading throws, and ``TensorTypes/TensorTypeError`` for a type that cannot be decoded.
    public init(
        of left: any ModelSource, and right: any ModelSource,
        progress: (_ done: Int, _ total: Int, _ tensor: String) throws -> Void = { _, _, _ in }
    ) throws {
        metadata = Self.keys(left.metadata, right.metadata)
        let byName = Dictionary(
            right.tensors.map { (ExactString($0.name), $0) }, uniquingKeysWith: { first, _ in first })
        let names = Set(left.tensors.map { ExactString($0.name) })
        onlyLeft = left.tensors.filter { byName[ExactString($0.name)] == nil }
        onlyRight = right.tensors.filter { !names.contains(ExactString($0.name)) }
        let pairs = left.tensors.compactMap { tensor in byName[ExactString(tensor.name)].map { (tensor, $0) } }
        let total = pairs.reduce(0) { $0 + $1.0.elementCount }
        var done = 0
        var overall = ErrorMeasure()
        var tensors: [Tensor] = []
        for (a, b) in pairs {
            try progress(done, total, a.name)
            var error: ErrorMeasure?
            if Self.trimmed(a.dimensions) == Self.trimmed(b.dimensions) {
                try a.type.requireDecodable(tensor: a.name)
                try b.type.requireDecodable(tensor: b.name)
                let measure = try left.withBytes(of: a) { bytes in
                    try right.withBytes(of: b) { others in
                        ErrorMeasure(bytes, a.type, others, b.type, count: a.elementCount)
                    }
                }
                overall.add(measure)
                error = measure
            }
            tensors.append(Tensor(left: a, right: b, error: error))
            done += a.elementCount
        }
        self.tensors = tensors
        self.overall = overall
    }

    private static func keys(_ left: GGUFMetadata, _ right: GGUFMetadata) -> [Key] {
        let added = right.keys.filter { left[$0] == nil }
        return (left.keys + added).compactMap { key in
            left[key] == right[key] ? nil : Key(key: key, left: left[key], right: right[key])
        }
    }

    private static func trimmed(_ dimensions: [Int]) -> [Int] {
        var kept = dimensions
        while kept.count > 1, kept.last == 1 { kept.removeLast() }
        return kept
    }
}
