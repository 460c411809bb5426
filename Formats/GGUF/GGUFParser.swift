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

    let file: MappedFile
    let part: Int
    var reader: ByteReader
    var header = Header()
    /// Bytes of a length, count or dimension: 4 in version 1, else 8.
    var wordSize = 8

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

    // MARK: - Primitives

    mutating func integer<T: FixedWidthInteger>(
        _ type: T.Type, _ what: @autoclosure () -> String
    ) throws(GGUFError) -> T {
        do { return try reader.read(T.self, what()) } catch { throw truncation(error) }
    }

    /// A length, count or dimension.
    mutating func word(_ what: @autoclosure () -> String) throws(GGUFError) -> UInt64 {
        wordSize == 4 ? UInt64(try integer(UInt32.self, what())) : try integer(UInt64.self, what())
    }

    mutating func bytes(_ count: Int, _ what: @autoclosure () -> String) throws(GGUFError)
        -> UnsafeRawBufferPointer
    {
        do { return try reader.readBytes(count, what()) } catch { throw truncation(error) }
    }

    /// Reads a count and compares it with what the rest of the file can hold at the very least.
    mutating func count(_ what: @autoclosure () -> String, eachAtLeast size: Int) throws(GGUFError) -> Int {
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

    mutating func string(_ what: @autoclosure () -> String) throws(GGUFError) -> UnsafeRawBufferPointer {
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

    func failure(_ code: GGUFError.Code, _ message: String, at offset: Int?) -> GGUFError {
        GGUFError(code, message, path: file.path, offset: offset)
    }

    func tensorFailure(_ name: String, _ message: String, at offset: Int) -> GGUFError {
        GGUFError(
            .badTensor, "tensor \(name.quotedForMessage) \(message)", path: file.path, offset: offset, tensor: name)
    }

    func truncation(_ error: ByteIOError) -> GGUFError {
        GGUFError(
            .truncated, error.message + "; the file is damaged or was not downloaded completely", path: file.path,
            offset: error.offset)
    }
}
