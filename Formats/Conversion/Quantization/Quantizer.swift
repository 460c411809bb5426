import ByteIO
import GGUF
import TensorTypes

/// Carries out a ``QuantizationPlan``: streams every tensor through the encoders into a new GGUF file.
///
/// Memory is bounded: besides what a source needs for one tensor, a window of some megabytes and one piece of rows a
/// thread. The result does not depend on the number of threads. It appears under its name when it is complete and
/// on disk; nothing is left when anything fails.
public enum Quantizer {
    /// How far the work is, in bytes of the source.
    public struct Progress: Sendable {
        public let tensor: String
        public let done: Int
        public let total: Int
    }

    /// Writes the planned file at `destination`, or its parts where a size is given.
    /// - Parameters:
    ///   - existing: whether a file that is there is replaced.
    ///   - maximumPartSize: bytes of a part, or nil for one file.
    ///   - threads: how many encode; at least 1.
    ///   - progress: called on the calling thread, several times a second; what it throws ends the work.
    /// - Returns: the files written, the one to open first.
    /// - Throws: the plan's first problem; ``ConversionError`` of code `damaged` for a NaN or infinity, naming tensor and
    ///   position, of code `destination` when the place is taken or too small; what reading and writing throw.
    @discardableResult
    public static func run(
        _ plan: QuantizationPlan, source: any ModelSource, importance: ImportanceMatrix?, to destination: String,
        existing: AtomicFile.Existing = .refuse, maximumPartSize: Int? = nil, threads: Int,
        progress: (Progress) throws -> Void = { _ in }
    ) throws -> [String] {
        if let problem = plan.problems.first { throw problem }
        return try withoutActuallyEscaping(progress) { progress in
            let writer = try writer(plan, source, importance, threads: threads, progress)
            try Destination.check(destination, source: source, isFolder: false, existing: existing)
            try Destination.checkSpace(destination, needed: writer.fileByteCount)
            guard let maximumPartSize else {
                try writer.write(to: destination, existing: existing)
                return [destination]
            }
            let prefix = destination.hasSuffix(".gguf") ? String(destination.dropLast(5)) : destination
            return try writer.writeParts(prefix: prefix, limits: .init(byteCount: maximumPartSize), existing: existing)
                .map(\.path)
        }
    }

    /// A writer whose tensors are encoded when it asks for them, one after another.
    private static func writer(
        _ plan: QuantizationPlan, _ source: any ModelSource, _ importance: ImportanceMatrix?, threads: Int,
        _ progress: @escaping (Progress) throws -> Void
    ) throws -> GGUFWriter {
        let encoder = RowEncoder(threads: threads)
        let total = plan.sourceByteCount
        let counter = Counter()
        var writer = try GGUFWriter(metadata: plan.metadata)
        for entry in plan.entries {
            let tensor = entry.source
            try writer.add(name: tensor.name, type: entry.type, dimensions: tensor.dimensions) { output in
                let weights = entry.usesImportance ? importance?.importance(of: tensor.name) : nil
                try source.withBytes(of: tensor) { bytes in
                    try encoder.encode(
                        bytes, of: tensor, as: entry.type, importance: weights, path: source.path, into: &output
                    ) { done in
                        try progress(Progress(tensor: tensor.name, done: counter.done + done, total: total))
                    }
                }
                counter.done += tensor.byteCount
            }
        }
        return writer
    }

    /// Bytes of finished tensors; a reference, because the writer's closures escape.
    private final class Counter { var done = 0 }
}
