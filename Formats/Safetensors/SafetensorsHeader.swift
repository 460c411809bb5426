import ByteIO

/// The header of a safetensors file, read from hostile bytes and checked against the file's size.
struct SafetensorsHeader {
    var metadata: [(key: String, value: String)]?
    var tensors: [SafetensorsTensor] = []
    var dataOffset = 0

    private let path: String
    private static let metadataKey = "__metadata__"

    init(file: MappedFile) throws(SafetensorsError) {
        path = file.path
        let json = try Self.headerBytes(of: file)
        dataOffset = 8 + json.count
        guard String(validating: json, as: UTF8.self) != nil else {
            throw SafetensorsError(.invalidHeader, "the header is not valid UTF-8", path: path, offset: 8)
        }
        let root: JSONValue
        do {
            root = try JSONValue.parse(json)
        } catch {
            throw SafetensorsError(
                error.code == .duplicateKey ? .duplicateName : .invalidHeader,
                "the header is refused: \(error.message)", path: path,
                offset: error.offset.map { $0 + 8 })
        }
        guard let object = root.objectValue else {
            throw SafetensorsError(
                .invalidHeader, "the header is \(root.kind); an object is expected", path: path, offset: 8)
        }
        tensors.reserveCapacity(object.count)
        for member in object.members {
            if ExactString.equal(member.key, Self.metadataKey) {
                metadata = try readMetadata(member.value)
            } else {
                tensors.append(try readTensor(member.key, member.value))
            }
        }
        try checkLayout(dataCount: file.count - dataOffset)
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

    private func readTensor(_ name: String, _ value: JSONValue) throws(SafetensorsError) -> SafetensorsTensor {
        guard value.objectValue != nil else { throw invalid(name, "is \(value.kind); an object is expected") }
        guard let dtype = value["dtype"]?.stringValue else { throw invalid(name, "has no dtype that is a string") }
        guard let type = SafetensorsType(name: dtype) else {
            throw invalid(name, "has the unknown dtype \(dtype.quotedForMessage)")
        }
        guard let shapeValues = value["shape"]?.arrayValue else { throw invalid(name, "has no shape that is an array") }
        var shape: [UInt64] = []
        for value in shapeValues {
            guard let dimension = value.unsignedValue else {
                throw invalid(name, "has a dimension that is no integer from 0 on")
            }
            shape.append(dimension)
        }
        guard let offsets = value["data_offsets"]?.arrayValue, offsets.count == 2,
            let begin = offsets[0].unsignedValue, let end = offsets[1].unsignedValue
        else { throw invalid(name, "has no data_offsets that are two integers from 0 on") }
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
        tensors.sort {
            ($0.dataOffsets.lowerBound, $0.dataOffsets.upperBound, ExactString($0.name))
                < ($1.dataOffsets.lowerBound, $1.dataOffsets.upperBound, ExactString($1.name))
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
