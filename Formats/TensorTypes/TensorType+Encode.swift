// MARK: - Floats to blocks

extension TensorType {
    /// Whether floats can be turned into this type at all; see ``requiresImportance`` for what some need in addition.
    public var isEncodable: Bool {
        entry.format is any EncodableBlockFormat.Type || entry.format is any WeightedBlockFormat.Type
    }

    /// Whether ``encode(rows:rowLength:importance:into:)`` makes use of an importance. The others ignore it.
    public var usesImportance: Bool { entry.format is any WeightedBlockFormat.Type }

    /// Whether encoding works with an importance only: so few bits that a rounding blind to it ruins the model.
    public var requiresImportance: Bool { usesImportance && !(entry.format is any EncodableBlockFormat.Type) }

    /// Turns floats into whole blocks, byte for byte as ggml's reference does without an importance matrix.
    /// - Parameters:
    ///   - source: finite values, a multiple of ``blockSize`` of them. (Types that are not quantized also take NaN and
    ///     infinity.)
    ///   - destination: room for `source.count / blockSize * bytesPerBlock` bytes or more.
    /// - Throws: ``TensorTypeError`` when there is no encoder, the count is not whole blocks, a value is not finite, or
    ///   the type needs an importance.
    public func encode(
        _ source: UnsafeBufferPointer<Float>, into destination: UnsafeMutableRawBufferPointer
    ) throws {
        guard !source.isEmpty else { return try requireEncodable(withImportance: false) }
        try encode(rows: source, rowLength: source.count, importance: nil, into: destination)
    }

    /// Turns rows of a matrix into whole blocks, byte for byte as ggml's reference does.
    ///
    /// Rows are independent of each other, so a matrix may be cut at rows and encoded in pieces, on several threads and
    /// in any order, with the same result.
    /// - Parameters:
    ///   - rows: whole rows, one behind the other. Quantized types want finite values.
    ///   - rowLength: values in a row, a multiple of ``blockSize``.
    ///   - importance: `rowLength` finite values, none negative: how much an error in each column costs, usually the
    ///     mean square of the activations that meet the column (an importance matrix). Nil: all columns count the same
    ///     up to the type's own weighting. Ignored unless ``usesImportance``.
    ///   - destination: room for `rows.count / blockSize * bytesPerBlock` bytes or more.
    /// - Throws: ``TensorTypeError`` when there is no encoder, the counts do not fit each other, a value is not finite
    ///   (its row and column are named), or the type needs an importance and has none.
    public func encode(
        rows: UnsafeBufferPointer<Float>, rowLength: Int, importance: UnsafeBufferPointer<Float>?,
        into destination: UnsafeMutableRawBufferPointer
    ) throws {
        try requireEncodable(withImportance: importance != nil)
        guard rowLength > 0, rowLength % blockSize == 0 else {
            throw TensorTypeError(.partialBlock, "\(rowLength) values are not whole \(name) blocks of \(blockSize)")
        }
        guard rows.count % rowLength == 0 else {
            throw TensorTypeError(.partialBlock, "\(rows.count) values are not whole rows of \(rowLength)")
        }
        let blocksPerRow = rowLength / blockSize
        let rowCount = rows.count / rowLength
        precondition(rowCount * blocksPerRow * bytesPerBlock <= destination.count, "the destination is too small")
        guard let source = rows.baseAddress, let target = destination.baseAddress, rowCount > 0 else { return }
        if isQuantized, let position = firstNotFinite(source, count: rows.count) {
            throw TensorTypeError(
                .notFinite,
                "value \(position) (row \(position / rowLength), column \(position % rowLength)) is \(rows[position]); "
                    + "\(name) can only hold finite values")
        }
        let format = entry.format
        if let format = format as? any WeightedBlockFormat.Type, let importance {
            let weights = try checked(importance, rowLength: rowLength)
            for row in 0..<rowCount {
                format.encode(
                    row: source + row * rowLength, blockCount: blocksPerRow, importance: weights,
                    into: target + row * blocksPerRow * bytesPerBlock)
            }
        } else if let format = format as? any EncodableBlockFormat.Type {
            format.encode(source, blockCount: rowCount * blocksPerRow, into: target)
        }
    }

    /// Encodes into a new array. Throws as ``encode(_:into:)``.
    public func encoded(_ values: [Float]) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (values.count / blockSize) * bytesPerBlock)
        try values.withUnsafeBufferPointer { source in
            try bytes.withUnsafeMutableBytes { try encode(source, into: $0) }
        }
        return bytes
    }

    /// Encodes rows into a new array. Throws as ``encode(rows:rowLength:importance:into:)``.
    public func encoded(rows: [Float], rowLength: Int, importance: [Float]?) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (rows.count / blockSize) * bytesPerBlock)
        try rows.withUnsafeBufferPointer { source in
            try bytes.withUnsafeMutableBytes { target in
                guard let importance else {
                    return try encode(rows: source, rowLength: rowLength, importance: nil, into: target)
                }
                try importance.withUnsafeBufferPointer {
                    try encode(rows: source, rowLength: rowLength, importance: $0, into: target)
                }
            }
        }
        return bytes
    }

    // MARK: Checks

    private func requireEncodable(withImportance: Bool) throws(TensorTypeError) {
        guard isEncodable else {
            throw TensorTypeError(.notEncodable, "there is no encoder for tensor type \(name)")
        }
        guard withImportance || !requiresImportance else {
            throw TensorTypeError(
                .importanceRequired,
                "\(name) can only be encoded with an importance matrix; give one, or choose a type of more bits")
        }
    }

    private func checked(
        _ importance: UnsafeBufferPointer<Float>, rowLength: Int
    ) throws(TensorTypeError) -> UnsafePointer<Float> {
        guard importance.count == rowLength, let weights = importance.baseAddress else {
            throw TensorTypeError(
                .invalidImportance, "the importance has \(importance.count) values for rows of \(rowLength)")
        }
        if let column = importance.firstIndex(where: { !($0 >= 0 && $0 < .infinity) }) {
            throw TensorTypeError(
                .invalidImportance,
                "the importance of column \(column) is \(importance[column]); it must be finite and not negative")
        }
        return weights
    }
}

/// The position of the first NaN or infinity. One pass that is bound by memory; a second one only when there is
/// something to find.
private func firstNotFinite(_ values: UnsafePointer<Float>, count: Int) -> Int? {
    // A product with zero is zero, or NaN where the value is not finite.
    let source = UnsafeRawPointer(values)
    var (first, second) = (Lanes.zero, Lanes.zero)
    let whole = count / 16 * 16
    for i in stride(from: 0, to: whole, by: 16) {
        first += (source + 4 &* i).loadUnaligned(as: Lanes.self) * Lanes.zero
        second += (source + 4 &* i + 32).loadUnaligned(as: Lanes.self) * Lanes.zero
    }
    var sum = (first + second).sum()
    for i in whole..<count { sum += values[i] * 0 }
    if sum == 0 { return nil }
    return (0..<count).first { !values[$0].isFinite }
}
