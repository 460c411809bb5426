import ByteIO
import Crypto
import Fixtures
import Foundation
import GGUF
import Safetensors
import TensorTypes
import Testing

@testable import Conversion

struct FixtureConversionTests {
    private static func hex(_ bytes: UnsafeRawBufferPointer) -> String {
        var hash = SHA256()
        hash.update(bufferPointer: bytes)
        return hash.finalize().map { String(format: "%02x", $0) }.joined()
    }

    /// Type, shape and digest of every tensor, from `make_conversion_fixtures.py`.
    private static func golden(_ name: String) throws -> [String: [String]] {
        let path = Fixtures.url("Golden/conversion.json").path
        let json = try JSONValue.parse(MappedFile(path: path).copyBytes())
        var result: [String: [String]] = [:]
        for member in json[name]?.objectValue?.members ?? [] {
            result[member.key] = member.value.arrayValue?.compactMap(\.stringValue)
        }
        return result
    }

    /// The type in which a fixture is stored, so that its conversion loses nothing.
    private static func lossless(_ source: HuggingFaceSource) -> TensorType {
        source.tensors.first { $0.dimensions.count >= 2 }?.type ?? .f32
    }

    private static func convert(_ path: String, to destination: String, type: TensorType? = nil) throws {
        let source = try openSource(path)
        var options = ConversionOptions()
        options.type = type ?? lossless(source)
        _ = try Converter(folder: source, options: options).write(to: destination)
    }

    @Test(arguments: ModelFolder.fixtureNames)
    func `a folder becomes the tensors that an independent transform gives`(name: String) throws {
        let folder = try ModelFolder()
        let path = folder.path + "/model.gguf"
        try Self.convert(ModelFolder.fixture(name), to: path)
        let file = try GGUFFile(path: path)
        let golden = try Self.golden(name)
        #expect(!golden.isEmpty)
        #expect(Set(file.tensors.map(\.name)) == Set(golden.keys))
        #expect(file.warnings.isEmpty)
        for tensor in file.tensors {
            let expected = golden[tensor.name] ?? []
            // The formula of RoPE's factors may differ in the last digit; ModelFingerprint rounds them too.
            let isFormula = tensor.name == "rope_freqs.weight"
            let found = [tensor.type.name, tensor.shapeText] + (isFormula ? [] : [Self.hex(file.bytes(of: tensor))])
            #expect(found == (isFormula ? Array(expected.prefix(2)) : expected), "\(tensor.name)")
        }
    }

    @Test(arguments: ModelFolder.fixtureNames)
    func `there and back gives the same bytes`(name: String) throws {
        let folder = try ModelFolder()
        let path = folder.path + "/model.gguf"
        try Self.convert(ModelFolder.fixture(name), to: path)
        let file = try GGUFFile(path: path)
        let converter = try Converter(file: file, export: export(file), options: ConversionOptions())
        _ = try converter.write(to: folder.path + "/back")
        let before = try ModelFolder.tensors(of: ModelFolder.fixture(name))
        let after = try ModelFolder.tensors(of: folder.path + "/back")
        #expect(Set(before.keys) == Set(after.keys))
        for (tensor, value) in before { #expect(after[tensor] == value, "\(tensor)") }
    }

    @Test(arguments: ModelFolder.fixtureNames)
    func `there and back keeps the fields that change the computation`(name: String) throws {
        let folder = try ModelFolder()
        let path = folder.path + "/model.gguf"
        try Self.convert(ModelFolder.fixture(name), to: path)
        let file = try GGUFFile(path: path)
        _ = try Converter(file: file, export: export(file), options: ConversionOptions()).write(
            to: folder.path + "/back")
        let before = try openSource(ModelFolder.fixture(name))
        let after = try openSource(folder.path + "/back")
        #expect(after.mapping.name == before.mapping.name)
        let keys = Set(before.metadata.keys + after.metadata.keys).filter { $0.hasPrefix(before.mapping.name + ".") }
        for key in keys { #expect(after.metadata[key] == before.metadata[key], "\(key)") }
    }

    @Test(arguments: ModelFolder.fixtureNames)
    func `folder, shards, file and folder again have one fingerprint`(name: String) throws {
        let folder = try ModelFolder()
        let sharded = try ModelFolder(fixture: name, maximumShardSize: 3000)
        #expect(sharded.names.contains("model.safetensors.index.json"))
        let path = folder.path + "/model.gguf"
        try Self.convert(ModelFolder.fixture(name), to: path)
        let file = try GGUFFile(path: path)
        _ = try Converter(file: file, export: export(file), options: ConversionOptions()).write(
            to: folder.path + "/back")
        let first = try ModelFingerprint.compute(of: openSource(ModelFolder.fixture(name)))
        #expect(try ModelFingerprint.compute(of: openSource(sharded.path)).base == first.base)
        #expect(try ModelFingerprint.compute(of: file).base == first.base)
        #expect(try ModelFingerprint.compute(of: openSource(folder.path + "/back")).base == first.base)
    }

    @Test func `a wider type keeps the fingerprint and a narrower one changes it`() throws {
        let folder = try ModelFolder()
        try Self.convert(ModelFolder.fixture("llama"), to: folder.path + "/wide.gguf", type: .f32)
        try Self.convert(ModelFolder.fixture("llama"), to: folder.path + "/narrow.gguf", type: .q8_0)
        let source = try ModelFingerprint.compute(of: openSource(ModelFolder.fixture("llama")))
        #expect(try ModelFingerprint.compute(of: GGUFFile(path: folder.path + "/wide.gguf")).base == source.base)
        #expect(try ModelFingerprint.compute(of: GGUFFile(path: folder.path + "/narrow.gguf")).base != source.base)
    }

    @Test func `withBytes and withPieces lend the same bytes as a file holds`() throws {
        for name in ModelFolder.fixtureNames {
            let source = try openSource(ModelFolder.fixture(name))
            for tensor in source.tensors {
                var pieces: [UInt8] = []
                try source.withPieces(of: tensor) { pieces += Array($0) }
                let whole = try source.withBytes(of: tensor) { Array($0) }
                #expect(pieces == whole && whole.count == tensor.byteCount, "\(name) \(tensor.name)")
            }
        }
    }

    @Test func `the tiny trained model becomes its GGUF file`() throws {
        let source = try openSource(Fixtures.Models.tinyLlamaFolder.path)
        let file = try GGUFFile(path: Fixtures.Models.tinyLlama.path)
        let ours = try ModelFingerprint.compute(of: source).base
        let theirs = try ModelFingerprint.compute(of: file).base
        #expect(ours.weights == theirs.weights)
        #expect(ours.embedding == theirs.embedding)
        #expect(ours.architecture == theirs.architecture)
    }

    @Test func `experts in one fused tensor are the same model`() throws {
        let fused = try ModelFolder(fixture: "mixtral") { _ in
        } tensors: { tensors in
            for layer in 0..<2 {
                let base = "model.layers.\(layer).block_sparse_moe.experts."
                func take(_ number: Int, _ name: String) -> [UInt8] {
                    tensors.removeValue(forKey: "\(base)\(number).\(name).weight")?.bytes ?? []
                }
                let both = (0..<3).flatMap { take($0, "w1") + take($0, "w3") }
                let down = (0..<3).flatMap { take($0, "w2") }
                tensors[base + "gate_up_proj"] = .init(type: .f32, shape: [3, 24, 16], bytes: both)
                tensors[base + "down_proj"] = .init(type: .f32, shape: [3, 16, 12], bytes: down)
            }
        }
        let plain = try ModelFingerprint.compute(of: openSource(ModelFolder.fixture("mixtral")))
        #expect(try ModelFingerprint.compute(of: openSource(fused.path)).base == plain.base)
    }

    @Test func `names of the language model inside a model that sees are found`() throws {
        let folder = try ModelFolder(fixture: "gemma3") { config in
            var inner = config
            inner["architectures"] = nil
            config = JSONObject([
                ("architectures", JSONValue.array([.string("Gemma3ForConditionalGeneration")])),
                ("text_config", .object(inner)),
            ])
        } tensors: { tensors in
            tensors = Dictionary(
                uniqueKeysWithValues: tensors.map { ("language_model." + $0.key, $0.value) })
            tensors["vision_tower.patch.weight"] = .init(type: .f32, shape: [1], bytes: [0, 0, 0, 0])
        }
        let source = try openSource(folder.path)
        let plain = try ModelFingerprint.compute(of: openSource(ModelFolder.fixture("gemma3")))
        #expect(try ModelFingerprint.compute(of: source).base == plain.base)
        #expect(source.warnings.contains { $0.contains("1 tensors are no part of the language model") })
    }
}
