import ByteIO
import Foundation
import TensorTypes

/// "Tensors whose name matches this pattern get that type": `ffn_down=Q6_K`, `blk\.(0|1)\.attn_v=Q8_0`.
public struct TensorTypeRule: Sendable {
    /// A regular expression, found anywhere in the name. Lower case, as tensor names are.
    public let pattern: String
    public let type: TensorType
    // Sendable: a compiled expression is immutable; the standard library does not say so yet.
    private nonisolated(unsafe) let expression: Regex<AnyRegexOutput>

    /// Reads `PATTERN=TYPE`; the last `=` separates them.
    /// - Throws: ``ConversionError`` of code `invalidRequest`.
    public init(_ text: String) throws {
        guard let separator = text.lastIndex(of: "="), separator != text.startIndex else {
            throw ConversionError(.invalidRequest, "\(text.debugDescription) is not of the form PATTERN=TYPE")
        }
        pattern = text[..<separator].lowercased()
        let name = text[text.index(after: separator)...].trimmingCharacters(in: .whitespaces)
        type = try Self.type(named: name)
        do {
            expression = try Regex(pattern)
        } catch {
            throw ConversionError(
                .invalidRequest, "\(pattern.debugDescription) is no regular expression: \(error)")
        }
    }

    func matches(_ name: String) -> Bool { name.firstMatch(of: expression) != nil }

    /// The rules of a file: one a line; blank lines and lines that start with `#` are skipped.
    public static func read(path: String) throws -> [TensorTypeRule] {
        let file = try MappedFile(path: path)
        guard file.count <= 1 << 20, let text = String(validating: file.copyBytes(), as: UTF8.self) else {
            throw ConversionError(.malformed, "this is no text file of rules PATTERN=TYPE", path: path)
        }
        var rules: [TensorTypeRule] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let content = line.trimmingCharacters(in: .whitespacesAndNewlines)
            guard !content.isEmpty, !content.hasPrefix("#") else { continue }
            do {
                rules.append(try TensorTypeRule(content))
            } catch let error as ConversionError {
                throw ConversionError(.malformed, "line \(number + 1): \(error.message)", path: path)
            }
        }
        return rules
    }

    /// A tensor type that can be written.
    /// - Throws: ``ConversionError`` listing those there are.
    public static func type(named name: String) throws -> TensorType {
        guard let type = TensorType(name: name), type.isEncodable else {
            let known = TensorType.all.filter(\.isEncodable).map(\.name).joined(separator: ", ")
            throw ConversionError(
                .invalidRequest, "\(name.debugDescription) is no type that tensors can be given; there are \(known)")
        }
        return type
    }
}
