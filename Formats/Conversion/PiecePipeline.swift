import ByteIO
import Foundation
import TensorTypes

/// Prepares the pieces of tensors on several threads while one thread writes them in order.
///
/// Workers run ahead of the writer by a fixed number of pieces, so that memory does not depend on the model. The thread
/// that writes waits when the next piece is not ready; nothing else is shared.
final class PiecePipeline: @unchecked Sendable {
    // Sound: everything below `condition` is touched with its lock held; the rest never changes.
    private struct Job {
        let tensor: Int
        let rows: Range<Int>
    }

    private struct Done {
        let bytes: UnsafeRawBufferPointer
        let buffer: ScratchBuffer
    }

    private let tensors: [PlannedTensor]
    private let jobs: [Job]
    private let slots: Int
    private let checksValues: Bool

    private let condition = NSCondition()
    private var started = 0
    private var taken = 0
    private var running = 0
    private var done: [Int: Done] = [:]
    private var spare: [ScratchBuffer] = []
    private var failure: (any Error)?
    private var isStopped = false
    private var overflowing: Set<Int> = []

    /// - Parameter order: tensors by number, as they will be asked for.
    init(_ tensors: [PlannedTensor], order: [Int], threadCount: Int, checksValues: Bool) {
        self.tensors = tensors
        self.checksValues = checksValues
        jobs = order.flatMap { number in
            PieceSize.pieces(of: tensors[number].stream).map { Job(tensor: number, rows: $0) }
        }
        let threads = max(1, threadCount)
        slots = threads * 2 + 2
        running = threads
        for _ in 0..<threads {
            let thread = Thread { [self] in work() }
            thread.stackSize = 1 << 20
            thread.start()
        }
    }

    /// Memory that this many threads take at most: pieces waiting, and what each thread works in.
    static func peakMemory(_ tensors: [PlannedTensor], threadCount: Int) -> Int {
        let threads = max(1, threadCount)
        var out = 0
        var raw = 0
        for tensor in tensors {
            let stream = tensor.stream
            let rows = PieceSize.pieces(of: stream).first?.count ?? 0
            out = max(out, tensor.type.byteCount(elements: rows * stream.rowLength) ?? 0)
            raw = max(raw, rows * stream.rowBytes)
            if stream.isWhole { raw = max(raw, stream.byteCount * 2) }
        }
        return (threads * 2 + 2) * out + threads * (raw + (1 << 18)) + (1 << 20)
    }

    /// Writes one tensor. They must be asked for in the order given.
    func write(_ number: Int, into output: inout AtomicFile.Writer) throws {
        let stream = tensors[number].stream
        for index in PieceSize.pieces(of: stream).indices {
            let piece = try next(of: number)
            try output.write(piece.bytes)
            release(piece)
            // A tensor may be larger than the memory that is to be taken.
            if index % PieceSize.piecesInMemory == PieceSize.piecesInMemory - 1 { stream.forget() }
        }
        stream.forget()
    }

    /// Names of tensors with values that became infinite in F16.
    var overflowingNames: [String] {
        condition.withLock { overflowing.sorted().map { tensors[$0].name } }
    }

    /// Ends the threads and waits until they have ended.
    func stop() {
        condition.lock()
        isStopped = true
        condition.broadcast()
        while running > 0 { condition.wait() }
        condition.unlock()
    }

    // MARK: - The writing side

    private func next(of number: Int) throws -> Done {
        condition.lock()
        defer { condition.unlock() }
        precondition(taken < jobs.count && jobs[taken].tensor == number, "tensors are asked for in another order")
        while true {
            if let piece = done.removeValue(forKey: taken) {
                taken += 1
                condition.broadcast()
                return piece
            }
            if let failure { throw failure }
            condition.wait()
        }
    }

    private func release(_ piece: Done) {
        condition.withLock { spare.append(piece.buffer) }
    }

    // MARK: - The working side

    private func work() {
        let encoder = PieceEncoder(checksValues: checksValues)
        defer {
            encoder.free()
            condition.lock()
            running -= 1
            condition.broadcast()
            condition.unlock()
        }
        while let (number, buffer) = take() {
            let job = jobs[number]
            let tensor = tensors[job.tensor]
            var findings = PieceEncoder.Findings()
            do {
                let bytes = try encoder.encode(tensor, rows: job.rows, output: buffer, findings: &findings)
                if findings.notFinite { throw Self.notFinite(tensor) }
                condition.lock()
                done[number] = Done(bytes: bytes, buffer: buffer)
                if findings.overflows { overflowing.insert(job.tensor) }
                condition.broadcast()
                condition.unlock()
            } catch {
                condition.lock()
                failure = failure ?? error
                condition.broadcast()
                condition.unlock()
                return
            }
        }
    }

    /// The next piece to prepare; nil when there is none, or work has ended.
    private func take() -> (Int, ScratchBuffer)? {
        condition.lock()
        defer { condition.unlock() }
        while !isStopped, failure == nil, started < jobs.count {
            if started < taken + slots {
                started += 1
                return (started - 1, spare.popLast() ?? ScratchBuffer())
            }
            condition.wait()
        }
        return nil
    }

    private static func notFinite(_ tensor: PlannedTensor) -> ConversionError {
        let origin = tensor.origins.first ?? tensor.name
        return ConversionError(
            .damaged,
            "tensor \(origin) holds NaN or infinity; the download may be damaged (--allow-non-finite converts plain types "
                + "nevertheless)", tensor: origin)
    }
}
