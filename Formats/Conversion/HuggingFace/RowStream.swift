import TensorTypes

/// One tensor of the result, produced row by row: parts stacked, rows rearranged, dimensions exchanged, values shifted.
///
/// Nothing is held but what the caller asks for, so that a tensor of any size passes through a small buffer.
struct RowStream: Sendable {
    /// A part: `partRows` rows of a weight from `firstRow` on.
    struct Part: Sendable {
        let weight: any StoredWeight
        var firstRow = 0
    }

    let parts: [Part]
    /// Rows of the result that come from one part.
    let partRows: Int
    /// Values in a row of the result.
    let rowLength: Int
    let transform: TensorTransform
    /// Of the bytes that are produced.
    let type: TensorType

    /// - Precondition: the parts have the shape that the rule gave and one type.
    init(parts: [Part], shape: [Int], transform: TensorTransform) {
        self.parts = parts
        self.transform = transform
        let source = parts[0].weight.type
        // Blocks cannot be taken apart; shifted values are floats.
        type = transform.shift != 0 || (transform.transposes && source.isQuantized) ? .f32 : source
        if transform.transposes {
            partRows = shape[shape.count - 1]
            rowLength = shape.dropLast().reduce(1, *)
        } else if shape.count <= 1, transform.order != .same {
            // A bias is rearranged value by value.
            partRows = shape.first ?? 1
            rowLength = 1
        } else {
            partRows = shape.dropLast().reduce(1, *)
            rowLength = shape.last ?? 1
        }
    }

    var rowCount: Int { partRows * parts.count }
    var rowBytes: Int { type.byteCount(elements: rowLength) ?? 0 }
    var byteCount: Int { rowBytes * rowCount }
    /// Bytes the sources take in their files.
    var storedBytes: Int {
        // Parts of one fused tensor count for what they use.
        parts.reduce(0) { sum, part in
            let rows = part.weight.shape.count <= 1 ? 1 : part.weight.rowCount
            let used = transform.transposes || part.weight.shape.count <= 1 ? rows : min(partRows, rows)
            return sum + part.weight.storedBytes / max(1, rows) * used
        }
    }

    /// Whether any piece costs the same memory as the whole (a quantized matrix that has to be transposed).
    var isWhole: Bool { transform.transposes && (type != parts[0].weight.type || parts[0].weight.mapped == nil) }

    /// Says that the weights are not needed for now. Pieces that are still lent stay readable.
    func forget() {
        for part in parts { part.weight.forget() }
    }

    /// The bytes of some rows as they lie in the file, when they need no change.
    func lend(_ rows: Range<Int>) -> UnsafeRawBufferPointer? {
        guard transform == .copy, !rows.isEmpty else { return nil }
        let (part, first) = rows.lowerBound.quotientAndRemainder(dividingBy: partRows)
        guard first + rows.count <= partRows, let mapped = parts[part].weight.mapped else { return nil }
        let start = (parts[part].firstRow + first) * rowBytes
        return UnsafeRawBufferPointer(rebasing: mapped[start..<start + rows.count * rowBytes])
    }

    /// Produces some rows.
    /// - Parameter destination: room for exactly these; aligned for floats.
    func fill(_ rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) throws {
        var row = rows.lowerBound
        while row < rows.upperBound {
            let (number, first) = row.quotientAndRemainder(dividingBy: partRows)
            let end = min(partRows, first + rows.upperBound - row)
            let offset = (row - rows.lowerBound) * rowBytes
            let piece = UnsafeMutableRawBufferPointer(
                rebasing: destination[offset..<offset + (end - first) * rowBytes])
            try fill(first..<end, of: parts[number], into: piece)
            row += end - first
        }
        if transform.shift != 0 {
            withFloats(destination) { floats in
                for position in floats.indices { floats[position] += transform.shift }
            }
        }
    }

    private func fill(
        _ rows: Range<Int>, of part: Part, into destination: UnsafeMutableRawBufferPointer
    ) throws {
        if transform.transposes { return try transposed(rows, of: part.weight, into: destination) }
        let weight = part.weight
        guard transform.order == .same else { return try rearranged(rows, of: part, into: destination) }
        let source = part.firstRow + rows.lowerBound..<part.firstRow + rows.upperBound
        if weight.type == type { return try weight.read(rows: source, into: destination) }
        // Shifted: widen first.
        let size = weight.rowBytes * rows.count
        try withTemporary(size) { raw in
            try weight.read(rows: source, into: raw)
            withFloats(destination) { weight.type.decode(UnsafeRawBufferPointer(raw), into: $0) }
        }
    }

    private func rearranged(
        _ rows: Range<Int>, of part: Part, into destination: UnsafeMutableRawBufferPointer
    ) throws {
        let size = rowBytes
        if let mapped = part.weight.mapped, let base = mapped.baseAddress, let target = destination.baseAddress {
            for row in rows {
                let source = part.firstRow + transform.order.source(of: row, count: partRows)
                precondition(source >= 0 && (source + 1) * size <= mapped.count)
                (target + (row - rows.lowerBound) * size).copyMemory(from: base + source * size, byteCount: size)
            }
        } else if part.weight.shape.count <= 1 {
            let whole = part.weight.rowBytes
            try withTemporary(whole) { raw in
                try part.weight.read(rows: 0..<1, into: raw)
                for row in rows {
                    let source = transform.order.source(of: row, count: partRows)
                    for byte in 0..<size {
                        destination[(row - rows.lowerBound) * size + byte] = raw[source * size + byte]
                    }
                }
            }
        } else {
            for row in rows {
                let source = part.firstRow + transform.order.source(of: row, count: partRows)
                let place = (row - rows.lowerBound) * size
                try part.weight.read(
                    rows: source..<source + 1,
                    into: UnsafeMutableRawBufferPointer(rebasing: destination[place..<place + size]))
            }
        }
    }

    /// Rows of the result are columns of the weight.
    private func transposed(
        _ rows: Range<Int>, of weight: any StoredWeight, into destination: UnsafeMutableRawBufferPointer
    ) throws {
        let columns = partRows
        if let mapped = weight.mapped, weight.type == type {
            let size = type.bytesPerBlock
            precondition(
                mapped.count >= rowLength * columns * size && destination.count >= rows.count * rowLength * size)
            switch size {
            case 2: gather(UInt16.self, mapped, rows, columns, destination)
            default: gather(UInt32.self, mapped, rows, columns, destination)
            }
            return
        }
        let bytes = weight.rowBytes * rowLength
        try withTemporary(bytes) { raw in
            try weight.read(rows: 0..<rowLength, into: raw)
            withTemporary(columns * rowLength * 4) { wide in
                withFloats(wide) { weight.type.decode(UnsafeRawBufferPointer(raw), into: $0) }
                gather(UInt32.self, UnsafeRawBufferPointer(wide), rows, columns, destination)
            }
        }
    }

    /// Copies columns to rows in tiles, so that both sides stay in the cache.
    private func gather<T: FixedWidthInteger>(
        _ type: T.Type, _ source: UnsafeRawBufferPointer, _ rows: Range<Int>, _ columns: Int,
        _ destination: UnsafeMutableRawBufferPointer
    ) {
        guard let from = source.baseAddress, let to = destination.baseAddress else { return }
        let size = MemoryLayout<T>.size
        let tile = 64
        for start in stride(from: 0, to: rowLength, by: tile) {
            let end = min(start + tile, rowLength)
            for row in rows {
                let line = to + (row &- rows.lowerBound) &* rowLength &* size
                for position in start..<end {
                    let value = from.loadUnaligned(fromByteOffset: (position &* columns &+ row) &* size, as: T.self)
                    line.storeBytes(of: value, toByteOffset: position &* size, as: T.self)
                }
            }
        }
    }
}

/// Memory for the time of a call, aligned for any number.
func withTemporary<R>(_ byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws -> R) rethrows -> R {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
    defer { memory.deallocate() }
    return try body(memory)
}
