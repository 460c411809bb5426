import ByteIO
import Synchronization
import TensorTypes

/// Where the multi-byte fields of a block lie, for files written on big-endian machines.
///
/// GGUF has no flag for its byte order: such a file stores every number swapped, from the version on; within a block of
/// a quantized tensor that is each scale and each packed word, while single bytes stay. Offsets are those of ggml's
/// block structures. IQ2_XXS is left out on purpose: ggml itself reads its words both as 32-bit numbers and as bytes,
/// so there is no one meaning in the other order.
struct ByteSwapping {
    /// Equal fields in a row.
    private struct Fields {
        var offset: Int
        var width: Int
        var count = 1
    }

    private let blockBytes: Int
    private let fields: [Fields]

    /// Nil when nothing is known about the type's fields.
    init?(type: TensorType) {
        guard let fields = Self.table[type.name] else { return nil }
        blockBytes = type.bytesPerBlock
        self.fields = fields
    }

    private static let table: [String: [Fields]] = [
        "F32": [Fields(offset: 0, width: 4)], "F16": [Fields(offset: 0, width: 2)],
        "BF16": [Fields(offset: 0, width: 2)], "F64": [Fields(offset: 0, width: 8)],
        "I8": [], "I16": [Fields(offset: 0, width: 2)], "I32": [Fields(offset: 0, width: 4)],
        "I64": [Fields(offset: 0, width: 8)],
        "Q4_0": [Fields(offset: 0, width: 2)], "Q4_1": [Fields(offset: 0, width: 2, count: 2)],
        "Q5_0": [Fields(offset: 0, width: 2), Fields(offset: 2, width: 4)],
        "Q5_1": [Fields(offset: 0, width: 2, count: 2), Fields(offset: 4, width: 4)],
        "Q8_0": [Fields(offset: 0, width: 2)], "Q8_1": [Fields(offset: 0, width: 2, count: 2)],
        "Q2_K": [Fields(offset: 80, width: 2, count: 2)], "Q3_K": [Fields(offset: 108, width: 2)],
        "Q4_K": [Fields(offset: 0, width: 2, count: 2)], "Q5_K": [Fields(offset: 0, width: 2, count: 2)],
        "Q6_K": [Fields(offset: 208, width: 2)],
        "Q8_K": [Fields(offset: 0, width: 4), Fields(offset: 260, width: 2, count: 16)],
        "IQ2_XS": [Fields(offset: 0, width: 2), Fields(offset: 2, width: 2, count: 32)],
        "IQ2_S": [Fields(offset: 0, width: 2)],
        "IQ3_XXS": [Fields(offset: 0, width: 2), Fields(offset: 66, width: 4, count: 8)],
        "IQ3_S": [Fields(offset: 0, width: 2)],
        "IQ1_S": [Fields(offset: 0, width: 2), Fields(offset: 34, width: 2, count: 8)],
        "IQ1_M": [Fields(offset: 48, width: 2, count: 4)],
        "IQ4_NL": [Fields(offset: 0, width: 2)], "IQ4_XS": [Fields(offset: 0, width: 2, count: 2)],
        "TQ1_0": [Fields(offset: 52, width: 2)], "TQ2_0": [Fields(offset: 64, width: 2)],
        "MXFP4": [], "NVFP4": [], "Q1_0": [Fields(offset: 0, width: 2)], "Q2_0": [Fields(offset: 0, width: 2)],
    ]

    /// Turns the fields of whole blocks round, in place. Doing it twice gives the same bytes again.
    func swap(_ bytes: UnsafeMutableRawBufferPointer) {
        for block in stride(from: 0, through: bytes.count - blockBytes, by: blockBytes) {
            for field in fields {
                for position in 0..<field.count {
                    Self.reverse(bytes, at: block + field.offset + position * field.width, width: field.width)
                }
            }
        }
    }

    /// Turns `count` packed numbers round.
    static func swapNumbers(_ bytes: inout [UInt8], width: Int) {
        guard width > 1 else { return }
        bytes.withUnsafeMutableBytes { buffer in
            for start in stride(from: 0, through: buffer.count - width, by: width) {
                reverse(buffer, at: start, width: width)
            }
        }
    }

    private static func reverse(_ bytes: UnsafeMutableRawBufferPointer, at start: Int, width: Int) {
        for position in 0..<(width / 2) { bytes.swapAt(start + position, start + width - 1 - position) }
    }
}

/// The tensors of a big-endian file in little-endian order, made when they are first asked for and kept.
final class SwappedTensors: Sendable {
    // Sound: a buffer is filled before it is put into the table, never written again, and freed only by `deinit`.
    private struct Buffer: @unchecked Sendable {
        let bytes: UnsafeMutableRawBufferPointer
    }

    private let buffers = Mutex<[Int: Buffer]>([:])

    deinit { buffers.withLock { $0.values.forEach { $0.bytes.deallocate() } } }

    /// The swapped bytes of a tensor of one file. Valid while this object lives.
    func bytes(of tensor: TensorInfo, in file: MappedFile) -> UnsafeRawBufferPointer {
        let buffer = buffers.withLock { buffers in
            if let known = buffers[tensor.fileOffset] { return known }
            guard let swapping = ByteSwapping(type: tensor.type) else {
                preconditionFailure("\(tensor.type) cannot be swapped; opening has checked that")
            }
            let fresh = UnsafeMutableRawBufferPointer.allocate(byteCount: tensor.byteCount, alignment: 64)
            fresh.copyMemory(
                from: UnsafeRawBufferPointer(
                    rebasing: file.unsafeBytes[tensor.fileOffset..<tensor.fileOffset + tensor.byteCount]))
            swapping.swap(fresh)
            let buffer = Buffer(bytes: fresh)
            buffers[tensor.fileOffset] = buffer
            return buffer
        }
        return UnsafeRawBufferPointer(buffer.bytes)
    }
}
