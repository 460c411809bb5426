import ByteIO
import TensorTypes

/// Writes a model into a folder as safetensors files of a limited size and an index, as Hugging Face does.
///
/// Tensors fill a file in the order in which they are added, until the next would exceed the limit; one larger than the
/// limit gets a file of its own. When one file holds all, it is `model.safetensors` without an index. Nothing appears in
/// the folder before everything is complete; the index appears last.
///
///     var writer = SafetensorsShardedWriter(metadata: [("format", "pt")], maximumShardSize: 2_000_000_000)
///     try writer.add(name: "lm_head.weight", type: .bf16, shape: [49152, 576]) { output in … }
///     try writer.write(to: "folder")
public struct SafetensorsShardedWriter {
    /// One file as it will be written.
    public struct Shard: Sendable, Equatable {
        public let fileName: String
        public let tensorCount: Int
        /// Bytes of the tensors, without the header.
        public let byteCount: Int
    }

    private var shards: [(writer: SafetensorsWriter, names: [String])]
    private let metadata: [(key: String, value: String)]
    public let maximumShardSize: Int
    public let baseName: String
    private var names: Set<ExactString> = []

    /// - Parameters:
    ///   - metadata: written into each file, in this order.
    ///   - maximumShardSize: tensor bytes in one file; Hugging Face's default is 5 GB.
    ///   - baseName: what file names begin with.
    public init(
        metadata: [(key: String, value: String)] = [], maximumShardSize: Int = 5_000_000_000, baseName: String = "model"
    ) {
        precondition(maximumShardSize > 0)
        self.metadata = metadata
        self.maximumShardSize = maximumShardSize
        self.baseName = baseName
        shards = [(SafetensorsWriter(metadata: metadata), [])]
    }

    /// Adds a tensor whose bytes `source` writes when its file is written.
    public mutating func add(
        name: String, type: SafetensorsType, shape: [Int], source: @escaping SafetensorsWriter.Source
    ) throws(SafetensorsError) {
        guard names.insert(ExactString(name)).inserted else {
            throw SafetensorsError(
                .duplicateName, "tensor \(name.quotedForMessage) is added twice", tensor: name)
        }
        let size = try SafetensorsWriter.byteCount(name: name, type: type, shape: shape)
        let used = shards[shards.count - 1].writer.byteCount
        if used > 0, size > maximumShardSize - min(used, maximumShardSize) {
            shards.append((SafetensorsWriter(metadata: metadata), []))
        }
        try shards[shards.count - 1].writer.add(name: name, type: type, shape: shape, source: source)
        shards[shards.count - 1].names.append(name)
    }

    /// Adds a tensor of floats, written as F32, F16 or BF16.
    public mutating func add(name: String, type: SafetensorsType = .f32, shape: [Int], floats: [Float]) throws {
        let bytes = try SafetensorsWriter.encoded(floats, as: type, name: name, shape: shape)
        try add(name: name, type: type, shape: shape) { output in try output.write(bytes) }
    }

    /// The files that will be written, in order. (The index, when there is one, comes on top.)
    public var plan: [Shard] {
        shards.enumerated().map { number, shard in
            Shard(fileName: fileName(number), tensorCount: shard.names.count, byteCount: shard.writer.byteCount)
        }
    }

    /// Bytes of all tensors.
    public var byteCount: Int { shards.reduce(0) { $0 + $1.writer.byteCount } }

    /// Writes all files into a folder that exists.
    /// - Parameters:
    ///   - folder: where the files go.
    ///   - existing: whether files of the same names are replaced.
    ///   - shouldContinue: asked now and then with the bytes written so far; false stops and leaves nothing behind.
    /// - Returns: the paths written.
    @discardableResult
    public func write(
        to folder: String, existing: AtomicFile.Existing = .replace, shouldContinue: ((_ written: Int) -> Bool)? = nil
    ) throws -> [String] {
        let indexPath = "\(folder)/\(baseName).safetensors.index.json"
        let paths = shards.indices.map { "\(folder)/\(fileName($0))" }
        var group = try AtomicFileGroup(existing: existing, paths: paths + (shards.count > 1 ? [indexPath] : []))
        if shards.count > 1 {
            let index = index.jsonBytes()
            try group.write(to: indexPath) { try $0.write(index) }
        }
        var done = 0
        for (number, shard) in shards.enumerated() {
            let before = done
            try group.write(to: paths[number], expectedSize: shard.writer.byteCount) { output in
                if let shouldContinue { output.shouldContinue = { shouldContinue(before + $0) } }
                try shard.writer.write(into: &output)
            }
            done += shard.writer.byteCount
        }
        try group.commit()
        return shards.count > 1 ? [indexPath] + paths : paths
    }

    /// What the index will say.
    public var index: SafetensorsIndex {
        SafetensorsIndex(
            entries: shards.enumerated().flatMap { number, shard in
                shard.names.map { .init(tensor: $0, file: fileName(number)) }
            }, totalSize: byteCount)
    }

    private func fileName(_ number: Int) -> String {
        guard shards.count > 1 else { return "\(baseName).safetensors" }
        func padded(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        }
        return "\(baseName)-\(padded(number + 1))-of-\(padded(shards.count)).safetensors"
    }
}
