import Dispatch
import Synchronization
import TensorTypes

/// How far the numbers of one tensor are from those of another. Sums are doubles; pairs with a NaN or infinity are counted
/// and otherwise left out, unless both are the same.
public struct ErrorMeasure: Sendable, Equatable {
    /// Pairs compared.
    public private(set) var count = 0
    /// Pairs in which a side is NaN or infinite and the other is not the same.
    public private(set) var notFinite = 0
    public private(set) var greatest: Double = 0
    /// Where ``greatest`` is; nil when all is equal.
    public private(set) var position: Int?
    private var differenceSquares = 0.0
    private var leftSquares = 0.0
    private var rightSquares = 0.0
    private var products = 0.0

    init() {}

    /// Root of the mean square of the differences.
    public var rootMeanSquare: Double { count == 0 ? 0 : (differenceSquares / Double(count)).squareRoot() }
    /// The root mean square error by the root mean square of the left side; 0 when both are zero.
    public var relative: Double {
        differenceSquares == 0 ? 0 : leftSquares == 0 ? .infinity : (differenceSquares / leftSquares).squareRoot()
    }
    /// Of the angle between both, seen as vectors; 1 when both are zero.
    public var cosine: Double {
        if leftSquares == 0 && rightSquares == 0 { return 1 }
        guard leftSquares > 0, rightSquares > 0 else { return 0 }
        return products / (leftSquares.squareRoot() * rightSquares.squareRoot())
    }
    /// Whether every pair is equal.
    public var isExact: Bool { differenceSquares == 0 && greatest == 0 && notFinite == 0 }

    mutating func add(_ other: ErrorMeasure) {
        count += other.count
        notFinite += other.notFinite
        differenceSquares += other.differenceSquares
        leftSquares += other.leftSquares
        rightSquares += other.rightSquares
        products += other.products
        if other.greatest > greatest {
            greatest = other.greatest
            position = other.position
        }
    }

    /// Values decoded at a time, of each side.
    private static let piece = 16384

    /// Compares two tensors of `count` values, pieces of them on several threads. The result does not depend on their
    /// number.
    init(
        _ left: UnsafeRawBufferPointer, _ leftType: TensorType, _ right: UnsafeRawBufferPointer,
        _ rightType: TensorType,
        count: Int
    ) {
        // Sound: read only, and lent for the duration of this call.
        nonisolated(unsafe) let left = left
        nonisolated(unsafe) let right = right
        let pieces = (count + Self.piece - 1) / Self.piece
        let results = Mutex([ErrorMeasure](repeating: ErrorMeasure(), count: pieces))
        DispatchQueue.concurrentPerform(iterations: pieces) { piece in
            let range = piece * Self.piece..<min((piece + 1) * Self.piece, count)
            let measure = withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * Self.piece) { memory in
                let a = UnsafeMutableBufferPointer(rebasing: memory[..<Self.piece])
                let b = UnsafeMutableBufferPointer(rebasing: memory[Self.piece...])
                leftType.decode(Self.bytes(left, leftType, range), into: a)
                rightType.decode(Self.bytes(right, rightType, range), into: b)
                return ErrorMeasure(
                    UnsafeBufferPointer(rebasing: a[..<range.count]), UnsafeBufferPointer(rebasing: b[..<range.count]),
                    first: range.lowerBound)
            }
            results.withLock { $0[piece] = measure }
        }
        for measure in results.withLock({ $0 }) { add(measure) }
    }

    private static func bytes(
        _ all: UnsafeRawBufferPointer, _ type: TensorType, _ range: Range<Int>
    ) -> UnsafeRawBufferPointer {
        let start = range.lowerBound / type.blockSize * type.bytesPerBlock
        let end = range.upperBound / type.blockSize * type.bytesPerBlock
        return UnsafeRawBufferPointer(rebasing: all[start..<end])
    }

    private init(_ left: UnsafeBufferPointer<Float>, _ right: UnsafeBufferPointer<Float>, first: Int) {
        count = left.count
        for index in 0..<left.count {
            let a = Double(left[index]), b = Double(right[index])
            let difference = (a - b).magnitude
            guard difference.isFinite else {
                if !(a == b || (a.isNaN && b.isNaN)) { notFinite += 1 }
                continue
            }
            differenceSquares += difference * difference
            leftSquares += a * a
            rightSquares += b * b
            products += a * b
            if difference > greatest {
                greatest = difference
                position = first + index
            }
        }
    }
}
