import CKernels
import Testing

@testable import Kernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

extension Double {
    /// e^x; spelled out so that test files need one import of the C library only.
    static func exponential(_ x: Double) -> Double { exp(x) }
}

/// Every operation on every row of the table against a plain computation in doubles.
@Suite struct VectorMathTests {
    static let counts = [1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 100, 325]
    /// Element-wise operations: a few roundings, and the exponential's 2e-7.
    static let elementTolerance = 1e-6
    /// Reductions over up to 325 values.
    static let sumTolerance = 3e-6
    /// Central differences of doubles with a step of 1e-4, compared with F32 results.
    static let gradientTolerance = 2e-4

    static let rows = MatrixProductTests.rowNames
    static func kernels(_ name: String) -> ck_table_row { MatrixProductTests.table(name).row.pointee }

    func inputs(_ n: Int, _ seed: UInt64) -> (x: [Float], y: [Float], z: [Float]) {
        var generator = SeededGenerator(seed)
        return (
            randomFloats(n, &generator, scale: 3), randomFloats(n, &generator), randomFloats(n, &generator)
        )
    }

    @Test("Sums, scalings and extremes", arguments: rows)
    func reductions(row: String) {
        let k = Self.kernels(row)
        for n in Self.counts {
            let (x, y, _) = inputs(n, UInt64(n))
            let dot = zip(x, y).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            expectClose([k.dot(x, y, n)], [dot], magnitudes: [Double(n)], tolerance: Self.sumTolerance)
            #expect(k.max_abs(x, n) == x.map(abs).max()!)
            #expect(k.argmax(x, n) == x.firstIndex(of: x.max()!)!)
            var a = y, b = y, c = y
            k.axpy(0.5, x, &a, n)
            k.scale(-3, &b, n)
            k.add(x, &c, n)
            for i in 0..<n {
                #expect(abs(a[i] - (y[i] + 0.5 * x[i])) < 1e-6)
                #expect(b[i] == -3 * y[i])
                #expect(c[i] == y[i] + x[i])
            }
        }
        #expect(k.dot([], [], 0) == 0 && k.argmax([], 0) == 0 && k.max_abs([], 0) == 0)
        #expect(k.argmax([.nan, -5, 2, 2, .nan], 5) == 2)
        #expect(k.max_abs([1, .nan, .infinity], 3).isNaN)
    }

    @Test("Softmax, log-sum-exp and their gradient", arguments: rows)
    func softmax(row: String) {
        let k = Self.kernels(row)
        for n in Self.counts {
            let (x, y, _) = inputs(n, UInt64(n) + 50)
            for shift: Float in [0, 500, -500] {
                let moved = x.map { $0 * 5 + shift }
                let largest = Double(moved.max()!)
                let powers = moved.map { Double.exponential(Double($0) - largest) }, total = powers.reduce(0, +)
                var p = moved
                k.softmax(&p, n)
                expectClose(
                    p, powers.map { $0 / total }, magnitudes: powers.map { $0 / total + 1e-6 },
                    tolerance: 5 * Self.sumTolerance)
                expectClose(
                    [k.log_sum_exp(moved, n)], [largest + log(total)], magnitudes: [abs(largest) + 10],
                    tolerance: Self.elementTolerance)
                var dS = [Float](repeating: .nan, count: n)
                k.softmax_backward(p, y, &dS, n, 0.125)
                let mean = zip(p, y).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
                expectClose(
                    dS, (0..<n).map { 0.125 * Double(p[$0]) * (Double(y[$0]) - mean) },
                    magnitudes: p.map { Double($0) + 1e-6 }, tolerance: Self.sumTolerance)
            }
        }
        var masked: [Float] = [-.infinity, 0, -.infinity, 0, -.infinity]
        k.softmax(&masked, 5)
        #expect(masked == [0, 0.5, 0, 0.5, 0])
    }

    @Test("RMSNorm and its gradient by finite differences", arguments: rows)
    func rmsNorm(row: String) {
        let k = Self.kernels(row), epsilon: Float = 1e-5
        func forward(_ x: [Double], _ w: [Float]) -> [Double] {
            let r = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + Double(epsilon)).squareRoot()
            return zip(x, w).map { $0 * r * Double($1) }
        }
        for n in Self.counts {
            let (x, w, d) = inputs(n, UInt64(n) + 100)
            let exact = x.map(Double.init)
            var out = [Float](repeating: .nan, count: n)
            k.rms_norm(x, w, epsilon, &out, n)
            expectClose(
                out, forward(exact, w), magnitudes: forward(exact, w).map { abs($0) + 1e-3 },
                tolerance: Self.sumTolerance)
            var dX = [Float](repeating: 1, count: n)  // accumulates
            k.rms_norm_backward(x, w, epsilon, d, &dX, n)
            let gradient = finiteDifferences(exact) { zip(forward($0, w), d).reduce(0) { $0 + $1.0 * Double($1.1) } }
            expectClose(
                dX, gradient.map { $0 + 1 }, magnitudes: gradient.map { _ in 1 }, tolerance: Self.gradientTolerance)
        }
    }

    @Test("SwiGLU and its gradients by finite differences", arguments: rows)
    func swiGLU(row: String) {
        let k = Self.kernels(row)
        func forward(_ g: Double, _ u: Double) -> Double { g / (1 + Double.exponential(-g)) * u }
        for n in Self.counts {
            let (g, u, d) = inputs(n, UInt64(n) + 150)
            var out = [Float](repeating: .nan, count: n), dG = out, dU = out
            k.swiglu(g, u, &out, n)
            let expected = (0..<n).map { forward(Double(g[$0]), Double(u[$0])) }
            expectClose(out, expected, magnitudes: expected.map { abs($0) + 1e-3 }, tolerance: Self.elementTolerance)
            k.swiglu_backward(g, u, d, &dG, &dU, n)
            let h = 1e-4
            for i in 0..<n {
                let (gi, ui) = (Double(g[i]), Double(u[i]))
                let byGate = (forward(gi + h, ui) - forward(gi - h, ui)) / (2 * h) * Double(d[i])
                let byUp = forward(gi, 1) * Double(d[i])
                #expect(abs(Double(dG[i]) - byGate) < Self.gradientTolerance)
                #expect(abs(Double(dU[i]) - byUp) < Self.gradientTolerance)
            }
        }
        var out: [Float] = [0, 0, 0]
        k.swiglu([-1000, 1000, .nan], [1, 1, 1], &out, 3)
        #expect(abs(out[0]) < 1e-30 && out[1] == 1000 && out[2].isNaN)
    }

    @Test("Rotary embeddings rotate, and the inverse rotates back", arguments: rows)
    func rope(row: String) {
        let k = Self.kernels(row)
        for (dimension, rope) in [(64, 64), (80, 20), (6, 6), (128, 64)] {
            let heads = 3
            let (x, _, _) = inputs(heads * dimension, UInt64(dimension))
            let angles = (0..<rope / 2).map { Float($0) * 0.7 + 0.1 }
            let cosines = angles.map { cos($0) }, sines = angles.map { sin($0) }
            for interleaved in [true, false] {
                let apply = interleaved ? k.rope_interleaved! : k.rope_half!
                var rotated = x
                apply(&rotated, heads, dimension, rope, cosines, sines, false)
                for h in 0..<heads {
                    for j in 0..<rope / 2 {
                        let a = h * dimension + (interleaved ? 2 * j : j)
                        let b = interleaved ? a + 1 : a + rope / 2
                        #expect(abs(rotated[a] - (x[a] * cosines[j] - x[b] * sines[j])) < 1e-6)
                        #expect(abs(rotated[b] - (x[a] * sines[j] + x[b] * cosines[j])) < 1e-6)
                    }
                    for i in rope..<max(rope, dimension) {
                        #expect(rotated[h * dimension + i] == x[h * dimension + i])
                    }
                }
                apply(&rotated, heads, dimension, rope, cosines, sines, true)
                for i in x.indices { #expect(abs(rotated[i] - x[i]) < 2e-6) }
            }
        }
    }

    @Test("All halves convert exactly, and floats round to the nearest half", arguments: rows)
    func halves(row: String) {
        let k = Self.kernels(row)
        let all = (0..<65536).map { UInt16($0) }
        var floats = [Float](repeating: 0, count: all.count), back = all
        k.half_to_float(all, &floats, all.count)
        k.float_to_half(floats, &back, all.count)
        for i in 0..<all.count {
            let expected = Float(Float16(bitPattern: all[i]))
            if expected.isNaN {
                #expect(floats[i].isNaN && Float16(bitPattern: back[i]).isNaN)
            } else if floats[i].bitPattern != expected.bitPattern || back[i] != all[i] {
                Issue.record("half \(i) became \(floats[i]) and \(back[i])")
            }
        }
        var generator = SeededGenerator(3)
        let random = (0..<5003).map { _ in
            Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &generator) & 0xc7ff_ffff | 0x0100_0000)
        }
        var rounded = [UInt16](repeating: 0, count: random.count)
        k.float_to_half(random, &rounded, random.count)
        for i in random.indices where rounded[i] != Float16(random[i]).bitPattern {
            Issue.record("\(random[i]) became half \(rounded[i])")
        }
        var widened = [Float](repeating: 0, count: 3)
        k.bfloat_to_float([0x3f80, 0xc000, 0x0001], &widened, 3)
        #expect(widened == [1, -2, Float(bitPattern: 0x10000)])
    }

    private func finiteDifferences(_ x: [Double], _ f: ([Double]) -> Double) -> [Double] {
        let h = 1e-4
        return x.indices.map { i in
            var moved = x
            moved[i] = x[i] + h
            let above = f(moved)
            moved[i] = x[i] - h
            return (above - f(moved)) / (2 * h)
        }
    }
}
