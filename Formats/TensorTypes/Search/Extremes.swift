/// The value of largest magnitude, with its sign; the first of equals. `count` is a multiple of 8.
///
/// A call of its own, so that what is computed beside it keeps its registers.
@inline(never)
func extreme(of values: UnsafePointer<Float>, count: Int) -> Float {
    let (least, greatest) = laneBounds(of: values, count: count)
    if greatest != -least { return greatest > -least ? greatest : least }
    // Equal magnitudes of either sign (or zeros only): order decides.
    let magnitude = greatest.magnitude
    for j in 0..<count where values[j].magnitude == magnitude { return magnitude == 0 ? 0 : values[j] }
    return 0
}

/// The least and the greatest value. `count` is a multiple of 8.
@inline(never)
func bounds(of values: UnsafePointer<Float>, count: Int) -> (least: Float, greatest: Float) {
    var (least, greatest) = laneBounds(of: values, count: count)
    // Zeros have signs, of which the first stays.
    if least == 0 { least = (0..<count).lazy.map { values[$0] }.first { $0 == 0 } ?? least }
    if greatest == 0 { greatest = (0..<count).lazy.map { values[$0] }.first { $0 == 0 } ?? greatest }
    return (least, greatest)
}

@inline(always)
private func laneBounds(of values: UnsafePointer<Float>, count: Int) -> (least: Float, greatest: Float) {
    var (low, high): (Lanes, Lanes)
    if count == 32 {
        // Without a loop, so that each step is one instruction.
        (low, high) = BlockOf32(values).laneBounds
    } else {
        let source = UnsafeRawPointer(values)
        low = source.loadUnaligned(as: Lanes.self)
        high = low
        for j in stride(from: 8, to: count, by: 8) {
            let lanes = (source + 4 &* j).loadUnaligned(as: Lanes.self)
            low = lanes.lesser(low)
            high = lanes.greater(high)
        }
    }
    return (
        lesser(
            lesser(lesser(low[0], low[4]), lesser(low[1], low[5])),
            lesser(lesser(low[2], low[6]), lesser(low[3], low[7]))),
        greater(
            greater(greater(high[0], high[4]), greater(high[1], high[5])),
            greater(greater(high[2], high[6]), greater(high[3], high[7])))
    )
}

@inline(always) private func lesser(_ a: Float, _ b: Float) -> Float { a < b ? a : b }
@inline(always) private func greater(_ a: Float, _ b: Float) -> Float { a > b ? a : b }
