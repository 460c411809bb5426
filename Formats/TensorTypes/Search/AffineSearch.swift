/// The search for a scale and a minimum, `value ≈ scale · level - minimum`, for eight groups at once.
///
/// Scales around the plain one are tried; for each, levels are rounded and weighted least squares gives scale and
/// minimum; the one of least weighted error wins. Sums run in ggml's order, without fused operations.
struct AffineSearch {
    /// The highest level.
    let maximum: Float
    let firstTrial: Float
    let trialStep: Float
    /// Trials after the first.
    let trials: Int
    /// Whether errors count by magnitude instead of by square.
    let absoluteError: Bool

    struct Fit {
        var scale = Lanes.zero
        /// What is subtracted: zero or positive.
        var minimum = Lanes.zero
        /// The levels found are `(value - offset) * inverse`, rounded and clamped; all zero where `inverse` is.
        var inverse = Lanes.zero
        var offset = Lanes.zero
    }

    /// - Parameters:
    ///   - space: values and weights of groups of `count`.
    @inline(__always)
    func fit(_ space: LaneSpace, count: Int) -> Fit {
        let x = space.values, weights = space.weights, levels = space.scratch
        var least = x[0]
        var greatest = x[0]
        var sumW = weights[0]
        var sumX = sumW * x[0]
        for i in 1..<count {
            least = x[i].least(least)
            greatest = x[i].greatest(greatest)
            let w = weights[i]
            sumW += w
            sumX += w * x[i]
        }
        least.replace(with: 0, where: least .> Lanes.zero)
        let isFlat = greatest .== least

        let top = Lanes(repeating: maximum)
        var minimum = least
        var fit = Fit(inverse: top / (greatest - least), offset: least)
        fit.scale = Lanes(repeating: 1) / fit.inverse
        var bestError = Lanes.zero
        for i in 0..<count {
            let level = (fit.inverse * (x[i] - least)).nearest.clamped(0, maximum)
            let difference = fit.scale * level + least - x[i]
            bestError += weights[i] * (absoluteError ? difference.absolute : difference * difference)
        }
        for step in 0...trials {
            // The trials start from the best minimum so far, as ggml's do.
            let inverse = Lanes(repeating: firstTrial + trialStep * Float(step) + maximum) / (greatest - minimum)
            var sumL = Lanes.zero
            var sumL2 = Lanes.zero
            var sumXL = Lanes.zero
            for i in 0..<count {
                let level = (inverse * (x[i] - minimum)).nearest.clamped(0, maximum)
                levels[i] = level
                let weighted = weights[i] * level
                sumL += weighted
                sumL2 += weighted * level
                sumXL += weighted * x[i]
            }
            let determinant = sumW * sumL2 - sumL * sumL
            var trialScale = (sumW * sumXL - sumX * sumL) / determinant
            var trialMinimum = (sumL2 * sumX - sumL * sumXL) / determinant
            let isPositive = trialMinimum .> Lanes.zero
            trialMinimum.replace(with: 0, where: isPositive)
            trialScale.replace(with: sumXL / sumL2, where: isPositive)
            var error = Lanes.zero
            for i in 0..<count {
                let difference = trialScale * levels[i] + trialMinimum - x[i]
                error += weights[i] * (absoluteError ? difference.absolute : difference * difference)
            }
            let isBetter = (determinant .> Lanes.zero) .& (error .< bestError)
            bestError.replace(with: error, where: isBetter)
            fit.scale.replace(with: trialScale, where: isBetter)
            fit.inverse.replace(with: inverse, where: isBetter)
            fit.offset.replace(with: minimum, where: isBetter)
            minimum.replace(with: trialMinimum, where: isBetter)
        }
        fit.scale.replace(with: 0, where: isFlat)
        fit.inverse.replace(with: 0, where: isFlat)
        fit.minimum = minimum.replacing(with: least, where: isFlat).negated
        return fit
    }

    /// The level that the search gave to a value of group `lane`.
    @inline(__always)
    func level(_ value: Float, _ fit: Fit, lane: Int) -> UInt8 {
        guard fit.inverse[lane] != 0 else { return 0 }
        let level = nearestInteger(fit.inverse[lane] * (value - fit.offset[lane]))
        return UInt8(truncatingIfNeeded: max(0, min(Int32(maximum), level)))
    }
}
