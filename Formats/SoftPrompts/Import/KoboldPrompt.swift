import ByteIO
import Foundation
import TensorTypes

/// A soft prompt of KoboldAI and mtj-softtuner: a ZIP archive of `tensor.npy` and `meta.json`.
///
/// The array is two-dimensional, `(token, hidden size)`, F16, F32, or `V2`: raw BF16. It enters at the input. Nothing else
/// of its base is known than the width.
public struct KoboldPrompt: Sendable {
    public let path: String
    public let name: String?
    public let virtualTokenCount: Int
    public let hiddenSize: Int
    /// `(virtualTokenCount, hiddenSize)`.
    public let values: [Float]

    /// - Throws: ``SoftPromptError`` for an archive that is none, or holds something else.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        guard file.count <= 1 << 30 else {
            throw SoftPromptError(
                .invalidPrompt, "the archive has \(file.count) bytes, too many for a prompt", path: path)
        }
        try self.init(archive: file.copyBytes(), path: path)
    }

    init(archive bytes: [UInt8], path: String) throws(SoftPromptError) {
        let archive = try ZipArchive(bytes, path: path)
        guard let entry = archive.entries.first(where: { $0.name == "tensor.npy" }) else {
            throw SoftPromptError(
                .invalidPrompt, "there is no tensor.npy in it; this is no KoboldAI soft prompt", path: path)
        }
        let array = try NumPyArray(try archive.data(of: entry), path: path)
        guard array.shape.count == 2, array.shape[0] >= 1, array.shape[1] >= 1 else {
            throw SoftPromptError(
                .invalidPrompt, "the array has \(array.shape.count) dimensions; tokens and width are expected",
                path: path)
        }
        var name: String?
        if let meta = archive.entries.first(where: { $0.name == "meta.json" }), meta.size <= 1 << 20 {
            name = try? JSONValue.parse(try archive.data(of: meta))["name"]?.stringValue
        }
        self.path = path
        self.name = name
        virtualTokenCount = array.shape[0]
        hiddenSize = array.shape[1]
        values = array.values
        guard values.allSatisfy(\.isFinite) else {
            throw SoftPromptError(.notFinite, "the array holds a value that is no number", path: path)
        }
    }

    /// Ties the values to a base, once the caller vouches for it.
    public func prompt(
        shape: ModelShape, base: BaseFingerprint, baseName: String, baseSource: String? = nil
    ) throws(SoftPromptError) -> SoftPrompt {
        guard hiddenSize == shape.hiddenSize else {
            throw SoftPromptError(
                .wrongShape, "the prompt has vectors of \(hiddenSize); the model \(baseName) takes \(shape.hiddenSize)",
                path: path)
        }
        return try SoftPrompt(
            placement: .inputEmbeddings, virtualTokenCount: virtualTokenCount, values: values, shape: shape, base: base,
            baseName: baseName, baseSource: baseSource, method: "prompt-tuning",
            training: name.map { ["imported_name": .string($0)] } ?? [:])
    }
}

/// An array in NumPy's NPY format, versions 1 to 3, little-endian, in C order.
struct NumPyArray {
    let shape: [Int]
    let values: [Float]

    init(_ bytes: [UInt8], path: String) throws(SoftPromptError) {
        func fail(_ reason: String) -> SoftPromptError {
            SoftPromptError(.invalidPrompt, "tensor.npy: " + reason, path: path)
        }
        guard bytes.count >= 12, bytes.starts(with: [0x93] + Array("NUMPY".utf8)) else {
            throw fail("this is no NPY array")
        }
        let isLong = bytes[6] >= 2
        let length = Int(bytes[8]) | Int(bytes[9]) << 8 | (isLong ? Int(bytes[10]) << 16 | Int(bytes[11]) << 24 : 0)
        let start = (isLong ? 12 : 10) + length
        guard (1...3).contains(bytes[6]), start <= bytes.count, length < 1 << 16 else {
            throw fail("the header is damaged")
        }
        let header = String(decoding: bytes[(isLong ? 12 : 10)..<start], as: UTF8.self)
        // A Python dictionary literal of three known keys.
        func value(_ key: String) -> Substring? {
            guard let at = header.range(of: "'\(key)':") else { return nil }
            return header[at.upperBound...].drop { $0 == " " }
        }
        guard let order = value("fortran_order"), order.hasPrefix("False") else {
            throw fail("the array is not in C order")
        }
        guard let list = value("shape"), list.hasPrefix("("), let close = list.firstIndex(of: ")"),
            let type = value("descr")?.dropFirst().prefix(while: { $0 != "'" && $0 != "\"" })
        else { throw fail("the header is damaged") }
        var shape: [Int] = []
        var count = 1
        for part in list[list.index(after: list.startIndex)..<close].split(separator: ",") {
            guard let size = Int(part.filter { $0 != " " }), size >= 0 else { throw fail("the shape is damaged") }
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow, product <= 1 << 28 else { throw fail("the array is too large for a prompt") }
            count = product
            shape.append(size)
        }
        let data = bytes[start...]
        let width = type == "<f4" ? 4 : 2
        guard ["<f4", "<f2", "|V2", "V2", "<V2"].contains(String(type)) else {
            throw fail("the type \(String(type).quotedForMessage) is not F16, F32 or BF16")
        }
        guard data.count == count * width else {
            throw fail("there are \(data.count) bytes of data; the shape needs \(count * width)")
        }
        let first = data.startIndex
        values = (0..<count).map { index in
            let at = first + index * width
            let low = UInt32(data[at]) | UInt32(data[at + 1]) << 8
            switch type {
            case "<f4": return Float(bitPattern: low | UInt32(data[at + 2]) << 16 | UInt32(data[at + 3]) << 24)
            case "<f2": return Half.float(UInt16(low))
            default: return Float(bitPattern: low << 16)
            }
        }
        self.shape = shape
    }
}
