/// Which fields of a row are its input and its target.
///
/// The standard takes `input` and `target`. A template such as `{premise} Does it follow that {hypothesis}?` makes the input
/// of several fields.
public struct RowFormat: Sendable, Hashable {
    public static let standard = RowFormat()

    /// Text with `{field}` for each field that enters.
    public let input: String
    /// The field that is learned.
    public let target: String
    private let pieces: [Piece]

    private enum Piece: Sendable, Hashable {
        case text(String)
        case field(String)
    }

    private init() {
        input = "{input}"
        target = "target"
        pieces = [.field("input")]
    }

    /// - Throws: `TuningError.invalidSetting` for a template without a field.
    public init(input: String = "{input}", target: String = "target") throws {
        self.input = input
        self.target = target
        var pieces: [Piece] = []
        var rest = input[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            if open > rest.startIndex { pieces.append(.text(String(rest[..<open]))) }
            pieces.append(.field(String(rest[rest.index(after: open)..<close])))
            rest = rest[rest.index(after: close)...]
        }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        self.pieces = pieces
        guard pieces.contains(where: { if case .field = $0 { true } else { false } }), !target.isEmpty else {
            throw TuningError(
                code: .invalidSetting,
                message: "the input template “\(input)” names no field; write one in braces, as in {input}")
        }
    }

    /// The example that a row's fields make.
    ///
    /// - Parameter field: a field's text; what it throws names the row.
    func example(_ field: (String) throws -> String) rethrows -> Example {
        var text = ""
        for piece in pieces {
            switch piece {
            case .text(let plain): text += plain
            case .field(let name): text += try field(name)
            }
        }
        return Example(input: text, target: try field(target))
    }
}
