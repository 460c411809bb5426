import Foundation
import OCIArtifacts

/// Where the files of an OCI image layout lie: a folder, or a tar archive.
protocol LayoutMedium: Sendable {
    /// The file of that name, nil when there is none.
    ///
    /// - Throws: `.corrupt` when something stands there that is no plain file.
    func file(_ name: String) throws -> LayoutFile?
    /// For errors.
    var path: String { get }
}

/// One file of a layout, open for reading.
struct LayoutFile: Sendable {
    let input: InputFile
    /// Where in `input` it begins.
    let offset: Int
    let size: Int

    /// `count` bytes at `position`, fewer only at the end.
    func read(_ count: Int, at position: Int) throws -> [UInt8] {
        try input.read(max(0, min(count, size - position)), at: offset + position)
    }

    func readAll(limit: Int, _ name: String) throws -> [UInt8] {
        guard size <= limit else {
            throw RegistryError(
                .sizeInvalid, "\(name) has \(size) bytes, and at most \(limit) are taken", path: input.path)
        }
        return try read(size, at: 0)
    }
}

/// A layout in a folder.
struct LayoutFolder: LayoutMedium {
    let path: String

    /// Symbolic links are followed nowhere below the folder: a layout from a stranger shall not show files that lie
    /// elsewhere, nor have us write there.
    func file(_ name: String) throws -> LayoutFile? {
        try checkParents(of: name)
        let full = path + "/" + name
        var info = stat()
        guard lstat(full, &info) == 0 else { return nil }
        guard info.st_mode & S_IFMT == S_IFREG else {
            throw RegistryError(.corrupt, "the layout has something else than a plain file at \(name)", path: full)
        }
        guard let input = try InputFile(path: full, followsLinks: false) else { return nil }
        return LayoutFile(input: input, offset: 0, size: input.size)
    }

    func checkParents(of name: String) throws {
        var folder = path
        for part in name.split(separator: "/").dropLast() {
            folder += "/" + part
            var info = stat()
            guard lstat(folder, &info) == 0 else { return }
            guard info.st_mode & S_IFMT == S_IFDIR else {
                throw RegistryError(.corrupt, "the layout has something else than a folder here", path: folder)
            }
        }
    }

    /// Writes a file durably: beside its place first, then moved there.
    func write(_ bytes: [UInt8], to name: String) throws {
        let temporary = path + "/.incoming-" + UUID().uuidString.lowercased()
        let output = try OutputFile(path: temporary, isNew: true)
        do {
            try output.write(bytes)
            try output.synchronize()
            try publish(temporary, as: name)
        } catch {
            StorageFiles.remove(temporary)
            throw error
        }
    }

    /// Moves a complete, synchronized file to its place.
    func publish(_ temporary: String, as name: String) throws {
        try checkParents(of: name)
        let target = path + "/" + name
        let folder = (target as NSString).deletingLastPathComponent
        if access(folder, F_OK) != 0 { try StorageFiles.createFolder(folder) }
        guard rename(temporary, target) == 0 else { throw RegistryError.system("cannot move into place", target) }
        try StorageFiles.synchronizeFolder(folder)
    }
}

/// A layout in a tar archive (ustar, with pax or GNU long names), read where it lies: nothing is unpacked.
///
/// Files that a layout does not have are ignored. Names that lead out of the archive, links and devices are refused, and
/// so is a name that comes twice, since two readers could then see two different layouts.
struct LayoutArchive: LayoutMedium {
    let path: String
    private let input: InputFile
    private let entries: [String: Range<Int>]
    /// More files than any layout of prompts has.
    private static let maximumEntries = 1_000_000

    init(path: String) throws {
        guard let input = try InputFile(path: path) else {
            throw RegistryError(.nameUnknown, "there is no archive", path: path)
        }
        self.path = path
        self.input = input
        var entries: [String: Range<Int>] = [:]
        var reader = TarReader(input)
        while let entry = try reader.next() {
            guard entries.count < Self.maximumEntries else {
                throw RegistryError(.corrupt, "the archive has more than \(Self.maximumEntries) files", path: path)
            }
            guard entries.updateValue(entry.content, forKey: entry.name) == nil else {
                throw RegistryError(.corrupt, "the archive has two files named \(entry.name)", path: path)
            }
        }
        self.entries = entries
    }

    func file(_ name: String) throws -> LayoutFile? {
        guard let range = entries[name] else { return nil }
        return LayoutFile(input: input, offset: range.lowerBound, size: range.count)
    }
}
