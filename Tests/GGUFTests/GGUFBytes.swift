import ByteIO
import Foundation

@testable import GGUF

/// Builds GGUF headers byte by byte, so that tests can write what no writer would.
struct GGUFBytes {
    private(set) var bytes: [UInt8] = []
    private let isBigEndian: Bool

    init(version: UInt32 = 3, tensors: UInt64 = 0, pairs: UInt64 = 0, isBigEndian: Bool = false) {
        self.isBigEndian = isBigEndian
        bytes = Array("GGUF".utf8)
        add(version)
        if version == 1 {
            add(UInt32(tensors))
            add(UInt32(pairs))
        } else {
            add(tensors)
            add(pairs)
        }
    }

    mutating func add<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: isBigEndian ? value.bigEndian : value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func add(raw: [UInt8]) { bytes += raw }

    mutating func add(string: String) { add(string: Array(string.utf8)) }

    mutating func add(string: [UInt8]) {
        add(UInt64(string.count))
        bytes += string
    }

    mutating func add(tensor name: String, dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0) {
        add(string: name)
        add(UInt32(dimensions.count))
        for dimension in dimensions { add(dimension) }
        add(type)
        add(offset)
    }

    mutating func pad(to alignment: Int = 32) {
        while bytes.count % alignment != 0 { bytes.append(0) }
    }

    /// A file with one pair whose value has the given type and bytes.
    static func pair(_ key: [UInt8], type: UInt32, _ value: [UInt8]) -> [UInt8] {
        var file = GGUFBytes(pairs: 1)
        file.add(string: key)
        file.add(type)
        file.add(raw: value)
        return file.bytes
    }

    static func pair(_ key: String, type: UInt32, _ value: [UInt8]) -> [UInt8] {
        pair(Array(key.utf8), type: type, value)
    }

    /// A file with one tensor and 64 bytes of data.
    static func tensor(_ name: String, _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0) -> [UInt8] {
        var file = GGUFBytes(tensors: 1)
        file.add(tensor: name, dimensions: dimensions, type: type, offset: offset)
        file.pad()
        file.add(raw: [UInt8](repeating: 0, count: 64))
        return file.bytes
    }
}

/// Makes a folder of its own and removes it at the end.
final class TemporaryFolder {
    let path = NSTemporaryDirectory() + "/incipit-tests-" + UUID().uuidString
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}
