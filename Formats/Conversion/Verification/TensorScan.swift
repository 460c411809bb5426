import ByteIO
import Crypto
import Dispatch
import Synchronization
import TensorTypes

/// One pass over a tensor: are all values numbers, and what is its digest.
///
/// Quantized tensors are decoded, so that a scale that is NaN or infinite shows in its block's values.
public struct TensorScan: Sendable {
    public let name: String
    public let type: TensorType
    public let dimensions: [Int]
    /// As the fingerprint counts it (see ``ModelFingerprint``): `sha256:` of name, type, shape and data, where F16 and
    /// BF16 count as the F32 they widen to.
    public let digest: String
    /// Values that are NaN or infinite.
    public let badCount: Int
    /// Position of the first of them, and what it is.
    public let firstBad: (position: Int, value: Float)?
    /// Of all finite values.
    public let greatestMagnitude: Float

    var findings: [Finding] {
        if let firstBad {
            let length = dimensions.first ?? 1
            let (row, column) = firstBad.position.quotientAndRemainder(dividingBy: max(length, 1))
            let block = type.isQuantized ? ", a damaged scale of block \(firstBad.position / type.blockSize)" : ""
            return [
                .error(
                    name,
                    "\(badCount) value\(badCount == 1 ? " is" : "s are") NaN or infinite, the first at \(firstBad.position) "
                        + "(row \(row), column \(column)): \(firstBad.value)\(block)")
            ]
        }
        // Biases may well be zero; a matrix of zeros was forgotten by whoever made the file.
        if greatestMagnitude == 0, dimensions.count > 1, dimensions.reduce(1, *) > 1 {
            return [.warning(name, "all values are zero")]
        }
        return []
    }

    /// Scans every tensor, several at a time.
    static func all(
        of source: any ModelSource, progress: (@Sendable (_ done: Int, _ total: Int) -> Bool)?
    ) throws -> [TensorScan] {
        let tensors = source.tensors
        let order = tensors.indices.sorted { tensors[$0].byteCount > tensors[$1].byteCount }
        let total = tensors.reduce(0) { $0 + $1.byteCount }
        let results = Mutex<[Int: TensorScan]>([:])
        let failure = Mutex<(any Error)?>(nil)
        let done = Atomic(0)
        DispatchQueue.concurrentPerform(iterations: order.count) { place in
            guard failure.withLock({ $0 == nil }) else { return }
            do {
                let scan = try TensorScan(tensors[order[place]], in: source) { bytes in
                    let now = done.add(bytes, ordering: .relaxed).newValue
                    guard progress?(now, total) ?? true else {
                        throw ByteIOError(.cancelled, "stopped", path: source.path)
                    }
                }
                results.withLock { $0[order[place]] = scan }
            } catch {
                failure.withLock { $0 = $0 ?? error }
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
        let byNumber = results.withLock { $0 }
        return tensors.indices.compactMap { byNumber[$0] }
    }

    /// Values decoded at a time: stays in the cache, whole blocks of every type.
    private static let piece = 32768

    private init(_ tensor: SourceTensor, in source: any ModelSource, step: (_ bytes: Int) throws -> Void) throws {
        let type = tensor.type
        let hashesFloats = type.isFloatWithinF32
        var hash = SHA256()
        var badCount = 0
        var firstBad: (position: Int, value: Float)?
        var greatest: Float = 0
        var position = 0
        let pieceBytes = Self.piece / type.blockSize * type.bytesPerBlock
        try withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.piece) { floats in
            try source.withPieces(of: tensor) { bytes in
                var start = 0
                while start < bytes.count {
                    let end = min(start + pieceBytes, bytes.count)
                    let part = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                    let count = part.count / type.bytesPerBlock * type.blockSize
                    if type.isDecodable {
                        type.decode(part, into: floats)
                        let values = UnsafeBufferPointer(rebasing: floats[..<count])
                        let summary = Self.examine(values)
                        greatest = max(greatest, summary.greatest)
                        if summary.bad > 0 {
                            badCount += summary.bad
                            if firstBad == nil, let index = values.firstIndex(where: { !$0.isFinite }) {
                                firstBad = (position + index, values[index])
                            }
                        }
                    }
                    hash.update(
                        bufferPointer: hashesFloats
                            ? UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(floats)[..<(count * 4)]) : part)
                    position += count
                    start = end
                }
                try step(bytes.count)
            }
        }
        let entry = TensorDigests.entry(tensor, data: Array(hash.finalize()))
        name = tensor.name
        self.type = type
        dimensions = tensor.dimensions
        digest = entry.tensor.digest
        self.badCount = badCount
        self.firstBad = firstBad
        greatestMagnitude = greatest
    }

    /// How many values are no numbers, and the greatest magnitude of the others. The common case is one pass that
    /// vectorises.
    private static func examine(_ values: UnsafeBufferPointer<Float>) -> (bad: Int, greatest: Float) {
        var greatest: UInt32 = 0
        for index in 0..<values.count { greatest = max(greatest, values[index].bitPattern & 0x7FFF_FFFF) }
        guard greatest >= 0x7F80_0000 else { return (0, Float(bitPattern: greatest)) }
        let finite = values.lazy.filter(\.isFinite)
        return (values.count { !$0.isFinite }, finite.map(\.magnitude).max() ?? 0)
    }
}
