import ByteIO
import TensorTypes

extension GGUFWriter {
    /// When a part of a split model is full.
    public struct PartLimits: Sendable, Equatable {
        /// Most tensors in a part.
        public var tensorCount: Int?
        /// Most bytes of a part's whole file. A single tensor that is larger gets a part of its own.
        public var byteCount: Int?
        /// Whether the first part has metadata only, so that a model can be looked at without fetching tensors.
        public var firstPartWithoutTensors: Bool

        public init(tensorCount: Int? = nil, byteCount: Int? = nil, firstPartWithoutTensors: Bool = false) {
            precondition((tensorCount ?? 1) > 0 && (byteCount ?? 1) > 0)
            self.tensorCount = tensorCount
            self.byteCount = byteCount
            self.firstPartWithoutTensors = firstPartWithoutTensors
        }
    }

    /// One part as it will be written.
    public struct PlannedPart: Sendable, Equatable {
        public let path: String
        public let tensorCount: Int
        /// Of the whole file.
        public let byteCount: Int
    }

    /// The parts that ``writeParts(prefix:limits:existing:shouldContinue:)`` would write. A single one means that the
    /// model stays whole, as `<prefix>.gguf`.
    /// - Throws: ``GGUFError`` when there would be more parts than the format can number.
    public func plan(prefix: String, limits: PartLimits) throws(GGUFError) -> [PlannedPart] {
        let ranges = try partition(limits)
        return ranges.enumerated().map { number, range in
            let layout = Layout(
                metadata: partMetadata(number, of: ranges.count), tensors: tensors[range], alignment: alignment)
            return PlannedPart(
                path: Self.path(prefix, number, ranges.count), tensorCount: range.count,
                byteCount: layout.fileByteCount)
        }
    }

    /// Writes the model in parts `<prefix>-00001-of-0000N.gguf`, or as `<prefix>.gguf` when one is enough.
    ///
    /// The first part carries the metadata, the others only what numbers them. No part appears before all are
    /// complete, and the first appears last.
    /// - Parameters:
    ///   - prefix: what the parts' paths begin with.
    ///   - limits: when a part is full.
    ///   - existing: whether files that are there are replaced.
    ///   - shouldContinue: asked now and then with the bytes written so far; false stops and leaves nothing behind.
    /// - Returns: what was written.
    @discardableResult
    public func writeParts(
        prefix: String, limits: PartLimits, existing: AtomicFile.Existing = .refuse,
        shouldContinue: ((_ written: Int) -> Bool)? = nil
    ) throws -> [PlannedPart] {
        let ranges = try partition(limits)
        let plan = try plan(prefix: prefix, limits: limits)
        var group = try AtomicFileGroup(existing: existing, paths: plan.map(\.path))
        var done = 0
        for (number, part) in plan.enumerated() {
            let before = done
            try group.write(to: part.path, expectedSize: part.byteCount) { output in
                if let shouldContinue { output.shouldContinue = { shouldContinue(before + $0) } }
                try write(tensors[ranges[number]], metadata: partMetadata(number, of: plan.count), into: &output)
            }
            done += part.byteCount
        }
        try group.commit()
        return plan
    }

    private static func path(_ prefix: String, _ number: Int, _ count: Int) -> String {
        count == 1 ? "\(prefix).gguf" : GGUFSplit.path(prefix: prefix, number: number, count: count)
    }

    /// The pairs of one part. Parts number themselves with the reference's types, in its order, behind everything else.
    private func partMetadata(_ number: Int, of count: Int) -> GGUFMetadata {
        var result = number == 0 ? metadata : GGUFMetadata()
        for key in GGUFSplit.keys { result[key] = nil }
        guard count > 1 else { return result }
        // Each part is padded by its own alignment, so one that is not the default must be in each.
        if alignment != GGUFLimits.defaultAlignment {
            result[GGUFLimits.alignmentKey] = .uint32(UInt32(clamping: alignment))
        }
        let split = GGUFSplit(number: number, count: count, tensorCount: tensors.count)
        for entry in split.metadata.entries { result[entry.key] = entry.value }
        return result
    }

    /// Which tensors go into which part.
    private func partition(_ limits: PartLimits) throws(GGUFError) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start = 0
        func close(at end: Int) {
            ranges.append(start..<end)
            start = end
        }
        if limits.firstPartWithoutTensors, !tensors.isEmpty { close(at: 0) }
        // Sizes are those of many parts; when all fits into one file, it is smaller still.
        var header = headerSize(ranges.isEmpty ? 0 : 1)
        var data = 0
        for (position, tensor) in tensors.enumerated() {
            let info = GGUFEncoding.byteCount(name: tensor.name, dimensions: tensor.dimensions.count)
            let size = Self.padded(tensor.byteCount, to: alignment)
            let isEmpty = position == start
            var isFull = limits.tensorCount.map { position - start >= $0 } ?? false
            if let limit = limits.byteCount, fileSize(header + info, data, size) > limit {
                // An empty part takes any tensor; but the first one, heavy with metadata, may stay without when the
                // tensor fits into the next.
                isFull = isFull || !isEmpty || (ranges.isEmpty && fileSize(headerSize(1) + info, 0, size) <= limit)
            }
            if isFull {
                close(at: position)
                header = headerSize(1)
                data = 0
            }
            header += info
            data = data.addingReportingOverflow(size).overflow ? .max : data + size
        }
        if start < tensors.count || ranges.isEmpty { close(at: tensors.count) }
        guard ranges.count <= GGUFSplit.largestCount else {
            throw GGUFError(
                .invalidContent,
                "these limits make \(ranges.count) parts; at most \(GGUFSplit.largestCount) can be numbered")
        }
        return ranges
    }

    private func headerSize(_ number: Int) -> Int {
        24 + partMetadata(number, of: 2).entries.reduce(0) { $0 + GGUFEncoding.byteCount(of: $1) }
    }

    private func fileSize(_ header: Int, _ data: Int, _ tensor: Int) -> Int {
        let (sum, overflow) = Self.padded(header, to: alignment).addingReportingOverflow(data)
        let (all, overflowToo) = sum.addingReportingOverflow(tensor)
        return overflow || overflowToo ? .max : all
    }
}
