import ByteIO
import Fixtures
import Foundation
import GGUF
import Safetensors
import TensorTypes

@testable import Conversion

/// A Hugging Face folder in a temporary place, made from a fixture or from nothing, and removed with the object.
final class ModelFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "incipit-conversion-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    static let fixtureNames = [
        "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "gemma2", "gemma3", "phi3", "granite",
        "smollm3", "olmo2", "stablelm", "gpt2", "gptneox",
    ]

    static func fixture(_ name: String) -> String { Fixtures.url("Conversion/\(name)").path }

    /// A copy of a fixture with another configuration or other tensors.
    /// - Parameters:
    ///   - change: edits the configuration.
    ///   - tensors: edits the tensors; a nil value removes one.
    convenience init(
        fixture name: String, config change: (inout JSONObject) -> Void = { _ in },
        tensors edit: (inout [String: Tensor]) -> Void = { _ in }, maximumShardSize: Int = .max
    ) throws {
        try self.init()
        let source = Self.fixture(name)
        for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            try FileManager.default.copyItem(atPath: "\(source)/\(file)", toPath: "\(path)/\(file)")
        }
        let json = try JSONValue.parse(MappedFile(path: source + "/config.json").copyBytes())
        var config = json.objectValue ?? JSONObject()
        change(&config)
        try write(config)
        var tensors = try Self.tensors(of: source)
        edit(&tensors)
        try write(tensors, maximumShardSize: maximumShardSize)
    }

    struct Tensor: Equatable {
        var type: SafetensorsType
        var shape: [Int]
        var bytes: [UInt8]
    }

    static func tensors(of folder: String) throws -> [String: Tensor] {
        let model = try SafetensorsModel(path: folder)
        var result: [String: Tensor] = [:]
        for tensor in model.tensors {
            result[tensor.name] = Tensor(
                type: tensor.type, shape: tensor.dimensions, bytes: Array(model.bytes(of: tensor)))
        }
        return result
    }

    func write(_ config: JSONObject) throws {
        try AtomicFile.write(JSONValue.object(config).prettyBytes(), to: path + "/config.json")
    }

    func write(_ tensors: [String: Tensor], maximumShardSize: Int = .max) throws {
        var writer = SafetensorsShardedWriter(metadata: [("format", "pt")], maximumShardSize: maximumShardSize)
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            try writer.add(name: name, type: tensor.type, shape: tensor.shape) { try $0.write(tensor.bytes) }
        }
        try writer.write(to: path)
    }

    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}

/// Opens a folder without caring for its tokenizer: `rows` tokens named by their numbers.
func openSource(_ path: String) throws -> HuggingFaceSource {
    try HuggingFaceSource(folder: path) { _, _, rows in plainTokenizer(rows) }
}

func plainTokenizer(_ rows: Int) -> ImportedTokenizer {
    ImportedTokenizer(
        pairs: [
            ("tokenizer.ggml.model", .text("gpt2")),
            ("tokenizer.ggml.tokens", .array(GGUFArray((0..<rows).map { "t\($0)" }))),
        ], tokenCount: rows, warnings: [])
}

/// A GGUF file as a folder, without tokenizer files.
func export(_ file: GGUFFile, dataType: TensorType? = nil) throws -> HuggingFaceExport {
    try HuggingFaceExport(file, dataType: dataType) { _ in ExportedTokenizer(files: [], warnings: []) }
}

/// What is thrown, as text; nil when nothing is.
func failure(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch { return "\(error)" }
}
