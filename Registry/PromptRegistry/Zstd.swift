import CZstd

/// libzstd on whole buffers: compression at a level, and decompression that can never exceed the size it is told.
enum Zstd {
    /// `bytes` as one zstd frame.
    static func compress(_ bytes: UnsafeRawBufferPointer, level: Int32) throws -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.count)
        var failure: String?
        let result = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            let written = ZSTD_compress(buffer.baseAddress, bound, bytes.baseAddress, bytes.count, level)
            if ZSTD_isError(written) != 0 {
                failure = String(cString: ZSTD_getErrorName(written))
                count = 0
            } else {
                count = written
            }
        }
        if let failure { throw RegistryError(.storage, "zstd could not compress \(bytes.count) bytes: \(failure)") }
        return result
    }

    /// Fills `destination` exactly from `source`. False when the source is damaged or holds another number of bytes.
    static func decompress(_ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer) -> Bool {
        let written = ZSTD_decompress(destination.baseAddress, destination.count, source.baseAddress, source.count)
        return ZSTD_isError(written) == 0 && written == destination.count
    }
}
