import ByteIO
import TensorTypes

/// The bytes of a header: version 3, little endian.
enum GGUFEncoding {
    struct Tensor {
        var name: String
        var type: TensorType
        var dimensions: [Int]
        /// From the start of the data.
        var offset: Int
    }

    /// The header without the padding after it.
    static func header(metadata: GGUFMetadata, tensors: [Tensor]) -> [UInt8] {
        var header = ByteWriter()
        header.write(bytes: GGUFLimits.magic)
        header.write(UInt32(3))
        header.write(UInt64(tensors.count))
        header.write(UInt64(metadata.count))
        for entry in metadata.entries {
            header.write(string: Array(entry.key.utf8))
            header.write(entry.value.type.rawValue)
            header.write(value: entry.value)
        }
        for tensor in tensors {
            header.write(string: Array(tensor.name.utf8))
            header.write(UInt32(tensor.dimensions.count))
            for dimension in tensor.dimensions { header.write(UInt64(dimension)) }
            header.write(tensor.type.id)
            header.write(UInt64(tensor.offset))
        }
        return header.bytes
    }

    /// Bytes of one pair.
    static func byteCount(of entry: GGUFMetadata.Entry) -> Int {
        let value =
            switch entry.value {
            case .string(let text): 8 + text.bytes.count
            case .array(let array): 12 + array.encodedByteCount
            default: entry.value.type.fixedSize ?? 0
            }
        return 8 + entry.key.utf8.count + 4 + value
    }

    /// Bytes of one tensor's description.
    static func byteCount(name: String, dimensions: Int) -> Int { 8 + name.utf8.count + 4 + dimensions * 8 + 4 + 8 }
}

extension ByteWriter {
    fileprivate mutating func write(string bytes: [UInt8]) {
        write(UInt64(bytes.count))
        write(bytes: bytes)
    }

    fileprivate mutating func write(value: GGUFValue) {
        switch value {
        case .uint8(let value): write(value)
        case .int8(let value): write(value)
        case .uint16(let value): write(value)
        case .int16(let value): write(value)
        case .uint32(let value): write(value)
        case .int32(let value): write(value)
        case .float32(let value): write(value)
        case .bool(let value): write(UInt8(value ? 1 : 0))
        case .string(let value): write(string: value.bytes)
        case .uint64(let value): write(value)
        case .int64(let value): write(value)
        case .float64(let value): write(value)
        case .array(let array):
            write(array.elementType.rawValue)
            write(UInt64(array.count))
            array.withEncodedBytes { write(bytes: $0) }
        }
    }
}
