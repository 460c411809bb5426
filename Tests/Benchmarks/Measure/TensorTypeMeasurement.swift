import Foundation
import TensorTypes

/// Encodes a file of floats to a tensor type, for `Tests/Oracles/tensor_types.py`, and says how fast that was.
enum EncodeMeasurement {
    static let usage = "TYPE FLOATS BLOCKS --row N [--importance FLOATS] [--repeat N]"

    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["TYPE", "FLOATS", "BLOCKS"], options: ["--row", "--importance", "--repeat"], flags: [])
        let type = try tensorType(arguments.positional[0])
        let floats = try readFloats(arguments.positional[1])
        let importance = try arguments.string("--importance").map(readFloats)
        let rowLength = try arguments.int("--row", default: floats.count)
        var bytes: [UInt8] = []
        let time = try best(arguments.int("--repeat", default: 1)) {
            bytes = try type.encoded(rows: floats, rowLength: rowLength, importance: importance)
        }
        try Data(bytes).write(to: URL(fileURLWithPath: arguments.positional[2]))
        print("\(Double(floats.count) * 4 / time / 1e6)")
    }
}

/// Decodes a file of blocks to floats, and says how fast that was.
enum DecodeMeasurement {
    static let usage = "TYPE BLOCKS FLOATS [--repeat N]"

    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: ["TYPE", "BLOCKS", "FLOATS"], options: ["--repeat"], flags: [])
        let type = try tensorType(arguments.positional[0])
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: arguments.positional[1])))
        var values = try bytes.withUnsafeBytes { try type.decoded($0) }
        let time = try best(arguments.int("--repeat", default: 1)) {
            bytes.withUnsafeBytes { source in
                values.withUnsafeMutableBufferPointer { type.decode(source, into: $0) }
            }
        }
        try values.withUnsafeBytes { Data($0) }.write(to: URL(fileURLWithPath: arguments.positional[2]))
        print("\(Double(values.count) * 4 / time / 1e6)")
    }
}

private func tensorType(_ name: String) throws -> TensorType {
    guard let type = TensorType(name: name) else { throw MeasureError("there is no tensor type \(name)") }
    return type
}

private func readFloats(_ path: String) throws -> [Float] {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    return try bytes.withUnsafeBytes { try TensorType.f32.decoded($0) }
}

private func best(_ repeats: Int, _ body: () throws -> Void) rethrows -> Double {
    var result = Double.infinity
    for _ in 0..<repeats { result = min(result, try seconds(body)) }
    return result
}
