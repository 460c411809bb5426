import Testing

@testable import TensorTypes

struct TensorTypeTests {
    /// Quantized types with an encoder.
    static let encoded = TensorType.all.filter { $0.isEncodable && $0.isQuantized }

    @Test("every half survives the way to a float and back, and equals Float16's value")
    func halves() {
        for bits in UInt16.min...UInt16.max {
            let value = Half.float(bits)
            let reference = Float(Float16(bitPattern: bits))
            if reference.isNaN {
                #expect(value.isNaN)
                #expect(Half.float(Half.bits(value)).isNaN)
            } else {
                #expect(value.bitPattern == reference.bitPattern)
                #expect(Half.bits(value) == bits)
            }
        }
    }

    @Test("rounding to a half is to nearest, ties to even, around every border")
    func halfRounding() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<200_000 {
            let value = Float(bitPattern: UInt32.random(in: .min ... .max, using: &generator))
            if value.isNaN { continue }
            #expect(Half.bits(value) == Float16(value).bitPattern, "\(value)")
        }
        for bits in UInt16(0)..<0x7C00 {
            let low = Half.float(bits)
            let high = bits == 0x7BFF ? 65536 : Half.float(bits + 1)
            let middle = (low + high) / 2
            for value in [middle.nextDown, middle, middle.nextUp] {
                #expect(Half.bits(value) == Float16(value).bitPattern)
            }
        }
    }

    @Test(
        "brain floats round to nearest, ties to even, and keep NaN",
        arguments: [
            (Float(1), 0x3F80), (Float(bitPattern: 0x3F80_8000), 0x3F80), (Float(bitPattern: 0x3F81_8000), 0x3F82),
            (Float(bitPattern: 0x3F80_8001), 0x3F81), (.greatestFiniteMagnitude, 0x7F80), (-.infinity, 0xFF80),
            (.leastNonzeroMagnitude, 0), (Float(bitPattern: 0x7F80_0001), 0x7FC0),
        ] as [(Float, UInt16)])
    func brainFloats(value: Float, bits: UInt16) {
        #expect(BrainFloat.bits(value) == bits)
    }

    @Test("the table is consistent: numbers, names and sizes lead back to the same type", arguments: TensorType.all)
    func table(type: TensorType) throws {
        #expect(TensorType(id: type.id) == type)
        #expect(TensorType(name: type.name) == type)
        #expect(TensorType(name: type.name.lowercased()) == type)
        #expect(TensorType.removedName(id: type.id) == nil)
        #expect(type.byteCount(elements: type.blockSize * 3) == type.bytesPerBlock * 3)
        #expect(type.blockSize == 1 || type.byteCount(elements: type.blockSize + 1) == nil)
        #expect(
            type.byteCount(elements: .max / type.blockSize * type.blockSize) == nil
                || type.bytesPerBlock <= type.blockSize)
    }

    @Test("removed types are not types but have names", arguments: [4, 5, 31, 32, 33, 36, 37, 38] as [UInt32])
    func removed(id: UInt32) {
        #expect(TensorType(id: id) == nil)
        #expect(TensorType.removedName(id: id) != nil)
    }

    @Test("every type of ggml can be decoded, and all but those that only activations take can be encoded")
    func coverage() {
        #expect(TensorType.all.filter { !$0.isDecodable } == [])
        #expect(TensorType.all.filter { $0.isQuantized && !$0.isEncodable } == [.q8_1, .q8_K])
        #expect(TensorType.all.filter(\.requiresImportance) == [.iq2_xxs, .iq2_xs, .iq1_s])
    }

    /// What encoding and decoding may change of evenly spread values between -1 and 1: the root mean square.
    static let tolerances: [(TensorType, Float)] = [
        (.q4_0, 0.045), (.q4_1, 0.04), (.q5_0, 0.02), (.q5_1, 0.02), (.q8_0, 0.0025), (.q2_K, 0.19), (.q3_K, 0.1),
        (.q4_K, 0.04), (.q5_K, 0.02), (.q6_K, 0.011), (.iq4_nl, 0.07), (.iq4_xs, 0.07), (.iq3_s, 0.12),
        (.iq3_xxs, 0.14), (.iq2_s, 0.22), (.iq2_xs, 0.24), (.iq2_xxs, 0.27), (.iq1_s, 0.4), (.iq1_m, 0.4),
        (.tq1_0, 0.32), (.tq2_0, 0.32), (.mxfp4, 0.1), (.nvfp4, 0.08), (.q1_0, 0.3), (.q2_0, 0.3),
    ]

    @Test("encoding then decoding keeps values as close as the type allows", arguments: tolerances)
    func roundTrip(type: TensorType, tolerance: Float) throws {
        var generator = SeededGenerator(seed: 11)
        for blocks in [1, 2, 3, 9] {
            let count = blocks * type.blockSize
            let values = (0..<count).map { _ in Float.random(in: -1...1, using: &generator) }
            let importances: [[Float]?] = [nil, [Float](repeating: 1, count: count)]
            for importance in importances where importance != nil || !type.requiresImportance {
                let bytes = try type.encoded(rows: values, rowLength: count, importance: importance)
                #expect(bytes.count == blocks * type.bytesPerBlock)
                let back = try bytes.withUnsafeBytes { try type.decoded($0) }
                let squares = zip(values, back).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
                #expect((squares / Float(count)).squareRoot() <= tolerance, "\(blocks) blocks")
            }
        }
    }

    @Test("the tolerances name every type that can be encoded")
    func tolerancesAreComplete() {
        #expect(Set(Self.tolerances.map(\.0)) == Set(TensorType.all.filter { $0.isEncodable && $0.isQuantized }))
    }

    @Test("an importance draws accuracy to the columns that matter", arguments: TensorType.all.filter(\.usesImportance))
    func importanceMatters(type: TensorType) throws {
        var generator = SeededGenerator(seed: 17)
        let values = (0..<1024).map { _ in Float.random(in: -1...1, using: &generator) }
        func error(_ importance: [Float], in columns: (Int) -> Bool) throws -> Float {
            let bytes = try type.encoded(rows: values, rowLength: 512, importance: importance)
            let back = try bytes.withUnsafeBytes { try type.decoded($0) }
            return values.indices.filter { columns($0 % 512) }.reduce(0) {
                $0 + (values[$1] - back[$1]) * (values[$1] - back[$1])
            }
        }
        let isOdd = { (column: Int) in column % 2 == 1 }
        let even = (0..<512).map { Float($0 % 2 == 0 ? 100 : 0.01) }
        let odd = (0..<512).map { Float($0 % 2 == 1 ? 100 : 0.01) }
        #expect(try error(odd, in: isOdd) < error(even, in: isOdd))
    }

    @Test("rows are independent: encoding them together or one by one gives the same bytes", arguments: encoded)
    func rowsAreIndependent(type: TensorType) throws {
        var generator = SeededGenerator(seed: 23)
        let values = (0..<3 * 768).map { _ in Float.random(in: -1...1, using: &generator) }
        let importance = (0..<768).map { _ in Float.random(in: 0...1, using: &generator) }
        let together = try type.encoded(rows: values, rowLength: 768, importance: importance)
        var apart: [UInt8] = []
        for row in 0..<3 {
            apart += try type.encoded(
                rows: Array(values[768 * row..<768 * (row + 1)]), rowLength: 768, importance: importance)
        }
        #expect(together == apart)
    }

    @Test("a bad importance is refused, and a missing one where it is needed")
    func badImportance() {
        let values = [Float](repeating: 1, count: 512)
        func code(_ type: TensorType, _ importance: [Float]?) -> TensorTypeError.Code? {
            do {
                _ = try type.encoded(rows: values, rowLength: 256, importance: importance)
                return nil
            } catch {
                return (error as? TensorTypeError)?.code
            }
        }
        var importance = [Float](repeating: 1, count: 256)
        #expect(code(.q4_K, importance) == nil)
        #expect(code(.q4_K, Array(importance.dropLast())) == .invalidImportance)
        for bad in [-1, Float.nan, .infinity] {
            importance[255] = bad
            #expect(code(.q4_K, importance) == .invalidImportance)
        }
        #expect(code(.iq1_s, nil) == .importanceRequired)
        #expect(code(.q8_K, nil) == .notEncodable)
        #expect(throws: TensorTypeError.self) { try TensorType.iq2_xs.encoded(values) }
        #expect(throws: TensorTypeError.self) {
            try TensorType.q4_K.encoded(rows: values, rowLength: 384, importance: nil)
        }
        #expect(throws: TensorTypeError.self) {
            try TensorType.q4_K.encoded(rows: values, rowLength: 0, importance: nil)
        }
        #expect(throws: TensorTypeError.self) {
            try TensorType.q4_0.encoded(rows: values, rowLength: 96, importance: nil)
        }
    }

    @Test("a decoder reads at any alignment", arguments: TensorType.all.filter(\.isDecodable))
    func unaligned(type: TensorType) throws {
        var generator = SeededGenerator(seed: 5)
        let bytes = (0..<type.bytesPerBlock * 3).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let aligned = try bytes.withUnsafeBytes { try type.decoded($0) }
        for shift in 1..<8 {
            let shifted = [UInt8](repeating: 0xAA, count: shift) + bytes
            let values = try shifted.withUnsafeBytes {
                try type.decoded(UnsafeRawBufferPointer(rebasing: $0[shift...]))
            }
            #expect(zip(values, aligned).allSatisfy { $0.bitPattern == $1.bitPattern || ($0.isNaN && $1.isNaN) })
        }
    }

    @Test("values that are not finite and counts that are not whole blocks are refused", arguments: encoded)
    func refusals(type: TensorType) {
        let importance = [Float](repeating: 1, count: type.blockSize)
        for bad in [Float.nan, .infinity, -.infinity] {
            var values = [Float](repeating: 1, count: 2 * type.blockSize)
            values[type.blockSize + 3] = bad
            #expect {
                try type.encoded(rows: values, rowLength: type.blockSize, importance: importance)
            } throws: {
                ($0 as? TensorTypeError)?.code == .notFinite && "\($0)".contains("row 1, column 3")
            }
        }
        #expect { try type.encoded(rows: [1], rowLength: 1, importance: [1]) } throws: {
            ($0 as? TensorTypeError)?.code == .partialBlock
        }
        #expect { try [UInt8](repeating: 0, count: 1).withUnsafeBytes { try type.decoded($0) } } throws: {
            ($0 as? TensorTypeError)?.code == .partialBlock
        }
    }

    @Test("extreme but finite values and importances are encoded without a trap", arguments: encoded)
    func extremes(type: TensorType) throws {
        let extremes = [
            Float.greatestFiniteMagnitude, .leastNonzeroMagnitude, .leastNormalMagnitude, 1e38, -1e-38, 1e-20, 0,
        ]
        for value in extremes {
            var values = [Float](repeating: value, count: type.blockSize)
            for importance in [0, Float.leastNonzeroMagnitude, 1, .greatestFiniteMagnitude] {
                let importances = [Float](repeating: importance, count: type.blockSize)
                _ = try type.encoded(rows: values, rowLength: type.blockSize, importance: importances)
            }
            values[0] = -value
            values[1] = 1
            let importances = [Float](repeating: 1, count: type.blockSize)
            _ = try type.encoded(rows: values, rowLength: type.blockSize, importance: importances)
            if !type.requiresImportance { _ = try type.encoded(values) }
        }
    }
}

/// SplitMix64: the same numbers on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
