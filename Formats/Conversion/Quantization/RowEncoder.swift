import ByteIO
import Dispatch
import Foundation
import Synchronization
import TensorTypes

/// Encodes the rows of one tensor after another on several threads and writes them in order.
///
/// Rows are cut into pieces of some 16 thousand values. Threads take pieces from a counter, decode them into floats of
/// their own (F32 is read where it lies) and encode them into a window; the calling thread writes one window while the
/// others fill the next, then helps them.
final class RowEncoder {
    /// Values in a piece; small, so that no thread waits long for another at the end of a tensor.
    private static let pieceValues = 16384
    /// Bytes of one of the two windows, unless a single piece is larger.
    private static let windowBytes = 4 << 20

    private let threads: Int
    private let queue = DispatchQueue(label: "incipit.encode", attributes: .concurrent)
    private var windows = [Memory(), Memory()]
    private var scratch: [Memory]

    init(threads: Int) {
        self.threads = max(1, threads)
        scratch = (0..<self.threads).map { _ in Memory() }
    }

    /// Writes the rows of `tensor`, whose bytes are `bytes`, as `type`.
    /// - Parameters:
    ///   - importance: `rowLength` values for each matrix, or nil.
    ///   - progress: is told the bytes of this tensor that are done.
    func encode(
        _ bytes: UnsafeRawBufferPointer, of tensor: SourceTensor, as type: TensorType, importance: [Float]?,
        path: String, into output: inout AtomicFile.Writer, progress: (Int) throws -> Void
    ) throws {
        guard tensor.elementCount > 0 else { return }
        let job = EncodingJob(
            bytes: bytes, tensor: tensor, type: type, importance: importance, path: path,
            pieceValues: Self.pieceValues)
        let perWindow = max(1, Self.windowBytes / max(job.pieceByteCount, 1))
        for memory in scratch { memory.reserve(job.scratchByteCount) }
        let windowCount = (job.pieceCount + perWindow - 1) / perWindow
        if !job.isCopy {
            for memory in windows { memory.reserve(min(perWindow, job.pieceCount) * job.pieceByteCount) }
        }
        func pieces(_ window: Int) -> Range<Int> {
            window * perWindow..<min((window + 1) * perWindow, job.pieceCount)
        }
        for window in 0...windowCount {
            let round = EncodingRound(
                job: job, pieces: window < windowCount ? pieces(window) : 0..<0, window: windows[window % 2].bytes)
            let group = DispatchGroup()
            let helpers = min(threads - 1, round.pieces.count - 1)
            for index in 0..<max(0, helpers) {
                // Sound: each helper of a round has memory of its own.
                nonisolated(unsafe) let memory = scratch[index + 1].bytes
                queue.async(group: group) { round.work(memory) }
            }
            // The window before this one is complete: write it while the others are at work.
            var failure: (any Error)?
            if window > 0 {
                do {
                    let ready = pieces(window - 1)
                    try output.write(job.result(of: ready, window: windows[(window - 1) % 2].bytes))
                    try progress(job.sourceByteCount(of: 0..<ready.upperBound))
                } catch {
                    failure = error
                    round.stop()
                }
            }
            round.work(scratch[0].bytes)
            group.wait()
            if let failure { throw failure }
            if let error = round.error { throw error }
        }
    }
}

/// Memory that grows and is reused.
private final class Memory {
    private(set) var bytes = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    func reserve(_ count: Int) {
        guard bytes.count < count else { return }
        bytes.deallocate()
        bytes = .allocate(byteCount: count, alignment: 64)
    }

    deinit { bytes.deallocate() }
}

/// The pieces of one window, taken by threads one at a time.
final class EncodingRound: @unchecked Sendable {
    // Sendable: pieces write to disjoint parts of the window, and the counter gives each to one thread. `error` is read
    // after all threads are done.
    let job: EncodingJob
    let pieces: Range<Int>
    private let window: UnsafeMutableRawBufferPointer
    private let next: Atomic<Int>
    private let found = Mutex<(piece: Int, error: any Error)?>(nil)

    init(job: EncodingJob, pieces: Range<Int>, window: UnsafeMutableRawBufferPointer) {
        self.job = job
        self.pieces = pieces
        self.window = window
        next = Atomic(pieces.lowerBound)
    }

    var error: (any Error)? { found.withLock { $0?.error } }

    func stop() { next.store(pieces.upperBound, ordering: .relaxed) }

    func work(_ scratch: UnsafeMutableRawBufferPointer) {
        while true {
            let piece = next.add(1, ordering: .relaxed).oldValue
            guard piece < pieces.upperBound else { return }
            do {
                try job.encode(piece: piece, scratch: scratch, window: window, first: pieces.lowerBound)
            } catch {
                // The first in the tensor is reported, whoever came first.
                found.withLock { if $0 == nil || piece < $0!.piece { $0 = (piece, error) } }
                stop()
            }
        }
    }
}
