import Foundation

/// Tells whether a file is another one than it was: time of change, size, and the inode, which a file that is moved into
/// its place brings along.
struct FileStamp: Equatable {
    let seconds, nanoseconds, size, inode: Int

    /// Nil when there is no such file, or none that may be looked at. Follows links, as certificates that are renewed by
    /// tools are often kept behind one.
    init?(_ path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        seconds = info.st_mtim.tv_sec
        nanoseconds = info.st_mtim.tv_nsec
        size = Int(info.st_size)
        inode = Int(info.st_ino)
    }
}
