import ByteIO
import Fixtures
import Foundation
import GGUF
import Safetensors
import TensorTypes
import Testing

@testable import Conversion

struct ConverterTests {
    private static func converter(
        _ name: String = "llama", _ change: (inout ConversionOptions) -> Void = { _ in }
    ) throws -> Converter {
        var options = ConversionOptions()
        change(&options)
        return try Converter(folder: openSource(ModelFolder.fixture(name)), options: options)
    }

    @Test func `types follow the rules and the plan says what is written`() throws {
        let folder = try ModelFolder()
        let converter = try Self.converter("qwen3") { $0.type = .f16 }
        let result = try converter.write(
            to: folder.path + "/m.gguf", rootFingerprint: "sha256:" + String(repeating: "0", count: 64))
        let file = try GGUFFile(path: result.paths[0])
        #expect(converter.plan.tensors.map(\.name) == file.tensors.map(\.name))
        #expect(converter.plan.tensors.map(\.type) == file.tensors.map(\.type))
        #expect(converter.plan.tensors.map(\.bytes) == file.tensors.map(\.byteCount))
        #expect(result.bytes == file.file.count)
        #expect(try file.metadata.int("general.file_type") == 1)
        #expect(try file.metadata.string("incipit.recipe") == #"{"operation":"convert","to":"gguf","type":"F16"}"#)
        #expect(try file.metadata.string("incipit.source.fingerprint").hasPrefix("sha256:"))
        for tensor in file.tensors {
            #expect(tensor.type == (tensor.dimensions.count < 2 ? .f32 : .f16), "\(tensor.name)")
        }
    }

    @Test func `auto keeps BF16 and makes F16 of F32`() throws {
        let narrow = try Self.converter("llama").plan.tensors.first { $0.dimensions.count > 1 }
        let wide = try Self.converter("gpt2").plan.tensors.first { $0.dimensions.count > 1 }
        #expect(narrow?.type == .bf16)
        #expect(wide?.type == .f16)
    }

    @Test func `the number of threads changes nothing`() throws {
        let folder = try ModelFolder()
        var results: Set<[UInt8]> = []
        for threads in [1, 2, 5] {
            let path = folder.path + "/\(threads).gguf"
            _ = try Self.converter("mixtral") {
                $0.threadCount = threads
                $0.type = .bf16
            }.write(to: path)
            results.insert(try MappedFile(path: path).copyBytes())
        }
        #expect(results.count == 1)
    }

    @Test func `a file is split and read as one`() throws {
        let folder = try ModelFolder()
        let whole = try Self.converter("mixtral").write(to: folder.path + "/whole.gguf").paths[0]
        let parts = try Self.converter("mixtral") { $0.maximumPartSize = 8000 }.write(to: folder.path + "/split.gguf")
            .paths
        #expect(parts.count > 2)
        #expect(parts[0].hasSuffix("/split-00001-of-0000\(parts.count).gguf"))
        let one = try GGUFFile(path: whole)
        let many = try GGUFFile(path: parts[0])
        #expect(try ModelFingerprint.compute(of: one).base == ModelFingerprint.compute(of: many).base)
    }

    @Test func `a folder is written in shards, with an index`() throws {
        let folder = try ModelFolder()
        let path = folder.path + "/m.gguf"
        _ = try Self.converter("qwen2").write(to: path)
        let file = try GGUFFile(path: path)
        var options = ConversionOptions()
        options.maximumShardSize = 2000
        let converter = try Converter(file: file, export: export(file), options: options)
        let result = try converter.write(to: folder.path + "/back")
        #expect(result.paths.contains(folder.path + "/back/model.safetensors.index.json"))
        #expect(
            try ModelFolder.tensors(of: folder.path + "/back") == ModelFolder.tensors(of: ModelFolder.fixture("qwen2")))
    }

    @Test func `what exists is not overwritten unless that is asked for`() throws {
        let folder = try ModelFolder()
        let path = folder.path + "/m.gguf"
        try AtomicFile.write([1, 2, 3], to: path)
        #expect(failure { _ = try Self.converter().write(to: path) }?.contains("--force") ?? false)
        #expect(try MappedFile(path: path).copyBytes() == [1, 2, 3])
        _ = try Self.converter().write(to: path, existing: .replace)
        let file = try GGUFFile(path: path)
        #expect(!file.tensors.isEmpty)
        let back = try Converter(file: file, export: export(file), options: .init())
        let other = folder.path + "/folder"
        try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
        try AtomicFile.write([1], to: other + "/notes.txt")
        try AtomicFile.write([1], to: other + "/model-00001-of-00002.safetensors")
        #expect(failure { _ = try back.write(to: other) }?.contains("not empty") ?? false)
        _ = try back.write(to: other, existing: .replace)
        let names = try FileManager.default.contentsOfDirectory(atPath: other).sorted()
        #expect(names.contains("notes.txt") && names.contains("model.safetensors"))
        #expect(!names.contains("model-00001-of-00002.safetensors"))
    }

    @Test func `the source is never overwritten and places of the wrong kind are refused`() throws {
        let folder = try ModelFolder()
        let path = folder.path + "/m.gguf"
        _ = try Self.converter().write(to: path)
        let file = try GGUFFile(path: path)
        let back = try Converter(file: file, export: export(file), options: .init())
        #expect(failure { _ = try back.write(to: path, existing: .replace) }?.contains("overwrite the source") ?? false)
        let copy = try ModelFolder(fixture: "llama")
        let own = try Converter(folder: openSource(copy.path), options: .init())
        #expect(
            failure { _ = try own.write(to: copy.path, existing: .replace) }?.contains("overwrite the source") ?? false)
        let weights = copy.path + "/model.safetensors"
        #expect(
            failure { _ = try own.write(to: weights, existing: .replace) }?.contains("overwrite the source") ?? false)
        #expect(
            failure { _ = try own.write(to: folder.path, existing: .replace) }?.contains("this is a folder") ?? false)
        #expect(failure { _ = try back.write(to: copy.path + "/config.json") }?.contains("this is a file") ?? false)
        #expect(failure { _ = try own.write(to: folder.path + "/no/m.gguf") }?.contains("does not exist") ?? false)
    }

    @Test func `stopping leaves nothing behind`() throws {
        let folder = try ModelFolder()
        #expect(throws: ByteIOError.self) {
            _ = try Self.converter("mixtral").write(to: folder.path + "/m.gguf") { _ in false }
        }
        #expect(folder.names.isEmpty)
        let file = try GGUFFile(path: Fixtures.Models.tinyLlama.path)
        let back = try Converter(file: file, export: export(file), options: .init())
        #expect(throws: ByteIOError.self) { _ = try back.write(to: folder.path + "/back") { _ in false } }
        #expect(folder.names.isEmpty)
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity])
    func `values that are not finite are refused, and nothing is left behind`(value: Float) throws {
        let name = "transformer.h.1.mlp.c_fc.weight"
        let model = try ModelFolder(fixture: "gpt2") { _ in
        } tensors: { tensors in
            tensors[name]?.bytes.replaceSubrange(400..<404, with: withUnsafeBytes(of: value.bitPattern) { Array($0) })
        }
        let folder = try ModelFolder()
        for type in [TensorType.f32, .f16, .q8_0] {
            var options = ConversionOptions()
            options.type = type
            let converter = try Converter(folder: openSource(model.path), options: options)
            #expect(failure { _ = try converter.write(to: folder.path + "/m.gguf") }?.contains(name) ?? false)
            #expect(folder.names.isEmpty)
        }
        var options = ConversionOptions()
        options.type = .f32
        options.checksValues = false
        _ = try Converter(folder: openSource(model.path), options: options).write(to: folder.path + "/m.gguf")
        #expect(folder.names == ["m.gguf"])
    }

    @Test func `values beyond F16 are reported`() throws {
        let model = try ModelFolder(fixture: "llama") { _ in
        } tensors: { tensors in
            // 131072 as BF16.
            tensors["model.embed_tokens.weight"]?.bytes.replaceSubrange(10..<12, with: [0x00, 0x48])
        }
        let folder = try ModelFolder()
        var options = ConversionOptions()
        options.type = .f16
        let result = try Converter(folder: openSource(model.path), options: options).write(to: folder.path + "/m.gguf")
        #expect(result.warnings.contains { $0.contains("token_embd.weight") })
    }

    @Test func `a quantized file becomes floats and says what is lost`() throws {
        let file = try GGUFFile(path: Fixtures.Models.tinyLlamaQ4_1.path)
        let folder = try ModelFolder()
        let converter = try Converter(file: file, export: export(file), options: .init())
        #expect(converter.plan.warnings.contains { $0.contains("quantized (Q4_1, Q8_0)") })
        _ = try converter.write(to: folder.path + "/back")
        let source = try openSource(folder.path + "/back")
        let name = "blk.0.attn_q.weight"
        let original = try file.floats(of: file.requireTensor(named: name))
        let tensor = try #require(source.tensors.first { $0.name == name })
        let found = try source.withBytes(of: tensor) { try tensor.type.decoded($0) }
        #expect(found == original.map { Half.float(Half.bits($0)) })
    }

    @Test func `options of the other direction are refused`() throws {
        #expect(failure { _ = try Self.converter { $0.dataType = .f16 } }?.contains("--dtype") ?? false)
        #expect(failure { _ = try Self.converter { $0.type = .q4_K } }?.contains("incipit quantize") ?? false)
        let file = try GGUFFile(path: Fixtures.Models.tinyLlama.path)
        var options = ConversionOptions()
        options.type = .f16
        #expect(
            failure { _ = try Converter(file: file, export: export(file), options: options) }?.contains("--type")
                ?? false)
        #expect(failure { _ = try Converter(source: "/no/such/model") }?.contains("no such file or folder") ?? false)
        let weights = ModelFolder.fixture("llama") + "/model.safetensors"
        #expect(failure { _ = try Converter(source: weights) }?.contains("give the folder") ?? false)
    }

    @Test func `memory does not grow with the model`() throws {
        let small = try Self.converter("llama").plan.peakMemory
        #expect(small > 0 && small < 64 << 20)
    }
}
