import ByteIO
import Foundation

/// The index of a model in several safetensors files: which tensor lies in which file.
///
///     model.safetensors.index.json
///     {
///       "metadata": { "total_size": 9877989376 },
///       "weight_map": { "lm_head.weight": "model-00002-of-00002.safetensors", … }
///     }
///
/// The file names come from outside, so only plain names of files beside the index are accepted: no folders, no `..`,
/// nothing hidden. (A symbolic link of that name is followed; the Hugging Face cache is made of them.)
public struct SafetensorsIndex: Sendable, Equatable {
    /// Tensor name and file name, in the index's order.
    public struct Entry: Sendable, Equatable {
        public let tensor: String
        public let file: String

        public init(tensor: String, file: String) {
            self.tensor = tensor
            self.file = file
        }
    }

    /// The name by which a folder's index is found.
    public static let fileName = "model.safetensors.index.json"

    public let entries: [Entry]
    /// Bytes of all tensors together, as the writer noted it. Often wrong in published models, so never relied on.
    public let totalSize: Int?

    public init(entries: [Entry], totalSize: Int?) {
        self.entries = entries
        self.totalSize = totalSize
    }

    /// Reads and checks the index at `path`.
    /// - Throws: ``SafetensorsError`` of code `invalidIndex`, or `ByteIOError` when it cannot be read.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        try self.init(json: file.unsafeBytes, path: path)
        withExtendedLifetime(file) {}
    }

    init(json: UnsafeRawBufferPointer, path: String) throws(SafetensorsError) {
        func invalid(_ reason: String, at offset: Int? = nil) -> SafetensorsError {
            SafetensorsError(.invalidIndex, "the index \(reason)", path: path, offset: offset)
        }
        let root: JSONValue
        do {
            root = try JSONValue.parse(json)
        } catch {
            throw invalid("is refused: \(error.message)", at: error.offset)
        }
        guard let map = root["weight_map"]?.objectValue else {
            throw invalid("has no weight_map that is an object of tensor and file names")
        }
        var entries: [Entry] = []
        entries.reserveCapacity(map.count)
        for member in map.members {
            guard let name = member.value.stringValue else {
                throw invalid(
                    "has \(member.value.kind) for tensor \(member.key.quotedForMessage); a file name is expected")
            }
            guard Self.isPlain(name) else {
                throw invalid(
                    "names the file \(name.quotedForMessage) for tensor \(member.key.quotedForMessage); "
                        + "only plain names ending in .safetensors, of files beside the index, are accepted")
            }
            entries.append(Entry(tensor: member.key, file: name))
        }
        self.entries = entries
        totalSize = root["metadata"]?["total_size"]?.doubleValue.flatMap { Int(exactly: $0.rounded()) }
    }

    /// The files that are named, each once, in byte order of their names.
    public var files: [String] { Set(entries.map { ExactString($0.file) }).sorted().map(\.text) }

    /// The index as Hugging Face writes it: two blanks of indent, tensors sorted by name, a final newline.
    public func jsonBytes() -> [UInt8] {
        let sorted = entries.sorted { ExactString($0.tensor) < ExactString($1.tensor) }
        let json: JSONValue = [
            "metadata": totalSize.map { ["total_size": JSONValue($0)] } ?? [:],
            "weight_map": .object(JSONObject(sorted.map { ($0.tensor, .string($0.file)) })),
        ]
        return json.prettyBytes() + [0x0A]
    }

    /// Whether this is a name without any way out of its folder.
    static func isPlain(_ name: String) -> Bool {
        name.hasSuffix(".safetensors") && !name.hasPrefix(".")
            && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") || $0 < 0x20 }
    }
}
