import ByteIO
import Foundation
import GGUF
import Safetensors
import TensorTypes

/// A weight of a model as rows of one type, wherever it comes from: plain, packed, or a tensor of a GGUF file.
protocol StoredWeight: Sendable {
    /// In PyTorch's order: the last dimension is contiguous.
    var shape: [Int] { get }
    /// Of the bytes that are read.
    var type: TensorType { get }
    /// How the file stores it, for people: "BF16", "GPTQ 4 bit".
    var storedAs: String { get }
    /// Bytes the weight takes in the file, scales included.
    var storedBytes: Int { get }
    /// All bytes, when they lie in the file as they are. Valid while the weight lives.
    var mapped: UnsafeRawBufferPointer? { get }
    /// Writes whole rows (of the last dimension) to memory with room for exactly these.
    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) throws
    /// Says that the weight is not needed for now, so that the memory its file is mapped to can be taken back.
    func forget()
}

extension StoredWeight {
    var rowLength: Int { shape.last ?? 1 }
    var rowCount: Int { shape.dropLast().reduce(1, *) }
    /// Bytes of one row.
    var rowBytes: Int { type.byteCount(elements: rowLength) ?? 0 }
    func forget() {}
}

/// A tensor whose bytes are read as they are.
struct MappedWeight: StoredWeight {
    let shape: [Int]
    let type: TensorType
    private let owner: any Sendable & AnyObject
    /// The file that the bytes lie in; nil for memory of ours.
    private let file: MappedFile?
    // Sound: the mapping is never written, and `owner` keeps it.
    private nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    /// A tensor of safetensors that is F32, F16 or BF16; nil for other types.
    init?(_ tensor: SafetensorsTensor, in model: SafetensorsModel) {
        guard let type = tensor.type.tensorType, type.isFloatWithinF32 else { return nil }
        shape = tensor.dimensions
        self.type = type
        owner = model
        file = model.file(of: tensor).file
        bytes = model.bytes(of: tensor)
    }

    /// A tensor of a GGUF file, with the dimensions the other way round.
    init(_ tensor: TensorInfo, in file: GGUFFile) {
        shape = tensor.dimensions.reversed()
        type = tensor.type
        owner = file
        self.file = file.isBigEndian ? nil : file.parts[tensor.part].file
        bytes = file.bytes(of: tensor)
    }

    var storedAs: String { type.name }
    var storedBytes: Int { bytes.count }
    var mapped: UnsafeRawBufferPointer? { bytes }

    func forget() {
        if bytes.count >= 1 << 20 { file?.release(bytes) }
    }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        let size = rowBytes
        destination.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[rows.lowerBound * size..<rows.upperBound * size]))
    }
}

/// A tensor of any other number type (F64, FP8 without scales, integers), widened or rounded to F32.
struct WidenedWeight: StoredWeight {
    let tensor: SafetensorsTensor
    let model: SafetensorsModel
    let shape: [Int]

    init(_ tensor: SafetensorsTensor, in model: SafetensorsModel) throws {
        guard tensor.type.isDecodable, tensor.type.bits >= 8 else {
            throw ConversionError(
                .unsupported,
                "tensor \(tensor.name.quotedForMessage) is \(tensor.type), which cannot be converted alone",
                path: model.path, tensor: tensor.name)
        }
        self.tensor = tensor
        self.model = model
        shape = tensor.dimensions
    }

    var type: TensorType { .f32 }
    var storedAs: String { tensor.type.name }
    var storedBytes: Int { tensor.byteCount }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        let size = rowLength * tensor.type.bits / 8
        let source = model.bytes(of: tensor)
        withFloats(destination) { floats in
            tensor.type.decode(
                UnsafeRawBufferPointer(rebasing: source[rows.lowerBound * size..<rows.upperBound * size]), into: floats)
        }
    }
}

/// F32 values made in memory.
struct ComputedWeight: StoredWeight {
    let values: [Float]
    var shape: [Int] { [values.count] }
    var type: TensorType { .f32 }
    var storedAs: String { "computed" }
    var storedBytes: Int { 0 }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        values.withUnsafeBytes { destination.copyMemory(from: $0) }
    }
}

/// Lends memory that was allocated for floats as floats.
func withFloats(_ bytes: UnsafeMutableRawBufferPointer, _ body: (UnsafeMutableBufferPointer<Float>) -> Void) {
    guard bytes.count >= 4 else { return }
    if UInt(bitPattern: bytes.baseAddress) % 4 == 0 {
        body(bytes.bindMemory(to: Float.self))
    } else {
        // A row of an odd place in a larger buffer.
        let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: bytes.count / 4)
        defer { floats.deallocate() }
        body(floats)
        bytes.copyMemory(from: UnsafeRawBufferPointer(floats))
    }
}
