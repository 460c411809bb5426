import ByteIO

/// Bounds of a number, and GBNF for the decimal numbers within them.
struct NumberBounds {
    private var lower: Double?
    private var upper: Double?
    private var lowerIsOpen = false
    private var upperIsOpen = false

    /// Bounds beyond this are refused: digits of doubles end here.
    private static let highest = 1e15
    private static let digits = 16

    var isGiven: Bool { lower != nil || upper != nil }

    /// - Throws: `GrammarError` for bounds that are no numbers, too large, or exclude everything.
    init(_ object: JSONObject, _ place: String) throws(GrammarError) {
        func number(_ key: String) throws(GrammarError) -> Double? {
            guard let value = object[key], value.boolValue == nil else { return nil }
            guard let number = value.doubleValue else {
                throw GrammarError(.schema, "\(place)/\(key): this is a number, not \(value.kind)")
            }
            guard abs(number) <= Self.highest else {
                throw GrammarError(.limit, "\(place)/\(key): bounds beyond ±10^15 are not offered")
            }
            return number
        }
        lower = try number("minimum")
        upper = try number("maximum")
        // In draft 4 the exclusive forms are flags beside the others.
        lowerIsOpen = lower != nil && object["exclusiveMinimum"]?.boolValue == true
        upperIsOpen = upper != nil && object["exclusiveMaximum"]?.boolValue == true
        if let open = try number("exclusiveMinimum"), open >= lower ?? -.infinity {
            (lower, lowerIsOpen) = (open, true)
        }
        if let open = try number("exclusiveMaximum"), open <= upper ?? .infinity { (upper, upperIsOpen) = (open, true) }
        if let lower, let upper, lower > upper || (lower == upper && (lowerIsOpen || upperIsOpen)) {
            throw GrammarError(.schema, "\(place): no number lies within the bounds")
        }
    }

    // MARK: - Integers

    /// Integers within the bounds.
    func integers(_ place: String) throws(GrammarError) -> String {
        let low = lower.map { bound in
            let up = bound.rounded(.up)
            return Int(lowerIsOpen && up == bound ? up + 1 : up)
        }
        let high = upper.map { bound in
            let down = bound.rounded(.down)
            return Int(upperIsOpen && down == bound ? down - 1 : down)
        }
        if let low, let high, low > high { throw GrammarError(.schema, "\(place): no integer lies within the bounds") }
        var parts: [String] = []
        if low ?? -1 < 0 {
            let least = max(1, high.map { -$0 } ?? 1)
            parts.append("\"-\" (\(Self.wholes(least, low.map { -$0 })))")
        }
        if high ?? 1 >= 0 { parts.append(Self.wholes(max(0, low ?? 0), high)) }
        return parts.joined(separator: " | ")
    }

    /// Whole numbers from `low` to `high` without leading zeros; `high` nil: as many digits as are written.
    static func wholes(_ low: Int, _ high: Int?) -> String {
        var parts: [String] = []
        var low = low
        if low == 0 {
            parts.append("\"0\"")
            low = 1
        }
        while high == nil || low <= high! {
            let text = String(low)
            if high == nil, low == power(text.count - 1) {
                parts.append("[1-9] [0-9]{\(text.count - 1),\(digits - 1)}")
                break
            }
            let last = min(power(text.count) - 1, high ?? .max)
            parts.append(sameLength(Array(text.utf8), Array(String(last).utf8)))
            low = last + 1
        }
        return parts.joined(separator: " | ")
    }

    private static func power(_ exponent: Int) -> Int { (0..<exponent).reduce(1) { value, _ in value * 10 } }

    /// Digit strings of one length from `a` to `b`.
    private static func sameLength(_ a: [UInt8], _ b: [UInt8]) -> String {
        func digit(_ low: UInt8, _ high: UInt8) -> String {
            let text = { (d: UInt8) in String(UnicodeScalar(d)) }
            return low == high ? "\"\(text(low))\"" : "[\(text(low))-\(text(high))]"
        }
        guard let first = a.first, let last = b.first else { return "" }
        let (zero, nine) = (UInt8(ascii: "0"), UInt8(ascii: "9"))
        let (tailA, tailB) = (Array(a.dropFirst()), Array(b.dropFirst()))
        let free = tailA.isEmpty ? "" : " [0-9]{\(tailA.count)}"
        if tailA.allSatisfy({ $0 == zero }), tailB.allSatisfy({ $0 == nine }) { return digit(first, last) + free }
        if first == last { return "\(digit(first, first)) (\(sameLength(tailA, tailB)))" }
        var parts: [String] = []
        var (low, high) = (first, last)
        if !tailA.allSatisfy({ $0 == zero }) {
            parts.append("\(digit(first, first)) (\(sameLength(tailA, tailA.map { _ in nine })))")
            low += 1
        }
        var end = ""
        if !tailB.allSatisfy({ $0 == nine }) {
            end = "\(digit(last, last)) (\(sameLength(tailB.map { _ in zero }, tailB)))"
            high -= 1
        }
        if low <= high { parts.append(digit(low, high) + free) }
        if !end.isEmpty { parts.append(end) }
        return parts.joined(separator: " | ")
    }

    // MARK: - Numbers

    /// Decimal numbers within whole bounds.
    func numbers(_ place: String) throws(GrammarError) -> String {
        for bound in [lower, upper] {
            if let bound, bound != bound.rounded() {
                throw GrammarError(
                    .unsupported, "\(place): the bound \(bound) of a number is no whole number; only those are offered")
            }
        }
        var parts: [String] = []
        if lower ?? -1 < 0 {
            // −x with x from the upper bound's to the lower bound's distance from zero.
            let near = max(0, -(upper ?? 0))
            let isOpen = upper ?? 1 <= 0 && upperIsOpen
            parts.append("\"-\" (\(Self.magnitudes(near, isOpen, lower.map { -$0 }, lowerIsOpen)))")
        }
        if upper ?? 1 > 0 || (upper == 0 && !upperIsOpen) {
            parts.append(Self.magnitudes(max(0, lower ?? 0), lower ?? -1 >= 0 && lowerIsOpen, upper, upperIsOpen))
        }
        return parts.filter { !$0.isEmpty }.joined(separator: " | ")
    }

    /// Decimal numbers from `low` to `high`, both whole, open or closed.
    private static func magnitudes(_ low: Double, _ lowIsOpen: Bool, _ high: Double?, _ highIsOpen: Bool) -> String {
        let fraction = "(\".\" [0-9]{1,\(digits)})?"
        var parts: [String] = []
        var first = Int(low)
        let last = high.map { Int($0) }
        if lowIsOpen {
            if last.map({ first < $0 }) ?? true {
                parts.append("\"\(first)\" \".\" [0-9]{0,\(digits - 1)} [1-9]")
            }
            first += 1
        }
        if last.map({ first < $0 }) ?? true {
            parts.append("(\(wholes(first, last.map { $0 - 1 }))) \(fraction)")
        }
        if let last, !highIsOpen, !(lowIsOpen && last < first) {
            parts.append("\"\(last)\" (\".\" \"0\"{1,\(digits)})?")
        }
        return parts.joined(separator: " | ")
    }
}
