/// The search for a scale without a minimum, `value ≈ scale · level` with levels in `-maximum ..< maximum`, for eight
/// groups at once. The scale may be negative: the value of largest magnitude lands near `-maximum`.
struct SymmetricSearch {
    let maximum: Float

    struct Fit {
        var scale = Lanes.zero
        /// The levels found are `value * inverse`, rounded and clamped.
        var inverse = Lanes.zero
        /// Groups whose values are all below 1e-15: their levels are stored as 0, which stands for `-maximum`, with
        /// scale 0.
        var isZero = LaneMask(repeating: false)
    }

    /// Tries the plain scale and 18 around it; the one of least weighted error wins.
    /// - Parameters:
    ///   - space: values and weights of groups of `count`. The scratch is overwritten.
    @inline(__always)
    func fit(_ space: LaneSpace, count: Int) -> Fit {
        let x = space.values, weights = space.weights, weightedX = space.scratch
        let largest = Self.extreme(x, count: count)
        for i in 0..<count { weightedX[i] = weights[i] * x[i] }
        var fit = Fit()
        fit.isZero = largest.absolute .< Lanes(repeating: 1e-15)
        var best = Lanes.zero
        for trial in -1..<18 {
            let step: Float = trial < 0 ? 0 : Float(trial < 9 ? trial &- 9 : trial &- 8)
            let inverse = Lanes(repeating: -(maximum + 0.1 * step)) / largest
            var sumLX = Lanes.zero
            var sumL2 = Lanes.zero
            for i in 0..<count {
                // No product exceeds `maximum` + 1, so the quick way to round will do (zero groups do not matter).
                let level = (inverse * x[i]).nearestSmall.clamped(-maximum, maximum - 1)
                sumLX += weightedX[i] * level
                sumL2 += weights[i] * level * level
            }
            let scale = sumLX / sumL2
            if trial < 0 {
                fit.inverse = inverse
                fit.scale = scale.replacing(with: 0, where: sumL2 .== Lanes.zero)
                best = fit.scale * sumLX
            } else {
                let isBetter = (sumL2 .> Lanes.zero) .& (sumLX * sumLX .> best * sumL2)
                fit.inverse.replace(with: inverse, where: isBetter)
                fit.scale.replace(with: scale, where: isBetter)
                best.replace(with: scale * sumLX, where: isBetter)
            }
        }
        fit.scale.replace(with: 0, where: fit.isZero)
        return fit
    }

    /// The level, counted from 0, that the search gave to a value of group `lane`.
    @inline(__always)
    func level(_ value: Float, _ fit: Fit, lane: Int) -> UInt8 {
        guard !fit.isZero[lane] else { return 0 }
        let top = Int32(maximum)
        let level = max(-top, min(top &- 1, nearestInteger(fit.inverse[lane] * value)))
        return UInt8(truncatingIfNeeded: level &+ top)
    }

    /// The value of largest magnitude in each lane, with its sign; the first of equals.
    @inline(__always)
    static func extreme(_ x: UnsafePointer<Lanes>, count: Int) -> Lanes {
        var magnitude = Lanes.zero
        var value = Lanes.zero
        for i in 0..<count {
            let isLarger = x[i].absolute .> magnitude
            magnitude.replace(with: x[i].absolute, where: isLarger)
            value.replace(with: x[i], where: isLarger)
        }
        return value
    }
}
