/// Int8 values in groups that share a scale: `value = code · scale`, codes in -127…127.
///
/// A group is what lives in one space: a virtual token's whole vector at the input, one head's key or value in a cache.
/// The scale is the group's largest magnitude over 127, so that nothing is cut off and the error of a value is at most
/// half a scale (plus rounding to F32). A group of zeros has scale 0.
enum RowQuantization {
    /// Follows the name of a tensor of codes in that of its scales.
    static let scaleSuffix = ".scale"

    /// Values that share a scale.
    static func groupSize(_ placement: SoftPrompt.Placement, _ shape: ModelShape) -> Int {
        switch placement {
        case .inputEmbeddings: shape.hiddenSize
        case .keysAndValues: shape.headDimension
        case .adaptionPrompt: shape.hiddenSize + 1
        }
    }

    /// - Parameter values: finite, a multiple of `group` of them.
    static func quantize(_ values: [Float], group: Int) -> (codes: [UInt8], scales: [Float]) {
        precondition(group > 0 && values.count % group == 0, "values must fill whole groups")
        var codes: [UInt8] = []
        var scales: [Float] = []
        codes.reserveCapacity(values.count)
        scales.reserveCapacity(values.count / group)
        for start in stride(from: 0, to: values.count, by: group) {
            let part = values[start..<(start + group)]
            let scale = (part.lazy.map(\.magnitude).max() ?? 0) / 127
            scales.append(scale)
            for value in part {
                // A scale below the smallest normal number could make the quotient infinite.
                let quotient = scale > 0 ? (value / scale).rounded(.toNearestOrEven) : 0
                codes.append(UInt8(bitPattern: Int8(max(-127, min(127, quotient)))))
            }
        }
        return (codes, scales)
    }

    static func dequantize(_ codes: some Collection<UInt8>, scales: [Float], group: Int) -> [Float] {
        precondition(group > 0 && codes.count == scales.count * group, "codes must fill the groups of the scales")
        var values: [Float] = []
        values.reserveCapacity(codes.count)
        for (index, code) in codes.enumerated() { values.append(Float(Int8(bitPattern: code)) * scales[index / group]) }
        return values
    }
}
