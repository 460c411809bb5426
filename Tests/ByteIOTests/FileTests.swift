import Foundation
import Testing

@testable import ByteIO

/// Makes a folder of its own and removes it at the end.
final class TemporaryFolder {
    let path = NSTemporaryDirectory() + "/incipit-tests-" + UUID().uuidString
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}

struct FileTests {
    struct Stop: Error {}

    @Test("a written file holds what was written, small and large, and nothing else is left")
    func writes() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/file"
        let large = (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try AtomicFile.write(to: path) { file in
            try file.write([1, 2, 3])
            try file.pad(to: 8)
            #expect(file.position == 8)
            try file.write(large)
            try large.withUnsafeBytes { try file.write($0) }
        }
        let mapped = try MappedFile(path: path)
        #expect(mapped.copyBytes() == [1, 2, 3, 0, 0, 0, 0, 0] + large + large)
        #expect(folder.names == ["file"])
    }

    @Test("when writing throws, the old content stays and no temporary file does")
    func keepsOldContent() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/file"
        try AtomicFile.write([7], to: path)
        #expect(throws: Stop.self) {
            try AtomicFile.write(to: path) { file in
                try file.write([UInt8](repeating: 1, count: 1 << 20))
                throw Stop()
            }
        }
        #expect(try MappedFile(path: path).copyBytes() == [7])
        #expect(folder.names == ["file"])
    }

    @Test("a file that is mapped keeps its content when it is replaced")
    func replacesUnderAMapping() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/file"
        try AtomicFile.write([UInt8](repeating: 1, count: 10000), to: path)
        let old = try MappedFile(path: path)
        try AtomicFile.write([2], to: path)
        #expect(old.copyBytes().allSatisfy { $0 == 1 })
        #expect(try MappedFile(path: path).count == 1)
        #expect(try MappedFile(path: path).identity != old.identity)
    }

    @Test("permissions are those asked for")
    func permissions() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write([1], to: folder.path + "/secret", permissions: 0o600)
        let attributes = try FileManager.default.attributesOfItem(atPath: folder.path + "/secret")
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
    }

    @Test("an empty file maps to no bytes")
    func emptyFile() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write([], to: folder.path + "/empty")
        let file = try MappedFile(path: folder.path + "/empty")
        #expect(file.count == 0)
        file.withBytes { span in #expect(span.byteCount == 0) }
    }

    @Test("missing files, folders and devices are refused by name")
    func refusals() throws {
        let folder = try TemporaryFolder()
        #expect { try MappedFile(path: folder.path + "/none") } throws: { error in
            (error as? ByteIOError)?.code == .notFound && "\(error)".contains("/none")
        }
        #expect { try MappedFile(path: folder.path) } throws: { ($0 as? ByteIOError)?.code == .notRegularFile }
        #expect { try MappedFile(path: "/dev/zero") } throws: { ($0 as? ByteIOError)?.code == .notRegularFile }
        #expect(throws: ByteIOError.self) { try AtomicFile.write([1], to: folder.path + "/no/such/folder") }
    }

    @Test("a reader stops at the end and stays where it was")
    func readerBounds() throws {
        let file = MappedFile(bytes: [1, 0, 0, 0, 2, 3] as [UInt8], name: "memory")
        var reader = ByteReader(file.unsafeBytes, path: "memory")
        #expect(try reader.read(UInt32.self) == 1)
        #expect { try reader.read(UInt32.self, "the count") } throws: { error in
            guard let error = error as? ByteIOError else { return false }
            return error.offset == 4 && error.message.contains("the count")
        }
        #expect(reader.offset == 4)
        #expect(throws: ByteIOError.self) { try reader.readBytes(.max) }
        #expect(throws: ByteIOError.self) { try reader.readBytes(-1) }
        #expect(try reader.readBytes(0).isEmpty)
        reader.isBigEndian = true
        #expect(try reader.read(UInt16.self) == 0x0203)
        #expect(throws: ByteIOError.self) { try reader.read(UInt8.self) }
        #expect(throws: ByteIOError.self) { try reader.seek(to: 7) }
        withExtendedLifetime(file) {}
    }
}
