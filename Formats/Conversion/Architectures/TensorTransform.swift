/// What happens to a tensor's values between the two forms: rows in another order, the two dimensions exchanged, a
/// constant added. Each has its inverse, so that one description serves both directions.
public struct TensorTransform: Sendable, Hashable {
    /// How rows are rearranged.
    public var order: RowOrder = .same
    /// Whether rows become columns (GPT-2's Conv1D).
    public var transposes = false
    /// Added to every value (Gemma keeps its norm weights less one).
    public var shift: Float = 0

    public static let copy = TensorTransform()
    static func rows(_ order: RowOrder) -> TensorTransform { TensorTransform(order: order) }
    static let transpose = TensorTransform(transposes: true)
    static let addOne = TensorTransform(shift: 1)

    public var inverse: TensorTransform {
        TensorTransform(order: order.inverse, transposes: transposes, shift: -shift)
    }
}

/// An order of a matrix's rows, given by where each row of the result comes from.
public enum RowOrder: Sendable, Hashable {
    case same
    /// From a head's halves (Hugging Face rotates element i with i + n/2) to pairs (2i with 2i + 1).
    case halvesToPairs(heads: Int)
    case pairsToHalves(heads: Int)
    /// From query, key and value of each head in turn to all queries, all keys, all values.
    case headsToProjections(heads: Int)
    case projectionsToHeads(heads: Int)

    var inverse: RowOrder {
        switch self {
        case .same: .same
        case .halvesToPairs(let heads): .pairsToHalves(heads: heads)
        case .pairsToHalves(let heads): .halvesToPairs(heads: heads)
        case .headsToProjections(let heads): .projectionsToHeads(heads: heads)
        case .projectionsToHeads(let heads): .headsToProjections(heads: heads)
        }
    }

    /// The row of the original that becomes row `row` of `count`.
    /// - Precondition: `count` is a multiple of what the order needs; rules give shapes for which it is.
    func source(of row: Int, count: Int) -> Int {
        switch self {
        case .same:
            return row
        case .halvesToPairs(let heads):
            let length = count / heads
            let (head, place) = row.quotientAndRemainder(dividingBy: length)
            return head * length + place % 2 * (length / 2) + place / 2
        case .pairsToHalves(let heads):
            let length = count / heads
            let (head, place) = row.quotientAndRemainder(dividingBy: length)
            let half = length / 2
            return head * length + place % half * 2 + place / half
        case .headsToProjections(let heads):
            let length = count / (3 * heads)
            let (block, place) = row.quotientAndRemainder(dividingBy: length)
            let (projection, head) = block.quotientAndRemainder(dividingBy: heads)
            return (head * 3 + projection) * length + place
        case .projectionsToHeads(let heads):
            let length = count / (3 * heads)
            let (block, place) = row.quotientAndRemainder(dividingBy: length)
            let (head, projection) = block.quotientAndRemainder(dividingBy: 3)
            return (projection * heads + head) * length + place
        }
    }
}
