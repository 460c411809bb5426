import ByteIO
import Conversion
import GGUF
import Kernels
import Synchronization
import TensorTypes

/// The blocks of one tensor: where a GGUF file mapped them, or in memory, made when they are needed.
///
/// Packing reads every row once. Mapped pages are given back to the system as they are read, and made blocks are freed
/// when their last row has been packed, so that no weight is held twice.
final class TensorBlocks: Sendable {
    private enum Origin: Sendable {
        case file(GGUFFile, TensorInfo)
        case made(any ModelSource, SourceTensor)
    }

    private struct Made: Sendable {
        /// Keeps the blocks until all rows are packed, or for good.
        var kept: TensorMemory?
        /// Finds blocks that a float matrix reads in place.
        weak var used: TensorMemory?
        var isPermanent = false
        var rowsLeft: Int
    }

    let tensor: SourceTensor
    private let origin: Origin
    private let made: Mutex<Made>

    init(_ source: any ModelSource, _ tensor: SourceTensor) {
        self.tensor = tensor
        if let gguf = source as? GGUFSource, let info = gguf.file.tensor(named: tensor.name) {
            origin = .file(gguf.file, info)
        } else {
            origin = .made(source, tensor)
        }
        made = Mutex(Made(rowsLeft: tensor.rowCount))
    }

    /// Makes the blocks stay in memory, for `bytes`.
    func keep() throws {
        guard case .made(let source, _) = origin else { return }
        try made.withLock { state in
            _ = try Self.memory(&state, source, tensor)
            state.isPermanent = true
        }
    }

    /// All blocks; made ones must have been kept.
    var bytes: UnsafeRawBufferPointer {
        switch origin {
        case .file(let file, let info): return file.bytes(of: info)
        case .made:
            guard let memory = made.withLock({ $0.kept }) else {
                preconditionFailure("the blocks of \(tensor.name) were not kept")
            }
            return memory.bytes
        }
    }

    /// The rows of `range`, each of which is packed once, as the kernels' matrix.
    func packed(rows range: Range<Int>, rowBytes: Int, columns: Int, pool: ThreadPool) throws -> PackedMatrix {
        let part = range.lowerBound * rowBytes..<range.upperBound * rowBytes
        switch origin {
        case .file(let file, let info):
            let bytes = UnsafeRawBufferPointer(rebasing: file.bytes(of: info)[part])
            let matrix = try PackedMatrix(
                type: tensor.type, rows: range.count, columns: columns, bytes: bytes, pool: pool,
                didRead: {
                    file.releasePages(of: info, part.lowerBound + $0.lowerBound..<part.lowerBound + $0.upperBound)
                })
            file.releasePages(of: info, part)
            return matrix
        case .made(let source, _):
            let memory = try made.withLock { try Self.memory(&$0, source, tensor) }
            let matrix = try PackedMatrix(
                type: tensor.type, rows: range.count, columns: columns,
                bytes: UnsafeRawBufferPointer(rebasing: memory.bytes[part]), pool: pool, keepAlive: memory)
            made.withLock { state in
                state.rowsLeft -= range.count
                if state.rowsLeft <= 0, !state.isPermanent { state.kept = nil }
            }
            return matrix
        }
    }

    /// Runs `body` on all blocks without keeping them.
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        switch origin {
        case .file(let file, let info): return try body(file.bytes(of: info))
        case .made(let source, let tensor): return try source.withBytes(of: tensor, body)
        }
    }

    /// Gives mapped pages back to the system until they are read again; made blocks stay.
    func releasePages(_ range: Range<Int>) {
        if case .file(let file, let info) = origin { file.releasePages(of: info, range) }
    }

    private static func memory(
        _ state: inout Made, _ source: any ModelSource, _ tensor: SourceTensor
    ) throws -> TensorMemory {
        if let memory = state.kept ?? state.used {
            state.kept = memory
            return memory
        }
        let memory = try source.withBytes(of: tensor) { TensorMemory(copying: $0) }
        state.kept = memory
        state.used = memory
        return memory
    }
}

/// Blocks that no file holds in this form.
final class TensorMemory: Sendable {
    // Sendable: written in `init` only.
    nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    init(copying source: UnsafeRawBufferPointer) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(source.count, 64), alignment: 64)
        memory.copyMemory(from: source)
        bytes = UnsafeRawBufferPointer(rebasing: memory[..<source.count])
    }

    deinit { UnsafeMutableRawBufferPointer(mutating: bytes).deallocate() }
}

/// A weight matrix: a run of the rows of a tensor's blocks.
public struct FrozenTensor: Sendable {
    public var type: TensorType { blocks.tensor.type }
    public let rows: Int
    public let columns: Int
    let blocks: TensorBlocks
    private let firstRow: Int

    init(_ blocks: TensorBlocks, rows: Int, columns: Int, firstRow: Int = 0) {
        self.blocks = blocks
        self.rows = rows
        self.columns = columns
        self.firstRow = firstRow
    }

    /// The rows' blocks, which `keep` has made stay where they are made in memory.
    public var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            rebasing: blocks.bytes[firstRow * rowByteCount..<(firstRow + rows) * rowByteCount])
    }

    /// Tells that the blocks will not be read again soon: pages of a file leave this process's memory until they are.
    func releasePages() { blocks.releasePages(firstRow * rowByteCount..<(firstRow + rows) * rowByteCount) }

    /// A run of the rows.
    func slice(_ range: Range<Int>) -> FrozenTensor {
        FrozenTensor(blocks, rows: range.count, columns: columns, firstRow: firstRow + range.lowerBound)
    }

    /// Repacked for the integer kernels.
    public func packed(pool: ThreadPool) throws -> PackedMatrix {
        try blocks.packed(
            rows: firstRow..<firstRow + rows, rowBytes: rowByteCount, columns: columns, pool: pool)
    }

    /// One row as floats.
    func decodeRow(_ row: Int, into destination: UnsafeMutablePointer<Float>) {
        let rowBytes = rowByteCount
        type.decode(
            UnsafeRawBufferPointer(rebasing: bytes[row * rowBytes..<(row + 1) * rowBytes]),
            into: UnsafeMutableBufferPointer(start: destination, count: columns))
    }

    /// Bytes of one row.
    var rowByteCount: Int { columns / type.blockSize * type.bytesPerBlock }
}
