import ByteIO
import Foundation

/// A file's place among the parts of a split model.
///
///     name    <prefix>-00001-of-00003.gguf      counted from 1, five digits
///     keys    split.no             u16          counted from 0
///             split.count          u16
///             split.tensors.count  i32          tensors of all parts together
///
/// The first part carries the metadata of the whole, the others only these three keys.
public struct GGUFSplit: Sendable, Hashable {
    /// Counted from 0.
    public let number: Int
    public let count: Int
    /// Tensors of all parts together.
    public let tensorCount: Int

    static let numberKey = "split.no"
    static let countKey = "split.count"
    static let tensorCountKey = "split.tensors.count"
    /// The keys that exist only in parts.
    public static let keys = [numberKey, countKey, tensorCountKey]
    /// The largest count that `split.count`, a u16, can hold.
    public static let largestCount = Int(UInt16.max)

    init(number: Int, count: Int, tensorCount: Int) {
        self.number = number
        self.count = count
        self.tensorCount = tensorCount
    }

    /// Nil when the metadata is that of a whole model: no `split.count`, or one of 0 or 1 as older merging tools leave.
    /// - Throws: ``GGUFError`` when the keys contradict themselves.
    init?(metadata: GGUFMetadata) throws(GGUFError) {
        guard let count = try metadata.intIfPresent(Self.countKey), count > 1 else { return nil }
        guard let number = try metadata.intIfPresent(Self.numberKey),
            let tensorCount = try metadata.intIfPresent(Self.tensorCountKey), (0..<count).contains(number),
            count <= Self.largestCount, tensorCount >= 0
        else {
            throw GGUFError(
                .brokenSplit,
                "\(Self.countKey) is \(count), but \(Self.numberKey) is "
                    + "\(metadata[Self.numberKey].map { $0.intValue.map(String.init) ?? $0.typeText } ?? "missing") and "
                    + "\(Self.tensorCountKey) "
                    + "\(metadata[Self.tensorCountKey].map { $0.intValue.map(String.init) ?? $0.typeText } ?? "missing")"
                    + "; get the part again", path: metadata.path, key: Self.countKey)
        }
        self.init(number: number, count: count, tensorCount: tensorCount)
    }

    var metadata: GGUFMetadata {
        [
            Self.numberKey: .uint16(UInt16(clamping: number)), Self.countKey: .uint16(UInt16(clamping: count)),
            Self.tensorCountKey: .int32(Int32(clamping: tensorCount)),
        ]
    }
}

// MARK: - Names

extension GGUFSplit {
    /// The path of one part; `number` counts from 0.
    public static func path(prefix: String, number: Int, count: Int) -> String {
        func padded(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        }
        return "\(prefix)-\(padded(number + 1))-of-\(padded(count)).gguf"
    }

    /// What a path says about itself, when it has the form of a part's; `number` counts from 0.
    public static func parse(path: String) -> (prefix: String, number: Int, count: Int)? {
        guard let match = path.wholeMatch(of: /(.*)-(\d{5,6})-of-(\d{5,6})\.gguf/.dotMatchesNewlines()),
            let number = Int(match.2), let count = Int(match.3), number >= 1, number <= count
        else { return nil }
        return (String(match.1), number - 1, count)
    }

    /// What to say about a file cut into raw pieces, which must be joined before anything can be read.
    static func rawPieceAdvice(path: String) -> String? {
        let whole: String
        let pieces: String
        if let match = path.wholeMatch(of: /(.*\.gguf)\.part(\d+)of(\d+)/.ignoresCase()), let count = Int(match.3) {
            whole = String(match.1)
            pieces =
                count > 4
                ? "\(whole).part1of\(count) … \(whole).part\(count)of\(count)"
                : (0..<max(count, 1)).map { "\(whole).part\($0 + 1)of\(count)" }.joined(separator: " ")
        } else if let match = path.wholeMatch(of: /(.*\.gguf)([-._]split[-._]?|\.part[-._]?|[-._])([a-z]{1,2})/) {
            whole = String(match.1)
            pieces = "\(whole)\(match.2)*"
        } else if let match = path.wholeMatch(of: /(.*\.gguf)\.(\d{1,3})/) {
            whole = String(match.1)
            pieces = "\(whole).*"
        } else {
            return nil
        }
        return "this is a piece of a file that was cut without regard to its content; join all pieces in their order: "
            + "cat \(pieces) > \(whole)"
    }
}

// MARK: - Reading all parts

extension GGUFSplit {
    /// Opens the parts beside the first one and checks that they belong together.
    static func openAll(first: GGUFPart, split: GGUFSplit) throws -> [GGUFPart] {
        let path = first.file.path
        func broken(_ message: String, at path: String) -> GGUFError {
            GGUFError(.brokenSplit, message, path: path)
        }
        let named = parse(path: path)
        guard split.number == 0 else {
            let known = named.map { Self.path(prefix: $0.prefix, number: 0, count: $0.count) }
            throw GGUFError(
                .notFirstPart,
                "this is part \(split.number + 1) of \(split.count) of a split model; open the first part"
                    + (known.map { ": \($0)" } ?? ", whose name ends in -00001-of-\(suffix(split.count))"), path: path,
                key: numberKey)
        }
        guard let named, named.number == 0, named.count == split.count else {
            throw broken(
                "this is the first of \(split.count) parts, but its name does not end in -00001-of-\(suffix(split.count)), "
                    + "so the others cannot be found; rename it back", at: path)
        }
        let paths = (0..<split.count).map { Self.path(prefix: named.prefix, number: $0, count: split.count) }
        let missing = paths.filter { !FileManager.default.fileExists(atPath: $0) }
        guard missing.isEmpty else {
            throw broken(
                "\(missing.count) of \(split.count) parts are missing: \(missing.prefix(3).joined(separator: ", "))"
                    + "\(missing.count > 3 ? ", …" : ""); all must lie beside the first", at: path)
        }
        var parts = [first]
        for number in 1..<split.count {
            let part = try GGUFPart(file: MappedFile(path: paths[number]), number: number)
            guard let other = part.split else {
                throw broken(
                    "this should be part \(number + 1) of \(split.count) but is a whole model", at: paths[number])
            }
            guard other.count == split.count, other.tensorCount == split.tensorCount else {
                throw broken(
                    "this part belongs to \(other.count) parts of \(other.tensorCount) tensors, the first to "
                        + "\(split.count) of \(split.tensorCount); they are of different models", at: paths[number])
            }
            guard other.number == number else {
                throw broken(
                    "\(numberKey) is \(other.number), as in \(paths[other.number]), but by its name this is part "
                        + "\(number + 1), which has \(number); a part was renamed or copied over another",
                    at: paths[number])
            }
            parts.append(part)
        }
        let found = parts.reduce(0) { $0 + $1.tensors.count }
        guard found == split.tensorCount else {
            throw broken(
                "the parts have \(found) tensors together, but \(tensorCountKey) is \(split.tensorCount); "
                    + "a part is of another model or damaged", at: path)
        }
        return parts
    }

    private static func suffix(_ count: Int) -> String {
        String(Self.path(prefix: "", number: 0, count: count).dropFirst("-00001-of-".count))
    }
}
