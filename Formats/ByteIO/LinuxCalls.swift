import Foundation

/// System calls that Swift's C library module does not declare, looked up by name; nil where there are none.
///
/// Could go once the module is built with `_GNU_SOURCE`, which declares them.
enum LinuxCalls {
    typealias CopyFileRange =
        @convention(c) (
            Int32, UnsafeMutablePointer<Int64>?, Int32, UnsafeMutablePointer<Int64>?, Int, UInt32
        ) -> Int
    typealias Allocate = @convention(c) (Int32, Int32, Int64, Int64) -> Int32

    /// `copy_file_range(2)`: source, its offset, destination, its offset, length, flags.
    static let copyFileRange: CopyFileRange? = function("copy_file_range")
    /// `fallocate(2)`: descriptor, mode, offset, length.
    static let allocate: Allocate? = function("fallocate")
    /// Mode of `fallocate`: the size of the file stays.
    static let keepSize: Int32 = 1

    private static func function<F>(_ name: String) -> F? {
        #if os(Linux) && (arch(x86_64) || arch(arm64))
            // Sound: the types are those of the functions' declarations on 64-bit Linux.
            guard let address = dlsym(nil, name) else { return nil }
            return unsafeBitCast(address, to: F.self)
        #else
            return nil
        #endif
    }
}
