import Foundation

/// A two-dimensional array of floats in NumPy's format, version 1 to 3.
///
/// | bytes | content |
/// | --- | --- |
/// | 6 | `\x93NUMPY` |
/// | 2 | version |
/// | 2, from version 2 on 4 | length of the header, little-endian |
/// | header | a Python literal: `{'descr': '<f4', 'fortran_order': False, 'shape': (32, 576), }` |
/// | rest | the values, row after row |
struct NumPyArray {
    let rows: Int
    let columns: Int
    let values: [Float]

    /// - Throws: `MeasureError` naming the file when it is anything but two dimensions of little-endian F32, row-major.
    init(path: String) throws {
        func fail(_ message: String) -> MeasureError { MeasureError("\(path): \(message)") }
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
            throw fail("cannot be read: \(error.localizedDescription)")
        }
        guard data.count >= 12, data.prefix(6) == Data([0x93]) + Data("NUMPY".utf8) else {
            throw fail("is no .npy file")
        }
        let lengthBytes = data[6] >= 2 ? 4 : 2
        let headerLength = data[8..<8 + lengthBytes].reversed().reduce(0) { $0 << 8 | Int($1) }
        let start = 8 + lengthBytes + headerLength
        guard start <= data.count else { throw fail("the header is cut off") }
        let header = String(decoding: data[8 + lengthBytes..<start], as: UTF8.self)
        guard header.contains("'<f4'"), header.contains("'fortran_order': False") else {
            throw fail("the values are not little-endian F32 in row-major order: \(header)")
        }
        guard let opening = header.firstIndex(of: "("), let closing = header[opening...].firstIndex(of: ")") else {
            throw fail("the header names no shape: \(header)")
        }
        let sizes = header[header.index(after: opening)..<closing].split(separator: ",").map {
            Int($0.trimmingCharacters(in: .whitespaces)) ?? -1
        }
        guard sizes.count == 2, sizes.allSatisfy({ $0 > 0 && $0 < 1 << 30 }) else {
            throw fail("the shape is not two-dimensional: \(header)")
        }
        let count = sizes[0] * sizes[1]
        guard (data.count - start) / 4 == count, (data.count - start) % 4 == 0 else {
            throw fail("\(data.count - start) bytes are not \(sizes[0]) × \(sizes[1]) floats")
        }
        rows = sizes[0]
        columns = sizes[1]
        values = [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            _ = data[start...].copyBytes(to: buffer)
            initialized = count
        }
    }
}
