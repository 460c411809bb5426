import ByteIO
import Foundation

/// Checks of where a result goes, and folders that appear whole or not at all.
enum Destination {
    /// - Throws: ``ConversionError`` of code `destination` when the place is taken, lies on the source, or is of the
    ///   other kind.
    static func check(
        _ path: String, source: any ModelSource, isFolder: Bool, existing: AtomicFile.Existing
    ) throws {
        func refuse(_ message: String) -> ConversionError { ConversionError(.destination, message, path: path) }
        let parent = AtomicFile.folder(of: path)
        var status = stat()
        guard stat(parent, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw ConversionError(.destination, "the folder does not exist; make it first", path: parent)
        }
        guard stat(path, &status) == 0 else {
            guard access(parent, W_OK) == 0 else {
                throw ConversionError(.destination, "the folder cannot be written", path: parent)
            }
            return
        }
        let here = try FileIdentity(path: path)
        let isSame = { (identity: FileIdentity) in identity.device == here.device && identity.inode == here.inode }
        let own = try? FileIdentity(path: source.path)
        if own.map(isSame) ?? false || source.files.compactMap(\.identity).contains(where: isSame) {
            throw refuse("the result would overwrite the source; choose another name")
        }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        guard isDirectory == isFolder else {
            throw refuse(
                isFolder
                    ? "this is a file; converting GGUF writes a folder"
                    : "this is a folder; give a file name, such as model.gguf")
        }
        if isFolder {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
            guard names.isEmpty || existing == .replace else {
                throw refuse("the folder is not empty; choose another, or replace its files with --force")
            }
        } else if existing == .refuse {
            throw refuse("the file exists; choose another name, or replace it with --force")
        }
    }

    /// - Throws: ``ConversionError`` when the file system has less room.
    static func checkSpace(_ path: String, needed: Int) throws {
        let parent = AtomicFile.folder(of: path)
        var status = statvfs()
        guard statvfs(parent, &status) == 0 else { return }
        let (free, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        guard !overflow, free < UInt64(clamping: needed) else { return }
        throw ConversionError(
            .destination, "the result needs \(needed) bytes but only \(free) are free on this disk", path: parent)
    }

    /// Fills a folder beside the destination and gives it the name when all is well. Existing files of other names stay.
    static func writeFolder<R>(
        _ path: String, existing: AtomicFile.Existing, _ body: (_ folder: String) throws -> R
    ) throws -> R {
        let temporary =
            AtomicFile.folder(of: path) + "/" + AtomicFile.temporaryPrefix + String(getpid()) + "-"
            + String(UInt64.random(in: .min ... .max), radix: 36)
        guard mkdir(temporary, 0o777) == 0 else {
            throw ConversionError(
                .destination, "a folder cannot be made here: \(String(cString: strerror(errno)))", path: path)
        }
        do {
            let result = try body(temporary)
            // Takes the place of nothing, or of an empty folder.
            if rename(temporary, path) != 0 {
                guard [ENOTEMPTY, EEXIST].contains(errno), existing == .replace else {
                    throw ConversionError(
                        .destination, "the folder cannot be put in place: \(String(cString: strerror(errno)))",
                        path: path)
                }
                try replaceFiles(of: path, from: temporary)
            }
            try AtomicFile.flushFolder(AtomicFile.folder(of: path))
            return result
        } catch {
            try? FileManager.default.removeItem(atPath: temporary)
            throw error
        }
    }

    private static func replaceFiles(of path: String, from temporary: String) throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: temporary)
        // Weights of an earlier conversion would be taken for parts of this one.
        for old in try FileManager.default.contentsOfDirectory(atPath: path)
        where !names.contains(old) && old.hasPrefix("model")
            && (old.hasSuffix(".safetensors") || old.hasSuffix(".safetensors.index.json"))
        {
            unlink("\(path)/\(old)")
        }
        for name in names {
            guard rename("\(temporary)/\(name)", "\(path)/\(name)") == 0 else {
                throw ConversionError(
                    .destination, "\(name) cannot be replaced: \(String(cString: strerror(errno)))", path: path)
            }
        }
        rmdir(temporary)
    }
}
