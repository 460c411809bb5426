import ByteIO

/// The header of a safetensors file, read from hostile bytes and checked against the file's size.
struct SafetensorsHeader {
    var metadata: [(key: String, value: String)]?
    var tensors: [SafetensorsTensor] = []
    var dataOffset = 0
    /// Places in ``tensors`` by name.
    var index: [ExactString: Int] = [:]

    private let path: String
    private static let metadataKey = "__metadata__"

    init(file: MappedFile) throws(SafetensorsError) {
        path = file.path
        let json = try Self.headerBytes(of: file)
        dataOffset = 8 + json.count
        do {
            try readEntries(JSONReader(json))
        } catch let error as ByteIOError {
            throw SafetensorsError(
                error.code == .duplicateKey ? .duplicateName : .invalidHeader,
                "the header is refused: \(error.message)", path: path, offset: error.offset.map { $0 + 8 })
        } catch let error as SafetensorsError {
            throw error
        } catch {
            throw SafetensorsError(.invalidHeader, "the header is refused: \(error)", path: path, offset: 8)
        }
        try checkLayout(dataCount: file.count - dataOffset)
    }

    /// Reads entry by entry: the whole header never exists as a value, so a header of 100 MB costs no more than its
    /// tensors do.
    private mutating func readEntries(_ start: JSONReader) throws {
        var reader = start
        guard reader.nextKind == .object else {
            throw SafetensorsError(
                .invalidHeader, "the header is \(try reader.value().kind); an object is expected", path: path, offset: 8
            )
        }
        var hasMetadata = false
        // What an entry usually takes; more grow by doubling.
        tensors.reserveCapacity(dataOffset / 112)
        index.reserveCapacity(dataOffset / 112)
        try reader.openObject()
        while true {
            let place = reader.keyOffset
            guard let key = try reader.nextKey() else { break }
            if ExactString.equal(key, Self.metadataKey) {
                guard !hasMetadata else { throw duplicate(key, at: place) }
                hasMetadata = true
                metadata = try readMetadata(reader.value())
            } else {
                let position = tensors.count
                tensors.append(try readTensor(key, &reader))
                if let first = index.updateValue(position, forKey: ExactString(key)) {
                    index[ExactString(key)] = first
                    throw duplicate(key, at: place)
                }
            }
        }
        try reader.finish()
    }

    private func duplicate(_ name: String, at offset: Int) -> SafetensorsError {
        SafetensorsError(
            .duplicateName, "the name \(name.quotedForMessage) occurs twice in the header", path: path,
            offset: offset + 8, tensor: name)
    }

    private static func headerBytes(of file: MappedFile) throws(SafetensorsError) -> UnsafeRawBufferPointer {
        guard file.count >= 8 else {
            throw SafetensorsError(
                .headerTooSmall, "the file has \(file.count) bytes; a safetensors file has at least 8", path: file.path,
                offset: 0)
        }
        let length = UInt64(littleEndian: file.unsafeBytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(SafetensorsFile.headerLimit) else {
            let isGGUF = file.unsafeBytes.prefix(4).elementsEqual(Array("GGUF".utf8))
            throw SafetensorsError(
                .headerTooLarge,
                isGGUF
                    ? "this is a GGUF file, not a safetensors file"
                    : "the header announces \(length) bytes; the format allows \(SafetensorsFile.headerLimit) (100 MB, "
                        + "some 1.2 million tensors): this is no safetensors file, or its tensors must be saved in "
                        + "several files", path: file.path, offset: 0)
        }
        guard length <= UInt64(file.count - 8) else {
            throw SafetensorsError(
                .truncated,
                "the header announces \(length) bytes but only \(file.count - 8) follow; "
                    + "the file is damaged or was not downloaded completely", path: file.path, offset: 0)
        }
        return UnsafeRawBufferPointer(rebasing: file.unsafeBytes[8..<8 + Int(length)])
    }

    // MARK: - Entries

    private func readMetadata(_ value: JSONValue) throws(SafetensorsError) -> [(key: String, value: String)]? {
        if value.isNull { return nil }
        guard let object = value.objectValue else {
            throw SafetensorsError(
                .invalidHeader, "\(Self.metadataKey) is \(value.kind); an object of strings is expected", path: path)
        }
        var result: [(key: String, value: String)] = []
        for member in object.members {
            guard let text = member.value.stringValue else {
                throw SafetensorsError(
                    .invalidHeader,
                    "\(Self.metadataKey) has \(member.value.kind) under \(member.key.quotedForMessage); only strings are "
                        + "allowed", path: path)
            }
            result.append((member.key, text))
        }
        return result
    }

    /// The fields of an entry as they were found. A field of the wrong kind counts as missing.
    private struct Fields {
        var dtype: String?
        var shape: [UInt64]?
        var isShapeOfIntegers = true
        var offsets: (begin: UInt64, end: UInt64)?
        /// Bit by bit which of the three known fields came.
        var seen = 0
        var others: Set<ExactString> = []
    }

    private func readTensor(_ name: String, _ reader: inout JSONReader) throws -> SafetensorsTensor {
        guard reader.nextKind == .object else {
            throw invalid(name, "is \(try reader.value().kind); an object is expected")
        }
        var fields = Fields()
        try reader.openObject()
        while let key = try reader.nextKey() {
            let number = key == "dtype" ? 0 : key == "shape" ? 1 : key == "data_offsets" ? 2 : 3
            let isNew = number < 3 ? fields.seen & 1 << number == 0 : fields.others.insert(ExactString(key)).inserted
            guard isNew else {
                throw SafetensorsError(
                    .duplicateName, "tensor \(name.quotedForMessage) has the field \(key.quotedForMessage) twice",
                    path: path, offset: reader.offset + 8, tensor: name)
            }
            switch number {
            case 0:
                fields.dtype = try reader.stringIfNext()
                if fields.dtype == nil { _ = try reader.value() }
            case 1: try readShape(&reader, &fields)
            case 2: try readOffsets(&reader, &fields)
            default: _ = try reader.value()
            }
            if number < 3 { fields.seen |= 1 << number }
        }
        return try tensor(name, fields)
    }

    private func readShape(_ reader: inout JSONReader, _ fields: inout Fields) throws {
        guard reader.nextKind == .array else { return _ = try reader.value() }
        var shape: [UInt64] = []
        try reader.openArray()
        while try reader.nextElement() {
            guard let dimension = try reader.value().unsignedValue else {
                fields.isShapeOfIntegers = false
                continue
            }
            shape.append(dimension)
        }
        fields.shape = shape
    }

    private func readOffsets(_ reader: inout JSONReader, _ fields: inout Fields) throws {
        guard reader.nextKind == .array else { return _ = try reader.value() }
        var count = 0
        var begin: UInt64?
        var end: UInt64?
        try reader.openArray()
        while try reader.nextElement() {
            let value = try reader.value().unsignedValue
            if count == 0 { begin = value } else { end = value }
            count += 1
        }
        if count == 2, let begin, let end { fields.offsets = (begin, end) }
    }

    private func tensor(_ name: String, _ fields: Fields) throws(SafetensorsError) -> SafetensorsTensor {
        guard let dtype = fields.dtype else { throw invalid(name, "has no dtype that is a string") }
        guard let type = SafetensorsType(name: dtype) else {
            throw invalid(name, "has the unknown dtype \(dtype.quotedForMessage)")
        }
        guard let shape = fields.shape else { throw invalid(name, "has no shape that is an array") }
        guard fields.isShapeOfIntegers else { throw invalid(name, "has a dimension that is no integer from 0 on") }
        guard let (begin, end) = fields.offsets else {
            throw invalid(name, "has no data_offsets that are two integers from 0 on")
        }
        // Numbers beyond Int cannot be places in a file; the size check below would find them anyway, once the shape
        // has been looked at, as the reference does.
        let size = try byteCount(name, type, shape)
        guard begin <= end, let first = Int(exactly: begin), let last = Int(exactly: end) else {
            throw SafetensorsError(
                .invalidOffsets, "tensor \(name.quotedForMessage) has the data_offsets \(begin) and \(end)", path: path,
                tensor: name)
        }
        guard last - first == size else {
            throw SafetensorsError(
                .wrongSize,
                "tensor \(name.quotedForMessage) has \(last - first) bytes; \(type) of shape \(shape) needs \(size)",
                path: path, tensor: name)
        }
        return SafetensorsTensor(name: name, type: type, shape: shape, dataOffsets: first..<last)
    }

    private func byteCount(_ name: String, _ type: SafetensorsType, _ shape: [UInt64]) throws(SafetensorsError) -> Int {
        var elements: UInt64 = 1
        var overflow = false
        for dimension in shape {
            let (product, overflows) = elements.multipliedReportingOverflow(by: dimension)
            overflow = overflow || overflows
            elements = product
            if overflow { break }
        }
        let (bits, overflowsToo) = elements.multipliedReportingOverflow(by: UInt64(type.bits))
        guard !overflow, !overflowsToo else {
            throw SafetensorsError(
                .overflow, "tensor \(name.quotedForMessage) has more bits than 64 bits can count", path: path,
                tensor: name)
        }
        guard bits % 8 == 0 else {
            throw SafetensorsError(
                .misaligned,
                "tensor \(name.quotedForMessage) has \(elements) values of \(type.bits) bits, which are not whole bytes",
                path: path, tensor: name)
        }
        return Int(bits / 8)
    }

    // MARK: - Layout

    private mutating func checkLayout(dataCount: Int) throws(SafetensorsError) {
        // Ties (tensors without bytes) are put in order of their names' bytes, so that the order does not depend on the
        // header's.
        let isBefore = { (left: SafetensorsTensor, right: SafetensorsTensor) in
            let (a, b) = (left.dataOffsets, right.dataOffsets)
            if a.lowerBound != b.lowerBound { return a.lowerBound < b.lowerBound }
            if a.upperBound != b.upperBound { return a.upperBound < b.upperBound }
            return ExactString(left.name) < ExactString(right.name)
        }
        if !zip(tensors, tensors.dropFirst()).allSatisfy(isBefore) {
            tensors.sort(by: isBefore)
            for (position, tensor) in tensors.enumerated() { index[ExactString(tensor.name)] = position }
        }
        var end = 0
        for tensor in tensors {
            guard tensor.dataOffsets.lowerBound == end else {
                let what =
                    tensor.dataOffsets.lowerBound < end ? "overlaps the tensor before it" : "leaves a hole before it"
                throw SafetensorsError(
                    .invalidOffsets,
                    "tensor \(tensor.name.quotedForMessage) begins at \(tensor.dataOffsets.lowerBound) of the data but "
                        + "\(end) is expected: it \(what)", path: path, tensor: tensor.name)
            }
            end = tensor.dataOffsets.upperBound
        }
        guard end == dataCount else {
            throw SafetensorsError(
                .incompleteFile,
                end > dataCount
                    ? "the tensors need \(end) bytes but the file has \(dataCount) after its header; "
                        + "it is damaged or was not downloaded completely"
                    : "\(dataCount - end) bytes follow the last tensor; nothing may", path: path,
                offset: dataOffset + min(end, dataCount))
        }
    }

    private func invalid(_ name: String, _ reason: String) -> SafetensorsError {
        SafetensorsError(
            .invalidHeader, "tensor \(name.quotedForMessage) \(reason)", path: path, offset: 8, tensor: name)
    }
}
