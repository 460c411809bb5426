import Foundation
import Testing

@testable import ByteIO
@testable import GGUF

struct GGUFMetadataEditorTests {
    private func model(in folder: TemporaryFolder, alignment: Int? = nil) throws -> String {
        let path = folder.path + "/m.gguf"
        try GGUFSplitTests.model(alignment: alignment).write(to: path)
        return path
    }

    private func tensorBytes(_ path: String) throws -> [[UInt8]] {
        let file = try GGUFFile(path: path)
        return file.tensors.map { Array(file.bytes(of: $0)) }
    }

    @Test("a value of the same length is changed in place: no byte outside it, and the same inode")
    func inPlace() throws {
        let folder = try TemporaryFolder()
        let path = try model(in: folder)
        let before = try MappedFile(path: path)
        let old = before.copyBytes()
        var editor = try GGUFMetadataEditor(path: path)
        try editor.set("general.name", to: .text("Adder"))
        #expect(try editor.plan() == .inPlace(bytes: 5) || editor.plan() == .inPlace(bytes: 3))
        try editor.commit()
        let after = try MappedFile(path: path)
        #expect(after.identity?.inode == before.identity?.inode)
        #expect(zip(old, after.copyBytes()).filter { $0 != $1 }.count <= 5)
        let file = try GGUFFile(path: path)
        #expect(try file.metadata.string("general.name") == "Adder")
        #expect(file.warnings == [])
        #expect(folder.names == ["m.gguf"])
    }

    @Test("a change that does not fit rewrites the file, and leaves tensors, mode and link as they were")
    func rewrites() throws {
        let folder = try TemporaryFolder()
        let path = try model(in: folder, alignment: 64)
        chmod(path, 0o640)
        let link = folder.path + "/link.gguf"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        let tensors = try tensorBytes(path)
        var editor = try GGUFMetadataEditor(path: link)
        let long = String(repeating: "otter ", count: 300)
        try editor.set("general.name", to: .text(long))
        try editor.set("general.tags", to: .array(GGUFArray(["a", "b"])))
        try editor.delete("tokenizer.ggml.tokens")
        try editor.rename("general.tags", to: "general.labels")
        guard case .rewrite = try editor.commit() else {
            Issue.record("the file was not rewritten")
            return
        }
        let file = try GGUFFile(path: path)
        #expect(file.metadata.keys == ["general.architecture", "general.name", "general.alignment", "general.labels"])
        #expect(try file.metadata.string("general.name") == long)
        #expect(file.alignment == 64)
        #expect(file.warnings == [])
        #expect(try tensorBytes(path) == tensors)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
        #expect(mode?.intValue == 0o640)
        #expect(folder.names == ["link.gguf", "m.gguf"])
    }

    @Test("the bytes after an edit and its reverse are the bytes before it")
    func reverses() throws {
        let folder = try TemporaryFolder()
        let path = try model(in: folder)
        let old = try MappedFile(path: path).copyBytes()
        for name in ["A longer name than before, and then some more of it", "Otter"] {
            var editor = try GGUFMetadataEditor(path: path)
            try editor.set("general.name", to: .text(name))
            try editor.commit()
        }
        #expect(try MappedFile(path: path).copyBytes() == old)
        var editor = try GGUFMetadataEditor(path: path)
        try editor.set("general.name", to: .text("Otter"))
        #expect(try editor.commit() == .nothing)
    }

    @Test("an interrupted change in place is undone, a journal that is not whole is dropped")
    func recovers() throws {
        let folder = try TemporaryFolder()
        let path = try model(in: folder)
        let file = try MappedFile(path: path)
        let old = file.copyBytes()
        let identity = try #require(file.identity)
        let record = HeaderJournal.record(Array(old[40..<60]), offset: 40, identity: identity)
        // The state a crash leaves: the journal written, the file half changed.
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seek(toOffset: 40)
        handle.write(Data([UInt8](repeating: 0xEE, count: 13)))
        try handle.close()
        try AtomicFile.write(record, to: HeaderJournal.path(for: path))
        _ = try GGUFMetadataEditor(path: path)
        #expect(try MappedFile(path: path).copyBytes() == old)
        #expect(folder.names == ["m.gguf"])

        for length in [0, 10, 63, record.count - 1] {
            try AtomicFile.write(record.prefix(length), to: HeaderJournal.path(for: path))
            _ = try GGUFMetadataEditor(path: path)
            #expect(try MappedFile(path: path).copyBytes() == old)
            #expect(folder.names == ["m.gguf"])
        }
        let other = HeaderJournal.record(
            [1], offset: 0, identity: try FileIdentity(path: folder.path))
        try AtomicFile.write(other, to: HeaderJournal.path(for: path))
        #expect { try GGUFMetadataEditor(path: path) } throws: { "\($0)".contains("another file") }
        #expect(try MappedFile(path: path).copyBytes() == old)
    }

    @Test("a file that another program changed in the meantime is not written")
    func changedMeanwhile() throws {
        let folder = try TemporaryFolder()
        let path = try model(in: folder)
        for name in ["Adder", "A much longer name, so that the file is rewritten"] {
            var editor = try GGUFMetadataEditor(path: path)
            try editor.set("general.name", to: .text(name))
            let handle = try #require(FileHandle(forWritingAtPath: path))
            try handle.seekToEnd()
            handle.write(Data([0]))
            try handle.close()
            #expect { try editor.commit() } throws: { ($0 as? ByteIOError)?.code == .changed }
            #expect(try GGUFFile(path: path).metadata.string("general.name") == "Otter")
        }
        #expect(folder.names == ["m.gguf"])
    }

    @Test("what would make the file unusable is refused, and what might, needs force")
    func refusals() throws {
        let folder = try TemporaryFolder()
        let path = try model(in: folder, alignment: 64)
        let checks: [(String, Bool, (inout GGUFMetadataEditor) throws -> Void)] = [
            ("--force", true, { try $0.delete("general.architecture") }),
            ("--force", true, { try $0.rename("general.architecture", to: "general.arch") }),
            ("[u32]", true, { try $0.set("tokenizer.ggml.tokens", to: .array(GGUFArray([1] as [UInt32]))) }),
            ("type string", true, { try $0.set("general.name", to: .uint32(1)) }),
            ("split.count", true, { try $0.set("split.count", to: .uint16(2)) }),
            ("64", false, { try $0.set("general.alignment", to: .uint32(32)) }),
            ("64", false, { try $0.delete("general.alignment") }),
            ("0", false, { try $0.set("", to: .uint32(1)) }),
            ("there already", false, { try $0.rename("general.name", to: "general.alignment") }),
            ("general.name", false, { try $0.delete("name") }),
        ]
        for (word, forcible, change) in checks {
            var editor = try GGUFMetadataEditor(path: path)
            #expect { try change(&editor) } throws: { "\($0)".contains(word) && $0 is GGUFError }
            var forced = try GGUFMetadataEditor(path: path, force: true)
            if forcible {
                try change(&forced)
            } else {
                #expect(throws: GGUFError.self) { try change(&forced) }
            }
        }
        var editor = try GGUFMetadataEditor(path: path)
        try editor.set("tokenizer.ggml.bos_token_id", to: .uint32(40))
        #expect { try editor.commit() } throws: {
            "\($0)".contains("bos_token_id is 40") && "\($0)".contains("40 tokens")
        }
    }

    @Test("older versions are rewritten as version 3")
    func oldVersion() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/m.gguf"
        var old = GGUFBytes(version: 2, pairs: 1)
        old.add(string: "k")
        old.add(UInt32(4))
        old.add(UInt32(1))
        try AtomicFile.write(old.bytes, to: path)
        var editor = try GGUFMetadataEditor(path: path)
        try editor.set("k", to: .uint32(2))
        guard case .rewrite = try editor.commit() else {
            Issue.record("the file was not rewritten")
            return
        }
        let file = try GGUFFile(path: path)
        #expect(file.version == 3)
        #expect(try file.metadata.int("k") == 2)
    }
}
