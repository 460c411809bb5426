import TensorTypes

/// Memory that grows when it must and is used again.
final class ScratchBuffer {
    private(set) var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    func reserve(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        if memory.count < byteCount {
            memory.deallocate()
            memory = .allocate(byteCount: max(byteCount, 4096), alignment: 64)
        }
        return UnsafeMutableRawBufferPointer(rebasing: memory[..<byteCount])
    }

    deinit { memory.deallocate() }
}

/// Turns rows of a stream into the bytes of their type in the result, in chunks that stay in the cache, and looks at
/// every value on the way.
struct PieceEncoder {
    /// What was seen in the values.
    struct Findings: Sendable {
        /// Values that F16 cannot hold have become infinite.
        var overflows = false
        var notFinite = false
    }

    /// Values decoded at a time; whole blocks of every type.
    private static let chunk = 1 << 16
    /// The smallest magnitude that rounds to an infinite half.
    private static let halfLimit = Float(65520).bitPattern

    private let raw = ScratchBuffer()
    private let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: chunk)
    let checksValues: Bool

    init(checksValues: Bool) { self.checksValues = checksValues }

    func free() { floats.deallocate() }

    /// Produces rows.
    /// - Parameter output: gives memory for the result when it is not simply in the file.
    /// - Returns: the bytes, in `output`'s memory or in the mapped file.
    func encode(
        _ tensor: PlannedTensor, rows: Range<Int>, output: ScratchBuffer, findings: inout Findings
    ) throws -> UnsafeRawBufferPointer {
        let stream = tensor.stream
        let rawBytes = rows.count * stream.rowBytes
        if stream.type == tensor.type {
            let bytes: UnsafeRawBufferPointer
            if let lent = stream.lend(rows) {
                bytes = lent
            } else {
                let memory = output.reserve(rawBytes)
                try stream.fill(rows, into: memory)
                bytes = UnsafeRawBufferPointer(memory)
            }
            if checksValues, !Self.isFinite(bytes, stream.type) { findings.notFinite = true }
            return bytes
        }
        let source: UnsafeRawBufferPointer
        if let lent = stream.lend(rows) {
            source = lent
        } else {
            let memory = raw.reserve(rawBytes)
            try stream.fill(rows, into: memory)
            source = UnsafeRawBufferPointer(memory)
        }
        let count = rows.count * stream.rowLength
        guard let size = tensor.type.byteCount(elements: count) else {
            preconditionFailure("\(tensor.name): rows are no whole blocks")
        }
        let memory = output.reserve(size)
        for start in stride(from: 0, to: count, by: Self.chunk) {
            let length = min(Self.chunk, count - start)
            let from = start / stream.type.blockSize * stream.type.bytesPerBlock
            let to = start / tensor.type.blockSize * tensor.type.bytesPerBlock
            let fromEnd = from + length / stream.type.blockSize * stream.type.bytesPerBlock
            let toEnd = to + length / tensor.type.blockSize * tensor.type.bytesPerBlock
            stream.type.decode(UnsafeRawBufferPointer(rebasing: source[from..<fromEnd]), into: floats)
            let values = UnsafeBufferPointer(rebasing: floats[..<length])
            let largest = Self.largestMagnitude(values)
            if largest >= 0x7F80_0000 {
                // Blocks cannot hold them, whatever was asked for.
                if checksValues || tensor.type.isQuantized {
                    findings.notFinite = true
                    return UnsafeRawBufferPointer(memory)
                }
            } else if tensor.type == .f16, largest >= Self.halfLimit {
                findings.overflows = true
            }
            try tensor.type.encode(values, into: UnsafeMutableRawBufferPointer(rebasing: memory[to..<toEnd]))
        }
        return UnsafeRawBufferPointer(memory)
    }

    /// The bits of the largest magnitude, as an integer comparison orders them.
    private static func largestMagnitude(_ values: UnsafeBufferPointer<Float>) -> UInt32 {
        guard let base = values.baseAddress else { return 0 }
        var largest: UInt32 = 0
        for position in 0..<values.count { largest = max(largest, base[position].bitPattern & 0x7FFF_FFFF) }
        return largest
    }

    /// Whether plain floats are finite. Other types are taken to be.
    static func isFinite(_ bytes: UnsafeRawBufferPointer, _ type: TensorType) -> Bool {
        guard let base = bytes.baseAddress else { return true }
        switch type {
        case .f32:
            var largest: UInt32 = 0
            for position in 0..<bytes.count / 4 {
                largest = max(largest, base.loadUnaligned(fromByteOffset: position &* 4, as: UInt32.self) & 0x7FFF_FFFF)
            }
            return largest < 0x7F80_0000
        case .f16, .bf16:
            var largest: UInt16 = 0
            for position in 0..<bytes.count / 2 {
                largest = max(largest, base.loadUnaligned(fromByteOffset: position &* 2, as: UInt16.self) & 0x7FFF)
            }
            return largest < (type == .f16 ? 0x7C00 : 0x7F80)
        default:
            return true
        }
    }
}
