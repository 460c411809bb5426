/// Rounds the scales of a super-block's groups to whole multiples of one number, minding how much each group weighs.
enum ScaleSearch {
    /// Levels in `0...maximum` for values that are zero or positive; gives the number they multiply. For up to 32
    /// values.
    static func positive(
        _ x: UnsafePointer<Float>, weights: UnsafePointer<Float>, count: Int, maximum: Int32,
        levels: UnsafeMutablePointer<UInt8>
    ) -> Float {
        var greatest: Float = 0
        for i in 0..<count where x[i] > greatest { greatest = x[i] }
        guard greatest >= 1e-15 else {
            for i in 0..<count { levels[i] = 0 }
            return 0
        }
        let top = Float(maximum)
        var inverse = top / greatest
        var bestError: Float = 0
        let plain = 1 / inverse
        for i in 0..<count {
            // Stored in a byte by ggml before it is used.
            let level = UInt8(truncatingIfNeeded: nearestInteger(inverse * x[i]))
            let difference = x[i] - plain * Float(Int32(level))
            bestError += weights[i] * difference * difference
        }
        for trial in -4...4 where trial != 0 {
            let trialInverse = (0.1 * Float(trial) + top) / greatest
            let scale = 1 / trialInverse
            var error: Float = 0
            for i in 0..<count {
                let difference = x[i] - scale * Float(min(maximum, nearestInteger(trialInverse * x[i])))
                error += weights[i] * difference * difference
            }
            if error < bestError {
                bestError = error
                inverse = trialInverse
            }
        }
        var sumLX: Float = 0
        var sumL2: Float = 0
        for i in 0..<count {
            let level = min(maximum, nearestInteger(inverse * x[i]))
            levels[i] = UInt8(truncatingIfNeeded: level)
            sumLX += weights[i] * x[i] * Float(level)
            sumL2 += weights[i] * Float(level) * Float(level)
        }
        for _ in 0..<5 {
            var hasChanged = false
            for i in 0..<count {
                let w = weights[i]
                let old = Int32(levels[i])
                var newLX = sumLX - w * x[i] * Float(old)
                var newL2 = sumL2 - w * Float(old) * Float(old)
                guard newLX > 0, newL2 > 0 else { continue }
                let level = min(maximum, nearestInteger(x[i] * newL2 / newLX))
                guard level != old else { continue }
                newLX += w * x[i] * Float(level)
                newL2 += w * Float(level) * Float(level)
                guard newLX * newLX * sumL2 > sumLX * sumLX * newL2 else { continue }
                levels[i] = UInt8(truncatingIfNeeded: level)
                sumLX = newLX
                sumL2 = newL2
                hasChanged = true
            }
            if !hasChanged { break }
        }
        return sumL2 > 0 ? sumLX / sumL2 : 0
    }

    /// Levels, counted from 0, in `0 ..< 2 * maximum` with `maximum` standing for 0; as ``SymmetricSearch``, of one
    /// group.
    static func symmetric(
        _ x: UnsafePointer<Float>, weights: UnsafePointer<Float>, count: Int, maximum: Int32,
        levels: UnsafeMutablePointer<UInt8>
    ) -> Float {
        let largest = extreme(of: x, count: count)
        guard largest.magnitude >= 1e-15 else {
            for i in 0..<count { levels[i] = 0 }
            return 0
        }
        func level(_ value: Float, _ inverse: Float) -> Int32 {
            max(-maximum, min(maximum &- 1, nearestInteger(inverse * value)))
        }
        let top = Float(maximum)
        var scale: Float = 0
        var best: Float = 0
        var bestInverse: Float = 0
        for trial in -1..<18 {
            let step: Float = trial < 0 ? 0 : Float(trial < 9 ? trial &- 9 : trial &- 8)
            let inverse = -(top + 0.1 * step) / largest
            var sumLX: Float = 0
            var sumL2: Float = 0
            for i in 0..<count {
                let l = Float(level(x[i], inverse))
                sumLX += weights[i] * x[i] * l
                sumL2 += weights[i] * l * l
            }
            guard trial < 0 || (sumL2 > 0 && sumLX * sumLX > best * sumL2) else { continue }
            bestInverse = inverse
            scale = sumL2 != 0 ? sumLX / sumL2 : 0
            best = scale * sumLX
        }
        for i in 0..<count { levels[i] = UInt8(truncatingIfNeeded: level(x[i], bestInverse) &+ maximum) }
        return scale
    }
}
