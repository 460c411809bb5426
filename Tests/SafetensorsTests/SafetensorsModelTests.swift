import ByteIO
import Foundation
import Testing

@testable import Safetensors

/// Makes a folder of its own and removes it at the end.
final class TemporaryFolder {
    let path = NSTemporaryDirectory() + "/incipit-tests-" + UUID().uuidString
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}

struct SafetensorsModelTests {
    /// Six tensors of 16 bytes in three files of two.
    private static func writer(limit: Int = 32) throws -> SafetensorsShardedWriter {
        var writer = SafetensorsShardedWriter(metadata: [("format", "pt")], maximumShardSize: limit)
        for number in 0..<6 {
            try writer.add(name: "t\(number)", shape: [2, 2], floats: (0..<4).map { Float($0 + number) })
        }
        return writer
    }

    private static func file(_ tensors: [String]) throws -> [UInt8] {
        var writer = SafetensorsWriter()
        for name in tensors { try writer.add(name: name, shape: [1], floats: [1]) }
        return try writer.serialized()
    }

    @Test("a model written in shards is read back as one, through the folder and through the index")
    func roundTrip() throws {
        let folder = try TemporaryFolder()
        let writer = try Self.writer()
        #expect(writer.plan.map(\.tensorCount) == [2, 2, 2])
        try writer.write(to: folder.path, existing: .refuse)
        #expect(
            folder.names == [
                "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                "model-00003-of-00003.safetensors", "model.safetensors.index.json",
            ])
        for path in [folder.path, folder.path + "/", folder.path + "/model.safetensors.index.json"] {
            let model = try SafetensorsModel(path: path)
            #expect(model.files.count == 3)
            #expect(model.warnings == [])
            #expect(model.byteCount == 96)
            #expect(model.tensors.map(\.name) == ["t0", "t1", "t2", "t3", "t4", "t5"])
            #expect(model.tensors.map(\.part) == [0, 0, 1, 1, 2, 2])
            #expect(try model.floats(of: model.requireTensor(named: "t4")) == [4, 5, 6, 7])
            #expect(model.bytes(of: model.tensors[3]).count == 16)
        }
        #expect(throws: ByteIOError.self) { try writer.write(to: folder.path, existing: .refuse) }
    }

    @Test("the index has the form Hugging Face writes")
    func indexText() throws {
        let text = String(decoding: try Self.writer(limit: 48).index.jsonBytes(), as: UTF8.self)
        #expect(
            text == """
                {
                  "metadata": {
                    "total_size": 96
                  },
                  "weight_map": {
                    "t0": "model-00001-of-00002.safetensors",
                    "t1": "model-00001-of-00002.safetensors",
                    "t2": "model-00001-of-00002.safetensors",
                    "t3": "model-00002-of-00002.safetensors",
                    "t4": "model-00002-of-00002.safetensors",
                    "t5": "model-00002-of-00002.safetensors"
                  }
                }

                """)
    }

    @Test("a model that fits into one file has no index, and a tensor above the limit has a file of its own")
    func shardSizes() throws {
        let folder = try TemporaryFolder()
        try Self.writer(limit: 96).write(to: folder.path)
        #expect(folder.names == ["model.safetensors"])
        #expect(try SafetensorsModel(path: folder.path).tensors.count == 6)
        #expect(try SafetensorsModel(path: folder.path + "/model.safetensors").tensors.count == 6)
        #expect(try Self.writer(limit: 1).plan.map(\.tensorCount) == [1, 1, 1, 1, 1, 1])
    }

    @Test("without an index all files model*.safetensors are read, but not others")
    func noIndex() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write(Self.file(["b"]), to: folder.path + "/model-b.safetensors")
        try AtomicFile.write(Self.file(["a"]), to: folder.path + "/model-a.safetensors")
        try AtomicFile.write(Self.file(["a"]), to: folder.path + "/consolidated.safetensors")
        let model = try SafetensorsModel(path: folder.path)
        #expect(model.tensors.map(\.name) == ["a", "b"])
        #expect(model.index == nil)
    }

    struct Damage: Sendable, CustomStringConvertible {
        let description: String
        let code: SafetensorsError.Code
        let words: [String]
        let damage: @Sendable (_ folder: String) throws -> Void

        init(
            _ description: String, _ code: SafetensorsError.Code, _ words: String...,
            damage: @escaping @Sendable (String) throws -> Void
        ) {
            self.description = description
            self.code = code
            self.words = words
            self.damage = damage
        }
    }

    private static func index(_ folder: String, _ map: String) throws {
        try AtomicFile.write(Array("{\"weight_map\":\(map)}".utf8), to: folder + "/model.safetensors.index.json")
    }

    private static func hostile(_ name: String) -> Damage {
        Damage("the file name \(name)", .invalidIndex, "plain names") { folder in
            let quoted = name.replacingOccurrences(of: "\\", with: "\\\\")
            try index(folder, "{\"t0\":\"\(quoted)\"}")
        }
    }

    static let damages: [Damage] = [
        hostile("../model.safetensors"), hostile("/etc/x.safetensors"), hostile("a/b.safetensors"),
        hostile("..\\b.safetensors"), hostile(".hidden.safetensors"), hostile("model.bin"), hostile(""),
        Damage("an index that is no JSON", .invalidIndex, "index") { folder in
            try AtomicFile.write(Array("{".utf8), to: folder + "/model.safetensors.index.json")
        },
        Damage("an index without a map", .invalidIndex, "weight_map") { try index($0, "7") },
        Damage("a name that is no string", .invalidIndex, "t0", "integer") { try index($0, "{\"t0\":1}") },
        Damage("one tensor twice in the index", .invalidIndex, "twice") { folder in
            try index(
                folder, "{\"t0\":\"model-00001-of-00003.safetensors\",\"t0\":\"model-00002-of-00003.safetensors\"}")
        },
        Damage("a file that is not there", .missingFile, "model-00002-of-00003.safetensors", "incomplete") { folder in
            try FileManager.default.removeItem(atPath: folder + "/model-00002-of-00003.safetensors")
        },
        Damage("a number missing without an index", .missingFile, "number 2", "incomplete") { folder in
            try FileManager.default.removeItem(atPath: folder + "/model.safetensors.index.json")
            try FileManager.default.removeItem(atPath: folder + "/model-00002-of-00003.safetensors")
        },
        Damage("tensors missing and tensors extra", .indexMismatch, "\"t2\", \"t3\"", "\"x\", \"y\"") { folder in
            try AtomicFile.write(file(["x", "y"]), to: folder + "/model-00002-of-00003.safetensors")
        },
        Damage("a tensor in another file than the index says", .indexMismatch, "\"t0\"") { folder in
            try AtomicFile.write(file(["t2", "t3", "t0"]), to: folder + "/model-00002-of-00003.safetensors")
            try AtomicFile.write(file(["t1"]), to: folder + "/model-00001-of-00003.safetensors")
        },
        Damage("one tensor in two files", .duplicateName, "\"t0\"", "model-00001-of-00003") { folder in
            try AtomicFile.write(file(["t0", "t2", "t3"]), to: folder + "/model-00002-of-00003.safetensors")
        },
        Damage("no safetensors at all", .missingFile, "pytorch_model.bin") { folder in
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
                try FileManager.default.removeItem(atPath: folder + "/" + name)
            }
            try AtomicFile.write([1], to: folder + "/pytorch_model.bin")
        },
    ]

    @Test("a folder that is not what its index says gets one error that names it", arguments: damages)
    func refuses(damage: Damage) throws {
        let folder = try TemporaryFolder()
        try Self.writer().write(to: folder.path)
        try damage.damage(folder.path)
        #expect { try SafetensorsModel(path: folder.path) } throws: { error in
            (error as? SafetensorsError)?.code == damage.code && damage.words.allSatisfy { "\(error)".contains($0) }
        }
    }

    @Test("a total size that does not fit is only a warning")
    func totalSize() throws {
        let folder = try TemporaryFolder()
        let writer = try Self.writer()
        try writer.write(to: folder.path)
        let wrong = SafetensorsIndex(entries: writer.index.entries, totalSize: 5)
        try AtomicFile.write(wrong.jsonBytes(), to: folder.path + "/model.safetensors.index.json")
        #expect(try SafetensorsModel(path: folder.path).warnings.count == 1)
    }

    @Test("a header above the cap is refused by both sides, with the cap named")
    func headerCap() throws {
        #expect {
            try SafetensorsFile(bytes: withUnsafeBytes(of: UInt64(100_000_001).littleEndian) { Array($0) })
        } throws: { "\($0)".contains("100000000") && "\($0)".contains("100 MB") }
    }
}
