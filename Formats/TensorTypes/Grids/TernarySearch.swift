/// What IQ1_S and IQ1_M share: values rounded to -1, 0 or 1, plus or minus an eighth, times a scale.
///
/// With three levels the best rounding can be found outright: in ascending order of values it is a matter of two
/// borders, and sums up to them give the error of any two. Eight groups are searched at once.
enum TernarySearch {
    static let shift: Float = 0.125

    /// Eight groups of up to 32 values, their order and what was found.
    struct Space {
        let lanes: LaneSpace
        /// Room for prefix sums in ascending order of values: 33 vectors each (IQ1_S).
        let products: UnsafeMutablePointer<Lanes>
        let weights: UnsafeMutablePointer<Lanes>
        /// By rank and lane: which value it is.
        let order: UnsafeMutablePointer<SIMD8<UInt8>>

        static func with(_ body: (Space) -> Void) {
            LaneSpace.with(count: 32) { lanes in
                withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 66) { sums in
                    withUnsafeTemporaryAllocation(of: SIMD8<UInt8>.self, capacity: 32) { order in
                        let sums = sums.baseAddress!
                        body(
                            Space(
                                lanes: lanes, products: sums, weights: sums + 33, order: order.baseAddress!))
                    }
                }
            }
        }

        /// Notes the ascending order of each group's values; equal ones keep theirs.
        func sort(count: Int) {
            for lane in 0..<8 {
                for i in 0..<count {
                    let value = lanes.values[i][lane]
                    var rank = i
                    while rank > 0 {
                        let before = order[rank &- 1][lane]
                        guard lanes.values[Int(before)][lane] > value else { break }
                        order[rank][lane] = before
                        rank &-= 1
                    }
                    order[rank][lane] = UInt8(truncatingIfNeeded: i)
                }
            }
        }
    }

    /// The best borders, the scale they give (negative when all levels are to be turned around), and a variant of
    /// shifts. Lanes without any have variant -1.
    struct Fit {
        var scale = Lanes.zero
        var first = SIMD8<Int32>.zero
        var second = SIMD8<Int32>.zero
        var variant = SIMD8<Int32>(repeating: -1)
        fileprivate var best = Lanes(repeating: -Float.greatestFiniteMagnitude)

        @inline(__always)
        mutating func consider(_ sumQX: Lanes, _ sumQ2: Lanes, _ first: Int32, _ second: Int32, variant: Int32) {
            let isBetter = (sumQ2 .> Lanes.zero) .& (sumQX * sumQX .> best * sumQ2)
            let scale = sumQX / sumQ2
            self.scale.replace(with: scale, where: isBetter)
            best.replace(with: scale * sumQX, where: isBetter)
            self.first.replace(with: first, where: isBetter)
            self.second.replace(with: second, where: isBetter)
            self.variant.replace(with: variant, where: isBetter)
        }
    }

    /// The greatest magnitude in each lane.
    @inline(__always)
    static func greatest(_ space: Space, count: Int) -> Lanes {
        var greatest = space.lanes.values[0].absolute
        for i in 1..<count { greatest = greatest.greatest(space.lanes.values[i].absolute) }
        return greatest
    }

    /// The combination of levels of eight values of a group, counted from 0.
    @inline(__always)
    static func code(_ levels: UnsafePointer<UInt8>) -> Int {
        var code = 0
        for i in 0..<8 { code |= Int(levels[i]) &<< (2 &* i) }
        return code
    }

    /// The levels of a group, in the order of its values.
    @inline(__always)
    static func levels(_ space: Space, _ fit: Fit, lane: Int, count: Int, into levels: UnsafeMutablePointer<UInt8>) {
        let isTurned = fit.scale[lane] < 0
        for rank in 0..<count {
            let level: UInt8 = rank < Int(fit.first[lane]) ? 0 : rank < Int(fit.second[lane]) ? 1 : 2
            levels[Int(space.order[rank][lane])] = isTurned ? 2 &- level : level
        }
    }

    /// The point for a combination, or the near point of least error.
    @inline(__always)
    static func snap(
        _ code: Int, values: UnsafePointer<Float>, weights: UnsafePointer<Float>, scale: Float, shift: Float,
        _ index: GridSearch.Index
    ) -> (point: Int, isOff: Bool) {
        let place = index.places[code]
        guard place < 0 else { return (Int(place), false) }
        let neighbours = index.neighbours + Int(-1 &- place)
        var best = Float.greatestFiniteMagnitude
        var point = neighbours[1]
        for j in 1...Int(neighbours[0]) {
            let odd = index.odd + 8 &* Int(neighbours[j])
            var error: Float = 0
            for i in 0..<8 {
                let difference = scale * value(odd[i], shift) - values[i]
                error += weights[i] * difference * difference
            }
            if error < best {
                best = error
                point = neighbours[j]
            }
        }
        return (Int(point), true)
    }

    /// Adds what eight values contribute to the weighted least-squares scale of their point.
    @inline(__always)
    static func add(
        point: Int, values: UnsafePointer<Float>, weights: UnsafePointer<Float>, shift: Float, factor: Float = 1,
        _ index: GridSearch.Index, to sumQX: inout Float, _ sumQ2: inout Float
    ) {
        for i in 0..<8 {
            let q = value(index.odd[8 &* point &+ i], shift) * factor
            sumQX += weights[i] * q * values[i]
            sumQ2 += weights[i] * q * q
        }
    }

    /// -1, 0 or 1 plus the shift, from the 1, 3 or 5 in the index.
    @inline(__always)
    private static func value(_ odd: Float, _ shift: Float) -> Float { (odd - 3) * 0.5 + shift }

    /// The stored scale, in 0...7.
    @inline(__always)
    static func level(_ scale: Float, inverse: Float) -> Int32 {
        max(0, min(7, nearestInteger(0.5 * (inverse * scale - 1))))
    }
}
