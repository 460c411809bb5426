import ByteIO
import Foundation
import LanguageModels

/// The distributions of a reference model over a text, saved: llama.cpp's files for `--kl-divergence-base`.
///
///     8 bytes   "_logits_"
///     u32       window length n              u32  vocabulary size V          u32  windows w
///     w · n     u32 tokens
///     a row for each position n/2 … n−2 of each window:
///         f32   scale s                      f32  lowest log-probability m
///         u16 · V (and one more if V is odd)       log-probability = s · value + m
///
/// Little endian. Log-probabilities more than 16 below the likeliest become the lowest; the step is 16/65535 at most, so
/// that figures agree with those of the model itself to about four digits.
public struct SavedLogits: Sendable {
    public let windowLength, vocabularySize, windowCount: Int
    private let file: MappedFile
    private static let tokenOffset = 20

    private static let magic = Array("_logits_".utf8)

    /// Whether a file begins as such files do.
    public static func isSaved(at path: String) -> Bool {
        guard let handle = FileHandle(forReadingAtPath: path) else { return false }
        defer { try? handle.close() }
        return (try? handle.read(upToCount: 8)).map { $0.map(Array.init) == magic } ?? false
    }

    /// Bytes of a row.
    static func rowBytes(vocabularySize: Int) -> Int { 8 + (vocabularySize + 1) / 2 * 4 }

    /// Rows of a window.
    static func rows(windowLength: Int) -> Int { windowLength - 1 - windowLength / 2 }

    /// - Throws: `ByteIOError` when it cannot be read, `ModelError.invalidInput` when it is no such file or is cut off.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        func refuse(_ why: String) -> ModelError {
            ModelError(.invalidInput, "this is no complete file of saved logits: \(why)", path: path)
        }
        guard file.count >= Self.tokenOffset, Array(file.unsafeBytes[..<8]) == Self.magic else {
            throw refuse("it does not begin with “_logits_”")
        }
        func number(_ offset: Int) -> Int {
            Int(UInt32(littleEndian: file.unsafeBytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
        self.file = file
        windowLength = number(8)
        vocabularySize = number(12)
        windowCount = number(16)
        guard (4...1 << 20).contains(windowLength), (1...1 << 24).contains(vocabularySize), windowCount > 0 else {
            throw refuse(
                "windows of \(windowLength) tokens over a vocabulary of \(vocabularySize) make no sense")
        }
        // All factors are below 2^32, 2^20 and 2^26: the product of two fits, that of three is checked.
        let rows = Self.rows(windowLength: windowLength) * Self.rowBytes(vocabularySize: vocabularySize)
        let (total, overflow) = (rows + 4 * windowLength).multipliedReportingOverflow(by: windowCount)
        guard !overflow, total == file.count - Self.tokenOffset else {
            throw refuse("\(windowCount) windows need another size than its \(file.count) bytes")
        }
    }

    /// The windows that were measured.
    ///
    /// - Throws: `ModelError.invalidInput` for a token outside the vocabulary.
    public func windows() throws -> [PerplexityWindows.Window] {
        try (0..<windowCount).map { window in
            let tokens = (0..<windowLength).map { index in
                Int(
                    UInt32(
                        littleEndian: file.unsafeBytes.loadUnaligned(
                            fromByteOffset: Self.tokenOffset + 4 * (window * windowLength + index), as: UInt32.self)))
            }
            guard tokens.allSatisfy({ $0 < vocabularySize }) else {
                throw ModelError(
                    .invalidInput, "the saved logits name tokens outside their vocabulary", path: file.path)
            }
            return PerplexityWindows.Window(tokens: tokens, firstScored: windowLength / 2 + 1)
        }
    }

    /// Log-probabilities of `count` rows of a window from `first` on, `(count, vocabularySize)`.
    func read(window: Int, first: Int, count: Int, into destination: UnsafeMutablePointer<Float>) {
        let rowBytes = Self.rowBytes(vocabularySize: vocabularySize)
        let rows = Self.rows(windowLength: windowLength)
        precondition(window < windowCount && first >= 0 && first + count <= rows, "rows outside the file")
        let start = Self.tokenOffset + 4 * windowCount * windowLength
        for row in 0..<count {
            let offset = start + (window * rows + first + row) * rowBytes
            func float(_ at: Int) -> Float {
                Float(
                    bitPattern: UInt32(
                        littleEndian: file.unsafeBytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)))
            }
            let (scale, lowest) = (float(offset), float(offset + 4))
            for id in 0..<vocabularySize {
                let value = UInt16(
                    littleEndian: file.unsafeBytes.loadUnaligned(
                        fromByteOffset: offset + 8 + 2 * id, as: UInt16.self))
                destination[row * vocabularySize + id] = scale * Float(value) + lowest
            }
        }
    }

    // MARK: - Writing

    /// Bytes of a whole file.
    public static func byteCount(windows: Int, windowLength: Int, vocabularySize: Int) -> Int {
        20 + windows * (4 * windowLength + rows(windowLength: windowLength) * rowBytes(vocabularySize: vocabularySize))
    }

    /// What stands before the rows.
    public static func header(_ windows: [PerplexityWindows.Window], vocabularySize: Int) -> [UInt8] {
        var bytes = magic
        func append(_ value: Int) {
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: value).littleEndian) { bytes.append(contentsOf: $0) }
        }
        append(windows.first?.tokens.count ?? 0)
        append(vocabularySize)
        append(windows.count)
        for window in windows { for token in window.tokens { append(token) } }
        return bytes
    }

    /// One row of logits as it is stored.
    static func encode(_ logits: UnsafePointer<Float>, count: Int) -> [UInt8] {
        var (highest, lowest) = (-Float.infinity, Float.infinity)
        for id in 0..<count {
            highest = max(highest, logits[id])
            lowest = min(lowest, logits[id])
        }
        lowest = max(lowest, highest - 16)
        var sum = 0.0
        for id in 0..<count { sum += Double(exp(logits[id] - highest)) }
        let scale = (highest - lowest) / 65535
        let minimum = lowest - highest - Float(log(sum))
        var bytes = [UInt8](repeating: 0, count: rowBytes(vocabularySize: count))
        bytes.withUnsafeMutableBytes { buffer in
            buffer.storeBytes(of: scale.bitPattern.littleEndian, toByteOffset: 0, as: UInt32.self)
            buffer.storeBytes(of: minimum.bitPattern.littleEndian, toByteOffset: 4, as: UInt32.self)
            guard scale > 0 else { return }
            for id in 0..<count where logits[id] > lowest {
                let value = min(65535, ((logits[id] - lowest) / scale).rounded())
                buffer.storeBytes(of: UInt16(value).littleEndian, toByteOffset: 8 + 2 * id, as: UInt16.self)
            }
        }
        return bytes
    }
}
