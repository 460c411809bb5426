/// The search of Q3_K without an importance: levels in `-4 ..< 4`, improved one at a time while the rest stay.
enum DescentSearch {
    struct Fit {
        var scale = Lanes.zero
        var isZero = LaneMask(repeating: false)
    }

    /// - Parameters:
    ///   - space: values of groups of `count`. The scratch receives the levels found.
    @inline(__always)
    static func fit(_ space: LaneSpace, count: Int) -> Fit {
        let x = space.values, levels = space.scratch
        let largest = SymmetricSearch.extreme(x, count: count)
        let inverse = Lanes(repeating: -4) / largest
        var sumLX = Lanes.zero
        var sumL2 = Lanes.zero
        for i in 0..<count {
            let level = (inverse * x[i]).nearest.clamped(-4, 3)
            levels[i] = level
            let w = x[i] * x[i]
            sumLX += w * x[i] * level
            sumL2 += w * level * level
        }
        for _ in 0..<5 {
            var anyChanged = LaneMask(repeating: false)
            for i in 0..<count {
                let w = x[i] * x[i]
                let old = levels[i]
                // Sums without this value, and with its best level given the others.
                let restLX = sumLX - w * x[i] * old
                let restL2 = sumL2 - w * old * old
                let level = (x[i] * restL2 / restLX).nearest.clamped(-4, 3)
                let newLX = restLX + w * x[i] * level
                let newL2 = restL2 + w * level * level
                let isBetter =
                    (restLX .> Lanes.zero) .& (level .!= old) .& (newL2 .> Lanes.zero)
                    .& (newLX * newLX * sumL2 .> sumLX * sumLX * newL2)
                levels[i] = old.replacing(with: level, where: isBetter)
                sumLX.replace(with: newLX, where: isBetter)
                sumL2.replace(with: newL2, where: isBetter)
                anyChanged = anyChanged .| isBetter
            }
            // A lane that did not change in a whole pass will not change in another.
            if !any(anyChanged) { break }
        }
        var fit = Fit()
        fit.isZero = largest.absolute .< Lanes(repeating: 1e-15)
        fit.scale = (sumLX / sumL2).replacing(with: 0, where: fit.isZero .| .!(sumL2 .> Lanes.zero))
        return fit
    }

    /// The level, counted from 0, that the search gave to value `index` of group `lane`.
    @inline(__always)
    static func level(_ space: LaneSpace, _ fit: Fit, index: Int, lane: Int) -> UInt8 {
        fit.isZero[lane] ? 0 : UInt8(truncatingIfNeeded: Int32(space.scratch[index][lane]) &+ 4)
    }
}
