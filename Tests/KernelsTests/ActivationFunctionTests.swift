import CKernels
import Testing

@testable import Kernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

extension Double {
    static func hyperbolicTangent(_ x: Double) -> Double { tanh(x) }
}

/// LayerNorm, activation functions and soft caps on every row of the table against a plain computation in doubles.
@Suite struct ActivationFunctionTests {
    static let rows = MatrixProductTests.rowNames
    static let counts = [1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 325]
    /// A few roundings, the exponential's 2e-7, and erf's 1e-7 times arguments up to 6.
    static let tolerance = 2e-6
    /// Central differences of doubles with a step of 1e-4, compared with F32 results.
    static let gradientTolerance = 2e-5
    static let step = 1e-4

    static let functions: [(kind: ck_activation, value: @Sendable (Double) -> Double)] = [
        (CK_SILU, { $0 / (1 + exp(-$0)) }),
        (CK_GELU_TANH, { $0 / 2 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }),
        (CK_GELU, { $0 / 2 * (1 + erf($0 / 2.0.squareRoot())) }),
    ]

    private func kernels(_ name: String) -> ck_table_row { MatrixProductTests.table(name).row.pointee }

    private func inputs(_ n: Int, scale: Float = 6) -> (x: [Float], y: [Float], d: [Float]) {
        var generator = SeededGenerator(UInt64(n))
        return (
            randomFloats(n, &generator, scale: scale), randomFloats(n, &generator), randomFloats(n, &generator)
        )
    }

    @Test("Activation functions and their gradients", arguments: rows)
    func activations(row: String) {
        let k = kernels(row)
        for n in Self.counts {
            let (x, up, d) = inputs(n)
            for (kind, value) in Self.functions {
                var out = [Float](repeating: .nan, count: n), plain = out
                k.activate(kind, x, up, &out, n)
                k.activate(kind, x, nil, &plain, n)
                var dX = [Float](repeating: .nan, count: n), dUp = dX, dPlain = dX
                k.activate_backward(kind, x, up, d, &dX, &dUp, n)
                k.activate_backward(kind, x, nil, d, &dPlain, nil, n)
                for i in 0..<n {
                    let at = Double(x[i]), f = value(at), scale = max(1, abs(at))
                    let slope = (value(at + Self.step) - value(at - Self.step)) / (2 * Self.step)
                    #expect(abs(Double(plain[i]) - f) < Self.tolerance * scale, "\(kind) at \(at)")
                    #expect(abs(Double(out[i]) - f * Double(up[i])) < Self.tolerance * scale)
                    #expect(abs(Double(dPlain[i]) - slope * Double(d[i])) < Self.gradientTolerance, "\(kind) at \(at)")
                    #expect(abs(Double(dX[i]) - slope * Double(up[i]) * Double(d[i])) < Self.gradientTolerance)
                    #expect(abs(Double(dUp[i]) - f * Double(d[i])) < Self.tolerance * scale)
                }
            }
        }
    }

    @Test("Activation functions far out are finite, and NaN stays", arguments: rows)
    func extremes(row: String) {
        let k = kernels(row)
        for (kind, _) in Self.functions {
            var out = [Float](repeating: 0, count: 5)
            k.activate(kind, [-1000, 1000, -30, 30, .nan], nil, &out, 5)
            #expect(abs(out[0]) < 1e-6 && out[1] == 1000 && abs(out[2]) < 1e-6 && abs(out[3] - 30) < 1e-5)
            #expect(out[4].isNaN)
        }
    }

    @Test("Soft caps and their slopes", arguments: rows)
    func softCaps(row: String) {
        let k = kernels(row)
        for n in Self.counts {
            let (x, _, _) = inputs(n, scale: 100)
            for cap in [0.5, 30.0] {
                var out = x, slope = [Float](repeating: .nan, count: n), alone = x
                k.soft_cap(Float(cap), &out, &slope, n)
                k.soft_cap(Float(cap), &alone, nil, n)
                #expect(out == alone)
                for i in 0..<n {
                    let t = tanh(Double(x[i]) / cap)
                    #expect(abs(Double(out[i]) - cap * t) < 1e-6 * cap)
                    #expect(abs(Double(slope[i]) - (1 - t * t)) < 2e-6)
                }
            }
        }
    }

    @Test("LayerNorm and its gradient", arguments: rows)
    func layerNorm(row: String) {
        let k = kernels(row)
        let epsilon = 1e-5
        for n in Self.counts {
            let (x, weight, d) = inputs(n)
            let bias = d
            func naive(_ x: [Double]) -> [Double] {
                let mean = x.reduce(0, +) / Double(n)
                let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(n)
                return x.indices.map { (x[$0] - mean) / (variance + epsilon).squareRoot() * Double(weight[$0]) }
            }
            var out = [Float](repeating: .nan, count: n), plain = out
            k.layer_norm(x, weight, bias, Float(epsilon), &out, n)
            k.layer_norm(x, weight, nil, Float(epsilon), &plain, n)
            let start = x.map(Double.init), expected = naive(start)
            for i in 0..<n {
                #expect(abs(Double(plain[i]) - expected[i]) < 5e-6)
                #expect(abs(Double(out[i]) - expected[i] - Double(bias[i])) < 5e-6)
            }
            guard n > 1 else { continue }  // of one value the result does not depend on it
            var dX = [Float](repeating: 1, count: n)
            k.layer_norm_backward(x, weight, Float(epsilon), d, &dX, n)
            for i in stride(from: 0, to: n, by: max(1, n / 5)) {
                func loss(_ move: Double) -> Double {
                    var moved = start
                    moved[i] += move
                    return zip(naive(moved), d).reduce(0) { $0 + $1.0 * Double($1.1) }
                }
                let slope = (loss(Self.step) - loss(-Self.step)) / (2 * Self.step)
                #expect(abs(Double(dX[i]) - 1 - slope) < Self.gradientTolerance * max(1, abs(slope)))
            }
        }
    }
}
