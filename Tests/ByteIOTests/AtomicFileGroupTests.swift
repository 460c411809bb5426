import Foundation
import Testing

@testable import ByteIO

struct AtomicFileGroupTests {
    struct Stop: Error {}

    @Test("the files of a group appear together, or none does")
    func together() throws {
        let folder = try TemporaryFolder()
        let paths = ["a", "b", "c"].map { folder.path + "/" + $0 }
        func write(failing: Bool) throws {
            var group = try AtomicFileGroup(paths: paths)
            for path in paths.dropLast() { try group.write(to: path) { try $0.write([1]) } }
            #expect(folder.names.allSatisfy { $0.hasPrefix(AtomicFile.temporaryPrefix) })
            try group.write(to: paths[2]) { output in
                if failing { throw Stop() }
                try output.write([2])
            }
            try group.commit()
        }
        #expect(throws: Stop.self) { try write(failing: true) }
        #expect(folder.names == [])
        try write(failing: false)
        #expect(folder.names == ["a", "b", "c"])
    }

    @Test("a group that may not replace stops before the work, and takes back what it placed when it is too late")
    func refusesExisting() throws {
        let folder = try TemporaryFolder()
        let paths = ["a", "b"].map { folder.path + "/" + $0 }
        try AtomicFile.write([7], to: paths[0])
        #expect { _ = try AtomicFileGroup(existing: .refuse, paths: paths) } throws: { error in
            (error as? ByteIOError)?.code == .alreadyExists && "\(error)".contains(paths[0])
        }
        try FileManager.default.removeItem(atPath: paths[0])
        func race() throws {
            var group = try AtomicFileGroup(existing: .refuse, paths: paths)
            for path in paths { try group.write(to: path) { try $0.write([1]) } }
            // Another program takes the name that is placed last.
            try AtomicFile.write([7], to: paths[0])
            try group.commit()
        }
        #expect { try race() } throws: { ($0 as? ByteIOError)?.code == .alreadyExists }
        #expect(folder.names == ["a"])
        #expect(try MappedFile(path: paths[0]).copyBytes() == [7])
    }

    @Test("more space than any disk has is refused before the work, and nothing is left")
    func reserves() throws {
        let folder = try TemporaryFolder()
        #expect {
            try AtomicFile.write(to: folder.path + "/a", expectedSize: 1 << 60) { _ in
                Issue.record("the work began")
            }
        } throws: { error in
            (error as? ByteIOError)?.code == .system && "\(error)".contains("set aside")
        }
        #expect(folder.names == [])
        try AtomicFile.write(to: folder.path + "/b", expectedSize: 1 << 20) { try $0.write([1, 2, 3]) }
        #expect(try MappedFile(path: folder.path + "/b").count == 3)
    }

    @Test("a folder that is not there or may not be written is named")
    func folders() throws {
        let folder = try TemporaryFolder()
        #expect { try AtomicFile.write([1], to: folder.path + "/no/file") } throws: { error in
            (error as? ByteIOError)?.code == .notFound && "\(error)".contains("/no/file")
        }
        // The kernel's own folder refuses even the superuser.
        #expect(throws: ByteIOError.self) { try AtomicFile.write([1], to: "/proc/incipit-test") }
    }

    @Test("long ranges are copied as they are, from memory, from files and into memory")
    func copies() throws {
        let folder = try TemporaryFolder()
        let content = (0..<300_001).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
        try AtomicFile.write(content, to: folder.path + "/source")
        let file = try MappedFile(path: folder.path + "/source")
        let expected: [UInt8] = [9] + content[5..<299_000] + content[..<7] + [8]
        func write(_ output: inout AtomicFile.Writer) throws {
            try output.write([9])
            try output.copy(5..<299_000, of: file)
            #expect(output.position == 298_996)
            try output.copy(0..<7, of: file)
            try output.write([8])
        }
        try AtomicFile.write(to: folder.path + "/copy") { try write(&$0) }
        #expect(try MappedFile(path: folder.path + "/copy").copyBytes() == expected)
        #expect(try AtomicFile.Writer.collecting { try write(&$0) } == expected)
    }

    @Test("a file that became shorter while it was mapped gives an error instead of a fault")
    func shrunken() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/source"
        try AtomicFile.write([UInt8](repeating: 1, count: 1 << 20), to: path)
        let file = try MappedFile(path: path)
        truncate(path, 1000)
        #expect {
            try AtomicFile.write(to: folder.path + "/copy") { try $0.copy(0..<file.count, of: file) }
        } throws: { ($0 as? ByteIOError)?.code == .changed }
        #expect(folder.names == ["source"])
    }

    @Test("a file that was replaced while it was mapped is copied as it was")
    func replaced() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/source"
        try AtomicFile.write([UInt8](repeating: 1, count: 1 << 17), to: path)
        let file = try MappedFile(path: path)
        try AtomicFile.write([UInt8](repeating: 2, count: 1 << 17), to: path)
        try AtomicFile.write(to: folder.path + "/copy") { try $0.copy(0..<file.count, of: file) }
        #expect(try MappedFile(path: folder.path + "/copy").copyBytes() == [UInt8](repeating: 1, count: 1 << 17))
    }

    @Test("writing stops when it is told to, and leaves nothing")
    func stops() throws {
        let folder = try TemporaryFolder()
        #expect {
            try AtomicFile.write(to: folder.path + "/file") { output in
                output.shouldContinue = { $0 < 1 << 20 }
                for _ in 0..<100 { try output.write([UInt8](repeating: 0, count: 1 << 18)) }
            }
        } throws: { ($0 as? ByteIOError)?.code == .cancelled }
        #expect(folder.names == [])
    }
}
