import ByteIO
import Foundation
import Testing

@testable import Conversion

/// A disk without room, on a file system in memory where mounting is permitted.
struct FullDiskTests {
    /// A mounted folder of some size; nil where this process may not mount.
    private static func mount(_ folder: String, megabytes: Int) -> Bool {
        run("mount", ["-t", "tmpfs", "-o", "size=\(megabytes)m", "tmpfs", folder])
    }

    private static func run(_ tool: String, _ arguments: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [tool] + arguments
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    private static let canMount: Bool = {
        let folder = NSTemporaryDirectory() + "incipit-mount-" + UUID().uuidString
        guard mkdir(folder, 0o700) == 0 else { return false }
        defer { rmdir(folder) }
        guard mount(folder, megabytes: 1) else { return false }
        return run("umount", [folder])
    }()

    @Test(.enabled(if: canMount, "mounting is not permitted here"))
    func `too little room is found before the work, and a disk that fills up is told; nothing is left`() throws {
        let folder = try ModelFolder()
        let place = folder.path + "/small"
        #expect(mkdir(place, 0o700) == 0)
        try #require(Self.mount(place, megabytes: 1))
        defer { _ = Self.run("umount", [place]) }
        let filler = place + "/another program's"
        // All but 16 KB is taken: the file needs more.
        try AtomicFile.write([UInt8](repeating: 1, count: (1 << 20) - 16_384), to: filler)
        var options = ConversionOptions()
        options.type = .f32
        let converter = try Converter(folder: openSource(ModelFolder.fixture("mixtral")), options: options)
        #expect(converter.plan.fileBytes > 16_384)
        let early = failure { _ = try converter.write(to: place + "/m.gguf") }
        #expect(early?.contains("free on this disk") ?? false, "\(early ?? "")")
        #expect(try FileManager.default.contentsOfDirectory(atPath: place) == ["another program's"])

        // There is room when the work begins; after the first part another program takes it.
        try AtomicFile.write([1], to: filler)
        options.maximumPartSize = 12_000
        let parts = try Converter(folder: openSource(ModelFolder.fixture("mixtral")), options: options)
        #expect(parts.plan.files.count > 2)
        var isTaken = false
        let late = failure {
            _ = try parts.write(to: place + "/m.gguf") { written in
                if written > 0, !isTaken {
                    isTaken = true
                    try? Self.fill(filler)
                }
                return true
            }
        }
        #expect(isTaken)
        #expect(late?.contains("the disk is full") ?? false, "\(late ?? "")")
        #expect(try FileManager.default.contentsOfDirectory(atPath: place) == ["another program's"])
    }

    /// Appends to a file until nothing more is accepted.
    private static func fill(_ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_APPEND)
        defer { close(descriptor) }
        let page = [UInt8](repeating: 2, count: 4096)
        while write(descriptor, page, page.count) == page.count {}
    }
}
