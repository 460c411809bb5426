import ByteIO
import TensorTypes

/// Reads a GGUF header from hostile bytes.
///
///     0    magic "GGUF"
///     4    version             u32
///     8    tensor count        u64 (u32 in version 1, as are all lengths, counts and dimensions below)
///     16   pair count          u64
///     24   pairs               key string, value type u32, value
///          tensor descriptions name string, dimension count u32, dimensions u64, type u32, offset u64
///          zero padding to the alignment
///          tensor data
///
/// A string is a u64 byte count and the bytes; an array is an element type u32, a u64 count and the packed elements.
/// A version that is 1, 2 or 3 only when its bytes are turned round marks a file whose every number is big endian.
struct GGUFParser {
    struct Header {
        var version = 0
        var isBigEndian = false
        var split: GGUFSplit?
        var headerEnd = 0
        var dataEnd = 0
        var alignment = GGUFLimits.defaultAlignment
        var dataOffset = 0
        var metadata = GGUFMetadata()
        var tensors: [TensorInfo] = []
        var warnings: [String] = []
        var index: [ExactString: Int] = [:]
    }

    private let file: MappedFile
    private let part: Int
    private var reader: ByteReader
    private var header = Header()
    /// Bytes of a length, count or dimension: 4 in version 1, else 8.
    private var wordSize = 8

    init(file: MappedFile, part: Int) {
        self.file = file
        self.part = part
        reader = ByteReader(file.unsafeBytes, path: file.path)
    }

    mutating func parse() throws(GGUFError) -> Header {
        let (tensorCount, pairCount) = try parseStart()
        header.metadata.path = file.path
        for number in 0..<pairCount { try parsePair(number) }
        try takeAlignment()
        header.split = try GGUFSplit(metadata: header.metadata)
        let descriptions = try parseDescriptions(tensorCount)
        try place(descriptions)
        return header
    }

    // MARK: - Start

    private mutating func parseStart() throws(GGUFError) -> (tensors: Int, pairs: Int) {
        let magic = try bytes(4, "the magic number")
        guard magic.elementsEqual(GGUFLimits.magic) else { throw notGGUF() }
        let version = try integer(UInt32.self, "the version")
        header.isBigEndian = !(1...3).contains(version) && (1...3).contains(version.byteSwapped)
        reader.isBigEndian = header.isBigEndian
        let known = header.isBigEndian ? version.byteSwapped : version
        guard (1...3).contains(known) else {
            throw failure(
                .unsupportedVersion,
                "GGUF version \(version) is not supported (1, 2 and 3 are); "
                    + (version == 0 ? "the file is damaged" : "a newer version of this program may read it"), at: 4)
        }
        header.version = Int(known)
        wordSize = known == 1 ? 4 : 8
        let tensorCount = try count("the tensor count", eachAtLeast: wordSize + 16)
        let pairCount = try count("the metadata count", eachAtLeast: wordSize + 6)
        return (tensorCount, pairCount)
    }

    private func notGGUF() -> GGUFError {
        let start = Array(file.unsafeBytes.prefix(16))
        let word = String(decoding: start.prefix(4), as: UTF8.self)
        var what = "this is not a GGUF file: it starts with \(word.quotedForMessage)"
        if ["lmgg", "fmgg", "tjgg", "algg", "ggml", "ggmf", "ggjt", "ggla"].contains(word) {
            what = "this is a GGML file from before GGUF (2023); convert the original model again"
        } else if start.starts(with: Array("PK".utf8)) {
            what = "this is a ZIP archive (or a PyTorch checkpoint), not a GGUF file"
        } else if start.count > 8, start[8] == UInt8(ascii: "{") {
            what = "this looks like a safetensors file, not a GGUF file; convert it first"
        } else if start.starts(with: Array("version http".utf8)) {
            what = "this is a Git LFS pointer, not the model; fetch the real file (git lfs pull)"
        } else if start.starts(with: Array("<".utf8)) {
            what = "this looks like a web page, not a GGUF file; the download went wrong"
        }
        return failure(.notGGUF, what, at: 0)
    }

    // MARK: - Metadata

    private mutating func parsePair(_ number: Int) throws(GGUFError) {
        let start = reader.offset
        let raw = try string("key of metadata pair \(number + 1)")
        guard !raw.isEmpty else { throw failure(.malformed, "metadata pair \(number + 1) has an empty key", at: start) }
        guard raw.count <= GGUFLimits.keyLength else {
            throw failure(
                .malformed,
                "metadata pair \(number + 1) has a key of \(raw.count) bytes (limit \(GGUFLimits.keyLength))",
                at: start)
        }
        guard let key = String(validating: raw, as: UTF8.self) else {
            throw failure(.malformed, "the key of metadata pair \(number + 1) is not valid UTF-8", at: start)
        }
        let value = try parseValue(key)
        guard header.metadata.append(key, value) else {
            var error = failure(.malformed, "metadata key \(key.quotedForMessage) occurs twice", at: start)
            error.key = key
            throw error
        }
    }

    private mutating func parseValue(_ key: String) throws(GGUFError) -> GGUFValue {
        let start = reader.offset
        let type = try valueType("the type of", key, at: start)
        switch type {
        case .uint8: return .uint8(try integer(UInt8.self, "the value of \(key.quotedForMessage)"))
        case .int8: return .int8(try integer(Int8.self, "the value of \(key.quotedForMessage)"))
        case .uint16: return .uint16(try integer(UInt16.self, "the value of \(key.quotedForMessage)"))
        case .int16: return .int16(try integer(Int16.self, "the value of \(key.quotedForMessage)"))
        case .uint32: return .uint32(try integer(UInt32.self, "the value of \(key.quotedForMessage)"))
        case .int32: return .int32(try integer(Int32.self, "the value of \(key.quotedForMessage)"))
        case .float32:
            return .float32(Float(bitPattern: try integer(UInt32.self, "the value of \(key.quotedForMessage)")))
        case .uint64: return .uint64(try integer(UInt64.self, "the value of \(key.quotedForMessage)"))
        case .int64: return .int64(try integer(Int64.self, "the value of \(key.quotedForMessage)"))
        case .float64:
            return .float64(Double(bitPattern: try integer(UInt64.self, "the value of \(key.quotedForMessage)")))
        case .string:
            let text = GGUFString(bytes: Array(try string("the value of \(key.quotedForMessage)")))
            if text.validText == nil {
                header.warnings.append(
                    "the string under \(key.quotedForMessage) is not valid UTF-8; its bytes are kept")
            }
            return .string(text)
        case .bool:
            let byte = try integer(UInt8.self, "the value of \(key.quotedForMessage)")
            guard byte <= 1 else {
                throw failure(
                    .malformed,
                    "metadata key \(key.quotedForMessage) is a bool of value \(byte); only 0 and 1 are valid",
                    at: reader.offset - 1)
            }
            return .bool(byte == 1)
        case .array: return .array(try parseArray(key))
        }
    }

    private mutating func valueType(
        _ what: String, _ key: String, at start: Int
    ) throws(GGUFError) -> GGUFValueType {
        let number = try integer(UInt32.self, "\(what) \(key.quotedForMessage)")
        guard let type = GGUFValueType(rawValue: number) else {
            throw failure(
                .malformed, "\(what) metadata key \(key.quotedForMessage) is \(number), which GGUF does not define",
                at: start)
        }
        return type
    }

    private mutating func parseArray(_ key: String) throws(GGUFError) -> GGUFArray {
        let start = reader.offset
        let type = try valueType("the element type of", key, at: start)
        guard type != .array else {
            throw failure(
                .malformed,
                "metadata key \(key.quotedForMessage) is an array of arrays, which no known reader takes; "
                    + "write it as one array", at: start)
        }
        let count = try count("the array \(key.quotedForMessage)", eachAtLeast: type.fixedSize ?? wordSize)
        let first = reader.offset
        if let size = type.fixedSize {
            // Cannot overflow: count() compared the product.
            let elements = try bytes(count * size, "the array \(key.quotedForMessage)")
            if type == .bool, let bad = elements.firstIndex(where: { $0 > 1 }) {
                throw failure(
                    .malformed, "metadata key \(key.quotedForMessage) holds a bool of value \(elements[bad])",
                    at: first + bad)
            }
            if header.isBigEndian, size > 1 {
                var swapped = Array(elements)
                ByteSwapping.swapNumbers(&swapped, width: size)
                return GGUFArray(elementType: type, count: count, encoded: swapped)
            }
            return GGUFArray(
                elementType: type, count: count, owner: file, offset: first, byteCount: reader.offset - first)
        }
        if wordSize == 8, !header.isBigEndian {
            for _ in 0..<count { _ = try string("a string of the array \(key.quotedForMessage)") }
            return GGUFArray(
                elementType: type, count: count, owner: file, offset: first, byteCount: reader.offset - first)
        }
        // Version 1 has shorter lengths, big-endian files have turned ones; take the strings out.
        var strings: [GGUFString] = []
        for _ in 0..<count {
            strings.append(GGUFString(bytes: Array(try string("a string of the array \(key.quotedForMessage)"))))
        }
        return GGUFArray(strings)
    }

    private mutating func takeAlignment() throws(GGUFError) {
        let key = GGUFLimits.alignmentKey
        guard let value = header.metadata[key] else { return }
        guard case .uint32(let alignment) = value else {
            throw failure(.malformed, "\(key) must be a u32 but is \(value.typeText)", at: nil)
        }
        guard alignment.nonzeroBitCount == 1, alignment <= GGUFLimits.largestAlignment else {
            throw failure(
                .malformed,
                "\(key) is \(alignment); it must be a power of two up to \(GGUFLimits.largestAlignment)", at: nil)
        }
        header.alignment = Int(alignment)
    }

    // MARK: - Tensors

    private struct Description {
        var name: String
        var type: TensorType
        var dimensions: [Int]
        var elementCount: Int
        var byteCount: Int
        /// From the start of the data.
        var offset: UInt64
        /// Where the description itself starts in the file.
        var start: Int
    }

    private mutating func parseDescriptions(_ count: Int) throws(GGUFError) -> [Description] {
        var descriptions: [Description] = []
        descriptions.reserveCapacity(count)
        header.index.reserveCapacity(count)
        for number in 0..<count {
            let description = try parseDescription(number)
            guard header.index.updateValue(number, forKey: ExactString(description.name)) == nil else {
                throw tensorFailure(description.name, "occurs twice", at: description.start)
            }
            descriptions.append(description)
        }
        return descriptions
    }

    private mutating func parseDescription(_ number: Int) throws(GGUFError) -> Description {
        let start = reader.offset
        let raw = try string("name of tensor \(number + 1)")
        guard raw.count <= GGUFLimits.tensorNameLength else {
            throw failure(
                .badTensor,
                "tensor \(number + 1) has a name of \(raw.count) bytes (limit \(GGUFLimits.tensorNameLength))",
                at: start)
        }
        guard let name = String(validating: raw, as: UTF8.self) else {
            throw failure(.badTensor, "the name of tensor \(number + 1) is not valid UTF-8", at: start)
        }
        let dimensionCount = try integer(UInt32.self, "the dimension count of tensor \(name.quotedForMessage)")
        guard dimensionCount <= GGUFLimits.dimensions else {
            throw tensorFailure(
                name, "has \(dimensionCount) dimensions; at most \(GGUFLimits.dimensions) are possible",
                at: reader.offset - 4)
        }
        var dimensions: [Int] = []
        var elementCount = 1
        for _ in 0..<dimensionCount {
            let position = reader.offset
            let value = try word("a dimension of tensor \(name.quotedForMessage)")
            guard let dimension = Int(exactly: value), dimension >= 1 else {
                throw tensorFailure(name, "has a dimension of \(Int64(bitPattern: value))", at: position)
            }
            let (product, overflow) = elementCount.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw tensorFailure(name, "has more elements than 64 bits can count", at: position) }
            elementCount = product
            dimensions.append(dimension)
        }
        let typeStart = reader.offset
        let type = try tensorType(
            integer(UInt32.self, "the type of tensor \(name.quotedForMessage)"), tensor: name, at: typeStart)
        let row = dimensions.first ?? 1
        guard !header.isBigEndian || ByteSwapping(type: type) != nil else {
            throw tensorFailure(
                name,
                "has the type \(type.name) in a big-endian file, and how its blocks lie there is not known; "
                    + "use a little-endian file", at: typeStart)
        }
        guard row % type.blockSize == 0 else {
            throw tensorFailure(
                name, "has rows of \(row) values, which are not whole \(type.name) blocks of \(type.blockSize)",
                at: typeStart)
        }
        guard let byteCount = type.byteCount(elements: elementCount) else {
            throw tensorFailure(name, "has more bytes than 64 bits can count", at: typeStart)
        }
        let offset = try integer(UInt64.self, "the offset of tensor \(name.quotedForMessage)")
        return Description(
            name: name, type: type, dimensions: dimensions, elementCount: elementCount, byteCount: byteCount,
            offset: offset, start: start)
    }

    private func tensorType(_ number: UInt32, tensor: String, at offset: Int) throws(GGUFError) -> TensorType {
        if let type = TensorType(id: number) { return type }
        var error: GGUFError
        if let name = TensorType.removedName(id: number) {
            error = failure(
                .unknownTensorType,
                "tensor \(tensor.quotedForMessage) has the type \(name), which ggml has removed; "
                    + "re-quantize the model from its original", at: offset)
        } else {
            error = failure(
                .unknownTensorType,
                "tensor \(tensor.quotedForMessage) has the unknown type \(number); "
                    + "the file is damaged or newer than this program", at: offset)
        }
        error.tensor = tensor
        throw error
    }

    /// Turns offsets into places in the file, and checks that they are in it and apart from each other.
    private mutating func place(_ descriptions: [Description]) throws(GGUFError) {
        let alignment = header.alignment
        header.headerEnd = reader.offset
        // The header lies within the file, so adding a bounded alignment cannot overflow.
        let dataOffset = (reader.offset + alignment - 1) / alignment * alignment
        header.dataOffset = dataOffset
        header.tensors.reserveCapacity(descriptions.count)
        for description in descriptions {
            let name = description.name
            guard description.offset % UInt64(alignment) == 0 else {
                throw tensorFailure(
                    name,
                    "starts at offset \(description.offset), which is not a multiple of the alignment \(alignment)",
                    at: description.start)
            }
            guard let offset = Int(exactly: description.offset), dataOffset <= file.count,
                offset <= file.count - dataOffset, description.byteCount <= file.count - dataOffset - offset
            else {
                throw GGUFError(
                    .truncated,
                    "tensor \(name.quotedForMessage) needs \(description.byteCount) bytes from offset "
                        + "\(description.offset) of the data, which starts at byte \(dataOffset), but the file has only "
                        + "\(file.count) bytes; it is damaged or was not downloaded completely", path: file.path,
                    offset: description.start, tensor: name)
            }
            header.tensors.append(
                TensorInfo(
                    name: name, type: description.type, dimensions: description.dimensions,
                    fileOffset: dataOffset + offset, byteCount: description.byteCount,
                    elementCount: description.elementCount, part: part))
        }
        try checkLayout(descriptions)
    }

    private mutating func checkLayout(_ descriptions: [Description]) throws(GGUFError) {
        let tensors = header.tensors
        let alignment = header.alignment
        let order = tensors.indices.sorted {
            (tensors[$0].fileOffset, tensors[$0].byteCount, $0) < (tensors[$1].fileOffset, tensors[$1].byteCount, $1)
        }
        if order != Array(tensors.indices) {
            header.warnings.append(
                "tensors are not listed in the order of their data; other programs may refuse the file")
        }
        var end = header.dataOffset
        var paddedEnd = header.dataOffset
        var holes = 0
        for (position, number) in order.enumerated() {
            let tensor = tensors[number]
            guard tensor.fileOffset >= end else {
                let other = tensors[order[position - 1]].name
                throw tensorFailure(
                    tensor.name, "overlaps the data of tensor \(other.quotedForMessage)",
                    at: descriptions[number].start)
            }
            if tensor.fileOffset != paddedEnd { holes += 1 }
            end = tensor.fileOffset + tensor.byteCount
            // Compared as a remainder so that nothing is added near the top of the range.
            let rest = end % alignment
            paddedEnd = rest == 0 ? end : end + (alignment - rest)
        }
        if holes > 0 {
            header.warnings.append(
                "there \(holes == 1 ? "is a hole" : "are \(holes) holes") in the tensor data; other programs may refuse the file"
            )
        }
        header.dataEnd = paddedEnd
        try checkEnd()
    }

    /// What follows the last tensor.
    private mutating func checkEnd() throws(GGUFError) {
        let end = header.dataEnd
        if end <= file.count - 4, file.unsafeBytes[end..<end + 4].elementsEqual(GGUFLimits.magic) {
            guard header.split == nil else {
                throw failure(
                    .brokenSplit,
                    "another GGUF file follows within this one: parts of a split model were joined byte by byte, "
                        + "which loses all but the first; get the parts again and use incipit merge", at: end)
            }
            header.warnings.append("another GGUF file follows from byte \(end) on and is ignored")
        } else if header.tensors.isEmpty {
            return
        } else if file.count < end {
            header.warnings.append("the padding after the last tensor is missing")
        } else if file.count > end {
            header.warnings.append("\(file.count - end) bytes follow the last tensor and are ignored")
        }
    }

    // MARK: - Primitives

    private mutating func integer<T: FixedWidthInteger>(
        _ type: T.Type, _ what: @autoclosure () -> String
    ) throws(GGUFError) -> T {
        do { return try reader.read(T.self, what()) } catch { throw truncation(error) }
    }

    /// A length, count or dimension.
    private mutating func word(_ what: @autoclosure () -> String) throws(GGUFError) -> UInt64 {
        wordSize == 4 ? UInt64(try integer(UInt32.self, what())) : try integer(UInt64.self, what())
    }

    private mutating func bytes(_ count: Int, _ what: @autoclosure () -> String) throws(GGUFError)
        -> UnsafeRawBufferPointer
    {
        do { return try reader.readBytes(count, what()) } catch { throw truncation(error) }
    }

    /// Reads a count and compares it with what the rest of the file can hold at the very least.
    private mutating func count(_ what: @autoclosure () -> String, eachAtLeast size: Int) throws(GGUFError) -> Int {
        let start = reader.offset
        let value = try word(what())
        guard let count = Int(exactly: value), count <= reader.remaining / size else {
            throw failure(
                .truncated,
                "\(what()) is \(value), more than the remaining \(reader.remaining) bytes can hold; "
                    + "the file is damaged or was not downloaded completely", at: start)
        }
        return count
    }

    private mutating func string(_ what: @autoclosure () -> String) throws(GGUFError) -> UnsafeRawBufferPointer {
        let start = reader.offset
        let length = try word(what())
        guard length <= UInt64(reader.remaining) else {
            throw failure(
                .truncated,
                "\(what()) is a string of \(length) bytes but only \(reader.remaining) are left; "
                    + "the file is damaged or was not downloaded completely", at: start)
        }
        return try bytes(Int(length), what())
    }

    private func failure(_ code: GGUFError.Code, _ message: String, at offset: Int?) -> GGUFError {
        GGUFError(code, message, path: file.path, offset: offset)
    }

    private func tensorFailure(_ name: String, _ message: String, at offset: Int) -> GGUFError {
        GGUFError(
            .badTensor, "tensor \(name.quotedForMessage) \(message)", path: file.path, offset: offset, tensor: name)
    }

    private func truncation(_ error: ByteIOError) -> GGUFError {
        GGUFError(
            .truncated, error.message + "; the file is damaged or was not downloaded completely", path: file.path,
            offset: error.offset)
    }
}

/// Numbers of the format and of its reference implementation.
enum GGUFLimits {
    static let magic: [UInt8] = Array("GGUF".utf8)
    static let alignmentKey = "general.alignment"
    static let defaultAlignment = 32
    /// Our own; the format has none, and a huge one would only serve to overflow sums.
    static let largestAlignment: UInt32 = 1 << 20
    static let keyLength = 65535
    static let tensorNameLength = 63
    static let dimensions: UInt32 = 4
}
