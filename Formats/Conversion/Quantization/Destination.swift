import ByteIO
import Foundation

/// Checks on the place of a new file, before the work rather than after it.
public enum Destination {
    /// - Parameters:
    ///   - byteCount: how large the file will be.
    ///   - replaces: whether a file that exists may be replaced. Never one of `inputs`.
    ///   - inputs: files that are being read.
    /// - Throws: ``ConversionError`` of code `destination`.
    public static func check(_ path: String, byteCount: Int, replaces: Bool, inputs: [String]) throws {
        func refuse(_ reason: String) -> ConversionError { ConversionError(.destination, reason, path: path) }
        var status = stat()
        if stat(path, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw refuse("this exists and is no regular file; name a file to write")
            }
            for input in inputs {
                var other = stat()
                if stat(input, &other) == 0, other.st_dev == status.st_dev, other.st_ino == status.st_ino {
                    throw refuse("this is the file that is being read; write to another one")
                }
            }
            guard replaces else { throw refuse("this exists; choose another name, or replace it with --force") }
        }
        let folder = folder(of: path)
        guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw refuse("there is no folder \(folder)")
        }
        guard access(folder, W_OK) == 0 else { throw refuse("the folder \(folder) cannot be written to") }
        var space = statvfs()
        guard statvfs(folder, &space) == 0 else { return }
        let available = UInt64(space.f_bavail).multipliedReportingOverflow(by: UInt64(space.f_frsize))
        if !available.overflow, available.partialValue < UInt64(clamping: byteCount) {
            throw refuse(
                "\(byteCount) bytes are needed, but \(folder) has room for \(available.partialValue); free some, or write to "
                    + "another disk")
        }
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.utf8.startIndex ? "/" : String(path[..<slash])
    }
}
