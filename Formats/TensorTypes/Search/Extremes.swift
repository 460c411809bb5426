/// The value of largest magnitude, with its sign; the first of equals. `count` is a multiple of 8.
@inline(__always)
func extreme(of values: UnsafePointer<Float>, count: Int) -> Float {
    let (least, greatest) = laneBounds(of: values, count: count)
    if greatest > -least { return greatest }
    if greatest < -least { return least }
    // Equal magnitudes of either sign (or zeros only): order decides.
    let magnitude = greatest.magnitude
    for j in 0..<count where values[j].magnitude == magnitude { return magnitude == 0 ? 0 : values[j] }
    return 0
}

/// The least and the greatest value. `count` is a multiple of 8.
@inline(__always)
func bounds(of values: UnsafePointer<Float>, count: Int) -> (least: Float, greatest: Float) {
    var (least, greatest) = laneBounds(of: values, count: count)
    // Zeros have signs, of which the first stays.
    if least == 0 { least = (0..<count).lazy.map { values[$0] }.first { $0 == 0 } ?? least }
    if greatest == 0 { greatest = (0..<count).lazy.map { values[$0] }.first { $0 == 0 } ?? greatest }
    return (least, greatest)
}

@inline(__always)
private func laneBounds(of values: UnsafePointer<Float>, count: Int) -> (least: Float, greatest: Float) {
    let source = UnsafeRawPointer(values)
    var low = source.loadUnaligned(as: Lanes.self)
    var high = low
    for j in stride(from: 8, to: count, by: 8) {
        let lanes = (source + 4 &* j).loadUnaligned(as: Lanes.self)
        low = lanes.least(low)
        high = lanes.greatest(high)
    }
    var low4 = low.lowHalf, high4 = high.lowHalf
    low4.replace(with: low.highHalf, where: low.highHalf .< low4)
    high4.replace(with: high.highHalf, where: high.highHalf .> high4)
    return (
        min(min(low4[0], low4[1]), min(low4[2], low4[3])), max(max(high4[0], high4[1]), max(high4[2], high4[3]))
    )
}
