import GGUF
import Kernels
import TensorTypes

/// Takes tensors out of a file with the checks every architecture needs: present, of the expected shape, decodable.
public struct TensorLoading {
    public let file: GGUFFile
    public let path: String

    public init(_ file: GGUFFile, path: String) {
        self.file = file
        self.path = path
    }

    /// The tensor `name`, which must have `dimensions` (columns first).
    public func tensor(_ name: String, _ dimensions: [Int]) throws -> TensorInfo {
        guard let info = file.tensor(named: name) else {
            throw ModelError(.invalidTensor, "tensor \(name) is missing", path: path)
        }
        func trimmed(_ values: [Int]) -> [Int] {
            var values = values
            while values.count > 1, values.last == 1 { values.removeLast() }
            return values
        }
        guard trimmed(info.dimensions) == trimmed(dimensions) else {
            func text(_ values: [Int]) -> String { values.map(String.init).joined(separator: "×") }
            throw ModelError(
                .invalidTensor,
                "tensor \(name) has shape \(text(info.dimensions)); the hyperparameters ask for \(text(dimensions))",
                path: path)
        }
        guard info.type.isDecodable else {
            throw ModelError(
                .invalidTensor, "tensor \(name) has type \(info.type.name), which cannot be computed with", path: path)
        }
        return info
    }

    /// A small tensor (a norm's weights) as floats.
    public func floats(_ name: String, count: Int) throws -> [Float] {
        let info = try tensor(name, [count])
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            info.type.decode(
                file.bytes(of: info), into: UnsafeMutableBufferPointer(start: buffer.baseAddress, count: count))
            initialized = count
        }
    }

    /// A weight matrix of `rows` outputs and `columns` inputs.
    public func matrix(_ name: String, rows: Int, columns: Int) throws -> FrozenTensor {
        let info = try tensor(name, [columns, rows])
        return FrozenTensor(info: info, bytes: file.bytes(of: info), rows: rows, columns: columns)
    }
}

/// A weight matrix where the file mapped it.
public struct FrozenTensor: Sendable {
    public let info: TensorInfo
    // Sendable: read-only mapped memory that the model keeps alive through its file.
    nonisolated(unsafe) public let bytes: UnsafeRawBufferPointer
    public let rows: Int
    public let columns: Int

    /// Repacked for the integer kernels.
    public func packed(pool: ThreadPool) throws -> PackedMatrix {
        try PackedMatrix(type: info.type, rows: rows, columns: columns, bytes: bytes, pool: pool)
    }

    /// Bytes of one row.
    var rowByteCount: Int { columns / info.type.blockSize * info.type.bytesPerBlock }
}
