import ByteIO
import Foundation
import Testing

@testable import GGUF

struct GGUFSplitTests {
    /// Ten tensors of 256 bytes, metadata with a small vocabulary.
    static func model(alignment: Int? = nil) throws -> GGUFWriter {
        var writer = try GGUFWriter(
            metadata: [
                "general.architecture": .text("llama"), "general.name": .text("Otter"),
                "tokenizer.ggml.tokens": .array(GGUFArray((0..<40).map { "token\($0)" })),
            ], alignment: alignment)
        for number in 0..<10 {
            try writer.add(
                name: "blk.\(number).weight", dimensions: [16, 4], floats: (0..<64).map { Float($0 * (number + 1)) })
        }
        return writer
    }

    private static func limits(_ tensors: Int? = nil, bytes: Int? = nil, first: Bool = false) -> GGUFWriter.PartLimits {
        GGUFWriter.PartLimits(tensorCount: tensors, byteCount: bytes, firstPartWithoutTensors: first)
    }

    @Test(
        "a model that is split and merged is the same bytes again",
        arguments: [limits(3), limits(1), limits(bytes: 1500), limits(4, bytes: 1000, first: true), limits(9)],
        [nil, 8, 64] as [Int?])
    func roundTrip(limits: GGUFWriter.PartLimits, alignment: Int?) throws {
        let folder = try TemporaryFolder()
        let whole = try Self.model(alignment: alignment)
        let plan = try whole.writeParts(prefix: folder.path + "/m", limits: limits)
        #expect(plan.count > 1)
        #expect(plan.map { $0.tensorCount }.reduce(0, +) == 10)
        for part in plan {
            #expect(try MappedFile(path: part.path).count == part.byteCount)
            if let limit = limits.byteCount, part.tensorCount > 1 { #expect(part.byteCount <= limit) }
            if let limit = limits.tensorCount { #expect(part.tensorCount <= limit) }
        }
        if limits.firstPartWithoutTensors { #expect(plan[0].tensorCount == 0) }
        let file = try GGUFFile(path: plan[0].path)
        #expect(file.parts.count == plan.count)
        #expect(file.warnings == [])
        #expect(try file.floats(of: file.requireTensor(named: "blk.9.weight"))[3] == 30)
        try GGUFWriter(copying: file).write(to: folder.path + "/merged.gguf", existing: .refuse)
        #expect(try MappedFile(path: folder.path + "/merged.gguf").copyBytes() == whole.serialized())
        #expect(folder.names.count == plan.count + 1)
    }

    @Test("the parts carry the reference's keys with its types; only the first has the rest")
    func keys() throws {
        let folder = try TemporaryFolder()
        let plan = try Self.model().writeParts(prefix: folder.path + "/m", limits: Self.limits(4))
        #expect(folder.names == ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"])
        let first = try GGUFFile(path: plan[0].path, split: .partAlone)
        #expect(first.metadata.keys.suffix(3) == ["split.no", "split.count", "split.tensors.count"])
        #expect(first.metadata["general.name"] == .text("Otter"))
        let last = try GGUFFile(path: plan[2].path, split: .partAlone)
        #expect(last.metadata.keys == ["split.no", "split.count", "split.tensors.count"])
        #expect(last.metadata["split.no"] == .uint16(2))
        #expect(last.metadata["split.count"] == .uint16(3))
        #expect(last.metadata["split.tensors.count"] == .int32(10))
        #expect(last.tensors.map(\.name) == ["blk.8.weight", "blk.9.weight"])
        #expect(GGUFKind.of(last).name == "split-part")
    }

    @Test("a model that fits into one part stays whole, without keys")
    func onePart() throws {
        let folder = try TemporaryFolder()
        let plan = try Self.model().writeParts(prefix: folder.path + "/m", limits: Self.limits(10))
        #expect(plan.map(\.path) == [folder.path + "/m.gguf"])
        #expect(try MappedFile(path: plan[0].path).copyBytes() == Self.model().serialized())
    }

    @Test("nothing is written when a part exists, and nothing remains when the work is stopped")
    func protects() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write([7], to: folder.path + "/m-00003-of-00003.gguf")
        #expect { try Self.model().writeParts(prefix: folder.path + "/m", limits: Self.limits(4)) } throws: { error in
            (error as? ByteIOError)?.code == .alreadyExists
        }
        #expect(folder.names == ["m-00003-of-00003.gguf"])
        #expect(try MappedFile(path: folder.path + "/m-00003-of-00003.gguf").copyBytes() == [7])
        #expect {
            try Self.model().writeParts(prefix: folder.path + "/n", limits: Self.limits(4)) { _ in false }
        } throws: { ($0 as? ByteIOError)?.code == .cancelled }
        #expect(folder.names == ["m-00003-of-00003.gguf"])
    }

    // MARK: - What cannot be read

    struct Damage: Sendable, CustomStringConvertible {
        let description: String
        let words: [String]
        let damage: @Sendable (_ folder: String) throws -> String

        init(_ description: String, _ words: String..., damage: @escaping @Sendable (String) throws -> String) {
            self.description = description
            self.words = words
            self.damage = damage
        }
    }

    private static func rename(_ from: String, _ to: String) throws {
        try? FileManager.default.removeItem(atPath: to)
        try FileManager.default.moveItem(atPath: from, toPath: to)
    }

    private static let first = "/m-00001-of-00003.gguf"
    private static let second = "/m-00002-of-00003.gguf"
    private static let third = "/m-00003-of-00003.gguf"

    /// Rewrites one part with other keys and tensors.
    private static func replace(
        _ path: String, number: UInt16, count: UInt16 = 3, total: Int32 = 10, tensors: [String]
    ) throws {
        var writer = try GGUFWriter(
            metadata: [
                "split.no": .uint16(number), "split.count": .uint16(count), "split.tensors.count": .int32(total),
            ])
        for name in tensors { try writer.add(name: name, dimensions: [4], floats: [1, 2, 3, 4]) }
        try writer.write(to: path)
    }

    static let damages: [Damage] = [
        Damage("opening another part than the first", "part 2 of 3", "m-00001-of-00003.gguf") { $0 + second },
        Damage("a missing part", "1 of 3 parts are missing", "m-00003-of-00003.gguf") { folder in
            try FileManager.default.removeItem(atPath: folder + third)
            return folder + first
        },
        Damage("a renamed first part", "-00001-of-00003.gguf", "rename it back") { folder in
            try rename(folder + first, folder + "/model.gguf")
            return folder + "/model.gguf"
        },
        Damage("a part copied over another", "split.no is 2", "part 2") { folder in
            try FileManager.default.removeItem(atPath: folder + second)
            try FileManager.default.copyItem(atPath: folder + third, toPath: folder + second)
            return folder + first
        },
        Damage("a part of a model with another count", "4 parts", "different models") { folder in
            try replace(folder + second, number: 1, count: 4, tensors: ["x"])
            return folder + first
        },
        Damage("a total that does not fit", "8 tensors together", "split.tensors.count is 10") { folder in
            try replace(folder + second, number: 1, tensors: ["x", "y"])
            return folder + first
        },
        Damage("a tensor in two parts", "\"blk.0.weight\"", "m-00001-of-00003.gguf") { folder in
            try replace(folder + second, number: 1, tensors: ["blk.0.weight", "x", "y", "z"])
            return folder + first
        },
        Damage("a whole model in place of a part", "whole model") { folder in
            try GGUFSplitTests.model().write(to: folder + third)
            return folder + first
        },
        Damage("parts joined by cat", "joined byte by byte", "incipit merge") { folder in
            let bytes = try [first, second, third].flatMap { try MappedFile(path: folder + $0).copyBytes() }
            try AtomicFile.write(bytes, to: folder + "/all.gguf")
            return folder + "/all.gguf"
        },
        Damage("the first of two raw pieces", "cat", "x.gguf.part1of2", "x.gguf.part2of2 > ") { folder in
            let bytes = try GGUFSplitTests.model().serialized().prefix(2000)
            try AtomicFile.write(bytes, to: folder + "/x.gguf.part1of2")
            return folder + "/x.gguf.part1of2"
        },
        Damage("the second raw piece", "cat", "x.gguf-split-*") { folder in
            try AtomicFile.write([UInt8](repeating: 5, count: 100), to: folder + "/x.gguf-split-b")
            return folder + "/x.gguf-split-b"
        },
    ]

    @Test("parts that do not belong together get one error that says what to do", arguments: damages)
    func refuses(damage: Damage) throws {
        let folder = try TemporaryFolder()
        try Self.model().writeParts(prefix: folder.path + "/m", limits: Self.limits(4))
        let path = try damage.damage(folder.path)
        #expect { try GGUFFile(path: path) } throws: { error in
            error is GGUFError && damage.words.allSatisfy { "\(error)".contains($0) }
        }
    }
}
