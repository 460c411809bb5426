import TensorTypes

/// One tensor on its way from one type to another, cut into pieces of whole rows. A piece lies within one matrix, so
/// that it has one importance.
struct EncodingJob: @unchecked Sendable {
    // Sendable: the bytes are read only, and lent for as long as the job lasts.
    private let bytes: UnsafeRawBufferPointer
    private let tensor: SourceTensor
    private let type: TensorType
    private let importance: [Float]?
    private let path: String
    private let rowsPerMatrix: Int
    private let rowsPerPiece: Int
    private let piecesPerMatrix: Int
    private let sourceRowBytes: Int
    private let rowBytes: Int

    let pieceCount: Int
    /// Nothing to convert, only to look through.
    let isCopy: Bool
    /// Whether values can be read where they lie.
    private let isDirect: Bool

    init(
        bytes: UnsafeRawBufferPointer, tensor: SourceTensor, type: TensorType, importance: [Float]?, path: String,
        pieceValues: Int
    ) {
        self.bytes = bytes
        self.tensor = tensor
        self.type = type
        self.importance = importance
        self.path = path
        let rowLength = tensor.rowLength
        rowsPerMatrix = tensor.dimensions.count > 1 ? tensor.dimensions[1] : 1
        let matrices = tensor.rowCount / rowsPerMatrix
        rowsPerPiece = min(rowsPerMatrix, max(1, pieceValues / rowLength))
        piecesPerMatrix = (rowsPerMatrix + rowsPerPiece - 1) / rowsPerPiece
        pieceCount = matrices * piecesPerMatrix
        sourceRowBytes = rowLength / tensor.type.blockSize * tensor.type.bytesPerBlock
        rowBytes = rowLength / type.blockSize * type.bytesPerBlock
        isCopy = type == tensor.type
        isDirect = tensor.type == .f32 && Int(bitPattern: bytes.baseAddress) % 4 == 0
    }

    var pieceByteCount: Int { rowsPerPiece * rowBytes }
    var scratchByteCount: Int { isDirect || !tensor.type.isDecodable ? 0 : rowsPerPiece * tensor.rowLength * 4 }

    /// The rows of a piece, counted over the whole tensor.
    private func rows(_ piece: Int) -> Range<Int> {
        let (matrix, part) = piece.quotientAndRemainder(dividingBy: piecesPerMatrix)
        let first = matrix * rowsPerMatrix
        return first + part * rowsPerPiece..<first + min((part + 1) * rowsPerPiece, rowsPerMatrix)
    }

    /// The rows of consecutive pieces.
    private func rows(_ pieces: Range<Int>) -> Range<Int> {
        pieces.isEmpty ? 0..<0 : rows(pieces.lowerBound).lowerBound..<rows(pieces.upperBound - 1).upperBound
    }

    func sourceByteCount(of pieces: Range<Int>) -> Int { rows(pieces).count * sourceRowBytes }

    /// What consecutive pieces became: in the window, or where it always was.
    func result(of pieces: Range<Int>, window: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
        let rows = rows(pieces)
        if isCopy {
            return UnsafeRawBufferPointer(
                rebasing: bytes[rows.lowerBound * sourceRowBytes..<rows.upperBound * sourceRowBytes])
        }
        return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(window)[..<(rows.count * rowBytes)])
    }

    /// Decodes, checks and encodes one piece. Its place in the window follows from `first`, the window's first piece.
    func encode(
        piece: Int, scratch: UnsafeMutableRawBufferPointer, window: UnsafeMutableRawBufferPointer, first: Int
    ) throws {
        let rows = rows(piece)
        guard tensor.type.isDecodable else { return }
        let source = UnsafeRawBufferPointer(
            rebasing: bytes[rows.lowerBound * sourceRowBytes..<rows.upperBound * sourceRowBytes])
        let count = rows.count * tensor.rowLength
        let values: UnsafeBufferPointer<Float>
        if isDirect {
            values = source.assumingMemoryBound(to: Float.self)
        } else {
            let floats = UnsafeMutableBufferPointer(
                start: scratch.baseAddress?.assumingMemoryBound(to: Float.self), count: count)
            tensor.type.decode(source, into: floats)
            values = UnsafeBufferPointer(floats)
        }
        let limit: Float = type == .f16 && !isCopy ? 65520 : .infinity
        if let position = FiniteScan.firstNotBelow(limit, in: values) {
            throw refuse(values[position], at: rows.lowerBound * tensor.rowLength + position)
        }
        guard !isCopy else { return }
        let start = rows.lowerBound - self.rows(first).lowerBound
        let target = UnsafeMutableRawBufferPointer(rebasing: window[start * rowBytes..<(start + rows.count) * rowBytes])
        guard let importance else {
            return try type.encode(rows: values, rowLength: tensor.rowLength, importance: nil, into: target)
        }
        let matrix = rows.lowerBound / rowsPerMatrix
        try importance.withUnsafeBufferPointer { all in
            let columns = matrix * tensor.rowLength..<(matrix + 1) * tensor.rowLength
            try type.encode(
                rows: values, rowLength: tensor.rowLength, importance: UnsafeBufferPointer(rebasing: all[columns]),
                into: target)
        }
    }

    private func refuse(_ value: Float, at position: Int) -> ConversionError {
        let (row, column) = position.quotientAndRemainder(dividingBy: tensor.rowLength)
        let place = "tensor \(tensor.name): value \(position) (row \(row), column \(column)) is \(value)"
        let reason =
            value.isFinite
            ? ", more than F16 can hold; choose BF16 or F32"
            : "; the model is damaged, so it is not quantized. Fetch or convert it again"
        return ConversionError(
            value.isFinite ? .unexpectedTensor : .damaged, place + reason, path: path, tensor: tensor.name)
    }
}

/// Finds values that are no numbers, fast.
enum FiniteScan {
    /// The position of the first value whose magnitude is not below `limit`; NaN is not below anything. One pass that
    /// vectorises; another only when there is something to find.
    static func firstNotBelow(_ limit: Float, in values: UnsafeBufferPointer<Float>) -> Int? {
        var greatest: UInt32 = 0
        for index in 0..<values.count { greatest = max(greatest, values[index].bitPattern & 0x7FFF_FFFF) }
        guard greatest >= limit.bitPattern else { return nil }
        return values.firstIndex { $0.bitPattern & 0x7FFF_FFFF >= limit.bitPattern }
    }
}
