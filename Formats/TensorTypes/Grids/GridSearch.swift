/// The search for scale, points and signs of one group in IQ2 and IQ3.
///
/// Magnitudes are scaled so that they fall on the odd numbers that levels stand for, rounded, and moved to a near point
/// of the grid where they are none; scales around the plain one are tried, and the one of least weighted error wins.
struct GridSearch {
    /// Which points are rounded again with the scale that was found.
    enum Refinement {
        /// All, always.
        case always
        /// All, if one of them was not on the grid.
        case ifAnyIsOff
        /// Those that were not on the grid.
        case thoseOff
    }

    /// Values of a group: 16 or 32.
    let group: Int
    /// Values of a point: 4 or 8.
    let length: Int
    let topLevel: Int32
    /// Groups of values below this get scale 0.
    let epsilon: Float
    let trials: Int
    let trialStep: Float
    let refinement: Refinement
    /// Whether the number of minus signs of eight values must be even.
    let hasEvenSigns: Bool
    /// Whether the trials start from a least-squares scale instead of the greatest value.
    var startsFromFit = false

    /// What was found, and room to find it.
    struct Space {
        /// Values before; magnitudes (of a negative value where a sign had to give way) after.
        let values: UnsafeMutablePointer<Float>
        let weights: UnsafeMutablePointer<Float>
        let roots: UnsafeMutablePointer<Float>
        let products: UnsafeMutablePointer<Float>
        /// The points, by number.
        let points: UnsafeMutablePointer<UInt16>
        let trialPoints: UnsafeMutablePointer<UInt16>
        /// For each eight values their signs.
        let signs: UnsafeMutablePointer<UInt8>
        let levels: UnsafeMutablePointer<UInt8>

        static func with(_ body: (Space) -> Void) {
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 128) { floats in
                withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 16) { points in
                    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 36) { bytes in
                        let floats = floats.baseAddress!
                        body(
                            Space(
                                values: floats, weights: floats + 32, roots: floats + 64, products: floats + 96,
                                points: points.baseAddress!, trialPoints: points.baseAddress! + 8,
                                signs: bytes.baseAddress!, levels: bytes.baseAddress! + 4))
                    }
                }
            }
        }
    }

    /// The index of a grid, as pointers.
    struct Index {
        let places: UnsafePointer<Int32>
        let neighbours: UnsafePointer<UInt16>
        let odd: UnsafePointer<Float>

        static func with(_ index: GridIndex, _ body: (Index) -> Void) {
            index.places.withUnsafeBufferPointer { places in
                index.neighbours.withUnsafeBufferPointer { neighbours in
                    index.odd.withUnsafeBufferPointer {
                        body(
                            Index(
                                places: places.baseAddress!, neighbours: neighbours.baseAddress!,
                                odd: $0.baseAddress!))
                    }
                }
            }
        }
    }

    /// Copies a group's values and weights; `weight` gives the weight of each value.
    @inline(__always)
    func load(_ source: UnsafePointer<Float>, into space: Space, weight: (Int, Float) -> Float) {
        for i in 0..<group {
            space.values[i] = source[i]
            space.weights[i] = weight(i, source[i])
        }
    }

    /// Finds points and signs for what was loaded, and gives the scale, zero or positive. Nil for a group of zeros,
    /// whose points and signs are not set.
    @inline(__always)
    func fit(_ space: Space, _ index: Index) -> Float? {
        splitSigns(space)
        let x = space.values
        var greatest = x[0]
        for i in 1..<group where x[i] > greatest { greatest = x[i] }
        guard !(greatest < epsilon), greatest != 0 else { return nil }
        for i in 0..<group {
            space.roots[i] = space.weights[i].squareRoot()
            space.products[i] = space.weights[i] * x[i]
        }
        let count = group / length
        let top = Float(2 &* topLevel &+ 1)
        var scale = greatest / top
        if startsFromFit {
            scale = ScaleSearch.positive(
                x, weights: space.weights, count: group, maximum: topLevel &+ 2, levels: space.levels)
            greatest = scale * Float(topLevel &+ 1)
            guard greatest > 0 else { return nil }
        }
        let origin = UInt16(truncatingIfNeeded: index.places[0])
        for k in 0..<count { space.points[k] = origin }
        // Bit k: point k is not on the grid.
        var off: UInt32 = refinement == .ifAnyIsOff ? ~0 : 0
        var best: Float = 0
        for trial in -trials...trials {
            let inverse = (top + Float(trial) * trialStep) / greatest
            let trialScale = 1 / inverse
            var trialOff: UInt32 = 0
            for k in 0..<count {
                let (point, isOff) = snap(k, inverse, trialScale, space, index)
                space.trialPoints[k] = point
                trialOff |= (isOff ? 1 : 0) &<< UInt32(truncatingIfNeeded: k)
            }
            let (sumQX, sumQ2) = sums(space.trialPoints, space, index)
            if sumQ2 > 0, sumQX * sumQX > best * sumQ2 {
                scale = sumQX / sumQ2
                best = scale * sumQX
                off = trialOff
                for k in 0..<count { space.points[k] = space.trialPoints[k] }
            }
        }
        if scale > 0, refinement == .always || off != 0 {
            let inverse = 1 / scale
            for k in 0..<count where refinement != .thoseOff || off &>> UInt32(truncatingIfNeeded: k) & 1 != 0 {
                space.points[k] = snap(k, inverse, scale, space, index).point
            }
            let (sumQX, sumQ2) = sums(space.points, space, index)
            if sumQ2 > 0 { scale = sumQX / sumQ2 }
        }
        if scale < 0 {
            scale = -scale
            for k in 0..<(group / 8) { space.signs[k] = ~space.signs[k] }
        }
        return scale
    }

    /// Makes the values magnitudes and notes their signs. Where their number must be even and is not, the value of
    /// least weight keeps its wrong sign, as a negative magnitude.
    @inline(__always)
    private func splitSigns(_ space: Space) {
        for run in 0..<(group / 8) {
            let x = space.values + 8 &* run
            let weights = space.weights + 8 &* run
            var signs: UInt8 = 0
            var least = 0
            var leastCost = weights[0] * x[0] * x[0]
            for i in 1..<8 where hasEvenSigns {
                let cost = weights[i] * x[i] * x[i]
                if cost < leastCost {
                    leastCost = cost
                    least = i
                }
            }
            for i in 0..<8 where !(x[i] >= 0) {
                x[i] = -x[i]
                signs |= 1 &<< UInt8(truncatingIfNeeded: i)
            }
            if hasEvenSigns, signs.nonzeroBitCount & 1 == 1 {
                x[least] = -x[least]
                signs ^= 1 &<< UInt8(truncatingIfNeeded: least)
            }
            space.signs[run] = signs
        }
    }

    /// The point for the values of run `k`: the levels nearest to them, or the near point of least error.
    @inline(__always)
    private func snap(
        _ k: Int, _ inverse: Float, _ scale: Float, _ space: Space, _ index: Index
    ) -> (point: UInt16, isOff: Bool) {
        let x = space.values + length &* k
        let bits: Int32 = length == 8 ? 2 : 3
        var code: Int32 = 0
        for i in 0..<length {
            let level = max(0, min(topLevel, nearestInteger(0.5 * (inverse * x[i] - 1))))
            code |= level &<< (bits &* Int32(truncatingIfNeeded: i))
        }
        let place = index.places[Int(code)]
        guard place < 0 else { return (UInt16(truncatingIfNeeded: place), false) }
        let neighbours = index.neighbours + Int(-1 &- place)
        let roots = space.roots + length &* k
        var best = Float.greatestFiniteMagnitude
        var point = neighbours[1]
        for j in 1...Int(neighbours[0]) {
            let odd = index.odd + length &* Int(neighbours[j])
            var error: Float = 0
            for i in 0..<length {
                let difference = scale * odd[i] - x[i]
                error += roots[i] * difference * difference
            }
            if error < best {
                best = error
                point = neighbours[j]
            }
        }
        return (point, true)
    }

    @inline(__always)
    private func sums(
        _ points: UnsafePointer<UInt16>, _ space: Space, _ index: Index
    ) -> (sumQX: Float, sumQ2: Float) {
        var sumQX: Float = 0
        var sumQ2: Float = 0
        for k in 0..<(group / length) {
            let odd = index.odd + length &* Int(points[k])
            for i in 0..<length {
                sumQX += space.products[length &* k &+ i] * odd[i]
                sumQ2 += space.weights[length &* k &+ i] * odd[i] * odd[i]
            }
        }
        return (sumQX, sumQ2)
    }

    /// The stored scale, in 0...15, for a group's scale given the reciprocal of the super-block's.
    @inline(__always)
    static func level(_ scale: Float, inverse: Float) -> UInt8 {
        UInt8(truncatingIfNeeded: max(0, min(15, nearestInteger(0.5 * (inverse * scale - 1)))))
    }
}
