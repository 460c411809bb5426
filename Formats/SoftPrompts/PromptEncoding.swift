import Safetensors

/// How exactly the values of a prompt are stored: one type for all, or one for each part.
///
/// The parts of a prefix are the keys of a layer and its values; a prompt at the input is one part. Parts differ in how much a
/// model minds their rounding, so that most can be stored in 8 bits while a few keep 16.
public struct PromptEncoding: Hashable, Sendable {
    /// A type for each part, or a single one for all of them.
    public let types: [SafetensorsType]

    /// All parts alike.
    public init(_ type: SafetensorsType) { types = [type] }

    /// A type for each part, in the order of ``PromptPart/parts(_:_:)``.
    public init(parts: [SafetensorsType]) {
        types = Set(parts).count == 1 ? [parts[0]] : parts
    }

    /// What ``name`` says of parts that differ.
    public static let mixedName = "MIXED"

    /// The one type, nil when parts differ.
    public var uniformType: SafetensorsType? { types.count == 1 ? types[0] : nil }

    /// `F32`, `BF16`, `F16`, `I8` or `MIXED`.
    public var name: String { uniformType?.name ?? Self.mixedName }

    /// Whether every value keeps every bit.
    public var isExact: Bool { uniformType == .f32 }

    /// The type of one part.
    public func type(ofPart index: Int) -> SafetensorsType { uniformType ?? types[index] }
}

/// Columns of a prompt that are one tensor of the model: what a type is chosen for.
public struct PromptPart: Hashable, Sendable {
    /// `layers.3.key`, `layers.3.value`; `input` for a prompt at the input, `adaption` for gated rows.
    public let name: String
    /// Its columns in the rows of the prompt.
    public let columns: Range<Int>

    /// How many parts there are, without making them.
    public static func count(_ placement: SoftPrompt.Placement, _ shape: ModelShape) -> Int {
        placement == .keysAndValues ? 2 * shape.layerCount : 1
    }

    /// The parts of a prompt, in the order of their columns, which they cover without gaps.
    public static func parts(_ placement: SoftPrompt.Placement, _ shape: ModelShape) -> [PromptPart] {
        switch placement {
        case .inputEmbeddings: return [PromptPart(name: "input", columns: 0..<shape.hiddenSize)]
        case .adaptionPrompt: return [PromptPart(name: "adaption", columns: 0..<AdaptionLayout(shape).columns)]
        case .keysAndValues:
            let layout = PrefixLayout(shape)
            let width = layout.keyValueHeadCount * layout.headDimension
            return (0..<layout.layerCount).flatMap { layer in
                PrefixLayout.Kind.allCases.map { kind in
                    let start = layout.column(layer: layer, kind: kind, head: 0)
                    return PromptPart(
                        name: "layers.\(layer).\(kind == .keys ? "key" : "value")", columns: start..<(start + width))
                }
            }
        }
    }

    /// This part's values out of all rows.
    func gather(_ values: [Float], columnCount: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(values.count / max(1, columnCount) * columns.count)
        for row in stride(from: 0, to: values.count, by: columnCount) {
            result += values[(row + columns.lowerBound)..<(row + columns.upperBound)]
        }
        return result
    }

    /// Puts this part's values back into the rows.
    func scatter(_ part: [Float], into values: inout [Float], columnCount: Int) {
        var next = 0
        for row in stride(from: 0, to: values.count, by: columnCount) {
            for column in columns {
                values[row + column] = part[next]
                next += 1
            }
        }
    }
}
