import ByteIO
import Foundation
import GGUF
import TensorTypes

// A GGUF file of importance: general.type = "imatrix"; imatrix.datasets, .chunk_count, .chunk_size; and for each weight
// two F32 tensors, `NAME.in_sum2` (columns, matrices) and `NAME.counts` (1, matrices).
//
// The legacy form (".dat", little endian, no magic):
//
//     i32 entries
//     each: i32 length, name; i32 calls; i32 count, f32[count] = mean square · calls
//     i32 chunks; i32 length, data set's name      (missing in the oldest files)

extension ImportanceMatrix {
    private static let sumSuffix = ".in_sum2"
    private static let countSuffix = ".counts"
    private static let longestName = 4096

    /// Reads a matrix in either form.
    /// - Throws: ``ConversionError`` or ``GGUF/GGUFError``: not a matrix, cut short, sums without counts, values that are
    ///   negative or no numbers.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        let start = file.unsafeBytes.prefix(4)
        if start.elementsEqual("GGUF".utf8) || start.elementsEqual("FUGG".utf8) {
            try self.init(gguf: GGUFFile(file: file))
        } else {
            try self.init(legacy: file)
        }
        self.path = path
    }

    init(gguf file: GGUFFile) throws {
        self.init()
        func refuse(_ text: String) -> ConversionError { ConversionError(.malformed, text, path: file.path) }
        let kind = try file.metadata.stringIfPresent("general.type")
        guard kind == "imatrix" || (kind == nil && file.tensors.contains { $0.name.hasSuffix(Self.sumSuffix) }) else {
            throw refuse(
                "this is no importance matrix but a GGUF file of the kind \((kind ?? "model").debugDescription)")
        }
        datasets = try file.metadata.stringsIfPresent("imatrix.datasets") ?? []
        chunkCount = max(0, try file.metadata.intIfPresent("imatrix.chunk_count") ?? 0)
        chunkSize = max(0, try file.metadata.intIfPresent("imatrix.chunk_size") ?? 0)
        for sums in file.tensors where sums.name.hasSuffix(Self.sumSuffix) {
            let name = String(sums.name.dropLast(Self.sumSuffix.count))
            guard let counts = file.tensor(named: name + Self.countSuffix) else {
                throw refuse("\(sums.name) has no \(name + Self.countSuffix) beside it")
            }
            guard sums.type == .f32, counts.type == .f32 else {
                throw refuse("\(sums.name) and its counts must be F32, not \(sums.type) and \(counts.type)")
            }
            entries[name] = try Self.entry(
                name, sums: file.floats(of: sums), counts: file.floats(of: counts).map { $0.rounded() }, file.path)
        }
        for counts in file.tensors where counts.name.hasSuffix(Self.countSuffix) {
            let name = String(counts.name.dropLast(Self.countSuffix.count))
            guard entries[name] != nil else { throw refuse("\(counts.name) has no \(name + Self.sumSuffix) beside it") }
        }
        guard !entries.isEmpty else { throw refuse("this importance matrix is empty") }
    }

    init(legacy file: MappedFile) throws {
        self.init()
        var reader = LegacyReader(file: file)
        let count = try reader.count("number of entries", of: 12)
        guard count > 0 else { throw reader.refuse("this importance matrix is empty") }
        for _ in 0..<count {
            let name = try reader.text("name", atMost: Self.longestName)
            let calls = try reader.int32("number of calls")
            let values = try reader.floats("values of \(name)")
            guard calls >= 0 else { throw reader.refuse("\(name) has \(calls) calls") }
            guard entries[name] == nil else { throw reader.refuse("\(name) appears twice") }
            // The reference takes sums of no calls as they are.
            entries[name] = try Self.entry(name, sums: values, counts: [calls == 0 ? 1 : Float(calls)], file.path)
        }
        guard !reader.isAtEnd else { return }
        chunkCount = max(0, Int(try reader.int32("number of chunks")))
        guard !reader.isAtEnd else { return }
        let dataset = try reader.text("data set", atMost: Self.longestName)
        if !dataset.isEmpty { datasets = [dataset] }
    }

    private static func entry(_ name: String, sums: [Float], counts: [Float], _ path: String) throws -> Entry {
        func refuse(_ text: String) -> ConversionError {
            ConversionError(.damaged, "importance of \(name): \(text)", path: path, tensor: name)
        }
        if let index = sums.firstIndex(where: { !($0 >= 0 && $0 < .infinity) }) {
            throw refuse("value \(index) is \(sums[index]); sums of squares are finite and not negative")
        }
        if let index = counts.firstIndex(where: { !($0 >= 0 && $0 < .infinity) }) {
            throw refuse("count \(index) is \(counts[index])")
        }
        guard !sums.isEmpty, !counts.isEmpty, sums.count % counts.count == 0 else {
            throw refuse("\(sums.count) values do not divide among \(counts.count) counts")
        }
        return Entry(sums: sums, counts: counts)
    }

    /// Legacy files count calls, GGUF counts tokens: gives a legacy matrix the form of the other, for merging.
    /// - Parameter chunkSize: tokens a call had; 512 unless the maker chose otherwise.
    public func withTokenCounts(chunkSize: Int) -> ImportanceMatrix {
        guard self.chunkSize == 0 else { return self }
        var result = self
        result.chunkSize = chunkSize
        let factor = Float(chunkSize)
        for (name, entry) in entries {
            result.entries[name] = Entry(
                sums: entry.sums.map { $0 * factor }, counts: entry.counts.map { $0 * factor })
        }
        return result
    }

    /// Writes the matrix as GGUF, tensors in order of their names.
    public func write(to path: String) throws {
        var metadata: GGUFMetadata = ["general.type": .text("imatrix")]
        metadata["imatrix.datasets"] = .array(GGUFArray(datasets))
        metadata["imatrix.chunk_count"] = .uint32(UInt32(clamping: chunkCount))
        metadata["imatrix.chunk_size"] = .uint32(UInt32(clamping: chunkSize))
        var writer = try GGUFWriter(metadata: metadata)
        for name in entries.keys.sorted(by: { ExactString($0) < ExactString($1) }) {
            guard let entry = entries[name] else { continue }
            let matrices = entry.counts.count
            try writer.add(
                name: name + Self.sumSuffix, dimensions: [entry.sums.count / matrices, matrices], floats: entry.sums)
            try writer.add(name: name + Self.countSuffix, dimensions: [1, matrices], floats: entry.counts)
        }
        try writer.write(to: path)
    }
}

/// Reads the legacy form with every length compared to what is left.
private struct LegacyReader {
    let file: MappedFile
    private var position = 0

    init(file: MappedFile) { self.file = file }

    var isAtEnd: Bool { position == file.count }

    func refuse(_ text: String) -> ConversionError {
        ConversionError(
            .malformed, "\(text) (byte \(position)); this is no importance matrix, or a damaged one", path: file.path)
    }

    private mutating func take(_ count: Int, _ what: String) throws -> UnsafeRawBufferPointer {
        guard count <= file.count - position else { throw refuse("the \(what) lies beyond the end of the file") }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: file.unsafeBytes[position..<position + count])
    }

    mutating func int32(_ what: String) throws -> Int32 {
        Int32(littleEndian: try take(4, what).loadUnaligned(as: Int32.self))
    }

    /// A count of things that take at least `size` bytes each.
    mutating func count(_ what: String, of size: Int) throws -> Int {
        let value = Int(try int32(what))
        guard value >= 0, value <= (file.count - position) / size else { throw refuse("the \(what) is \(value)") }
        return value
    }

    mutating func text(_ what: String, atMost limit: Int) throws -> String {
        let length = try count("length of the \(what)", of: 1)
        guard length <= limit else { throw refuse("the \(what) has \(length) bytes") }
        guard let text = String(validating: try take(length, what), as: UTF8.self) else {
            throw refuse("the \(what) is not UTF-8")
        }
        return text
    }

    mutating func floats(_ what: String) throws -> [Float] {
        let count = try count("number of \(what)", of: 4)
        let bytes = try take(count * 4, what)
        return (0..<count).map {
            Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))
        }
    }
}
