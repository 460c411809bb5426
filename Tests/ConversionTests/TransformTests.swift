import TensorTypes
import Testing

@testable import Conversion

struct TransformTests {
    static let orders: [RowOrder] = [
        .same, .halvesToPairs(heads: 1), .halvesToPairs(heads: 3), .pairsToHalves(heads: 2),
        .headsToProjections(heads: 2),
        .headsToProjections(heads: 5), .projectionsToHeads(heads: 1), .projectionsToHeads(heads: 4),
    ]

    @Test(arguments: orders)
    func `an order is a permutation and its inverse undoes it`(order: RowOrder) {
        let count = 120
        let places = (0..<count).map { order.source(of: $0, count: count) }
        #expect(Set(places) == Set(0..<count))
        let back = (0..<count).map { places[order.inverse.source(of: $0, count: count)] }
        #expect(back == Array(0..<count))
    }

    @Test func `halves become pairs head by head`() {
        // Two heads of six: row 2i + j of a head was row j · 3 + i.
        let places = (0..<12).map { RowOrder.halvesToPairs(heads: 2).source(of: $0, count: 12) }
        #expect(places == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11])
    }

    @Test func `query, key and value of each head become three matrices`() {
        // Two heads of one row each: q0 k0 v0 q1 k1 v1.
        let places = (0..<6).map { RowOrder.headsToProjections(heads: 2).source(of: $0, count: 6) }
        #expect(places == [0, 3, 1, 4, 2, 5])
    }

    @Test func `rows come out alike whatever the pieces`() throws {
        let weight = ComputedMatrix(rows: 24, columns: 5)
        for transform in [
            TensorTransform.copy, .rows(.halvesToPairs(heads: 2)), .transpose, .addOne,
            .rows(.headsToProjections(heads: 4)),
        ] {
            let stream = RowStream(parts: [.init(weight: weight)], shape: [24, 5], transform: transform)
            var whole = [Float](repeating: 0, count: 120)
            try whole.withUnsafeMutableBytes { try stream.fill(0..<stream.rowCount, into: $0) }
            for size in [1, 3, 7] {
                var pieces: [Float] = []
                for start in stride(from: 0, to: stream.rowCount, by: size) {
                    let rows = start..<min(start + size, stream.rowCount)
                    var piece = [Float](repeating: 0, count: rows.count * stream.rowLength)
                    try piece.withUnsafeMutableBytes { try stream.fill(rows, into: $0) }
                    pieces += piece
                }
                #expect(pieces == whole)
            }
            let sum = whole.reduce(0, +)
            #expect(sum == Float(119 * 120 / 2) + (transform.shift == 1 ? 120 : 0))
        }
    }

    @Test(
        arguments: [(8, 1, 4, 8192, 128), (32, 1, 4, 8192, 64), (8, 1, 4, 64, 32), (4, 1, 6, 512, 64)]
            as [(Float, Float, Float, Float, Int)])
    func `RoPE scaling is found from its divisors`(factor: Float, low: Float, high: Float, context: Float, length: Int)
    {
        let scaling = Llama3Scaling(factor: factor, low: low, high: high, originalContext: context)
        let divisors = scaling.divisors(base: 10000, length: length)
        #expect(Llama3Scaling(divisors: divisors, base: 10000) == scaling)
    }

    @Test func `divisors that no scaling gives are refused`() {
        #expect(Llama3Scaling(divisors: [1, 7, 2, 8, 3, 8, 8, 8], base: 10000) == nil)
        #expect(Llama3Scaling(divisors: [.nan, 1], base: 10000) == nil)
        #expect(Llama3Scaling(divisors: [], base: 10000) == nil)
    }

    @Test func `only matrices take the type that was asked for`() {
        func type(_ name: String, _ dimensions: [Int], _ source: String = "F32", _ requested: String = "Q8_0") -> String
        {
            GGUFTypeRule.type(
                name, dimensions: dimensions, source: .init(name: source) ?? .f32,
                requested: .init(name: requested) ?? .f32
            ).name
        }
        #expect(type("blk.0.attn_q.weight", [64, 32]) == "Q8_0")
        #expect(type("blk.0.attn_q.weight", [48, 32]) == "F16")
        #expect(type("blk.0.attn_q.bias", [64]) == "F32")
        #expect(type("blk.0.attn_q_norm.weight", [64, 4]) == "F32")
        #expect(type("blk.0.ffn_gate_inp.weight", [64, 4]) == "F32")
        #expect(type("position_embd.weight", [64, 4]) == "F32")
        #expect(type("blk.0.ffn_up_exps.weight", [64, 4, 2], "MXFP4") == "MXFP4")
        #expect(type("token_embd.weight", [256, 4], "F32", "TQ1_0") == "F16")
        #expect(type("blk.0.attn_q.weight", [256, 4], "F32", "TQ1_0") == "TQ1_0")
    }
}

/// 0, 1, 2, … as a matrix that cannot be lent.
private struct ComputedMatrix: StoredWeight {
    let rows: Int
    let columns: Int
    var shape: [Int] { [rows, columns] }
    var type: TensorType { .f32 }
    var storedAs: String { "test" }
    var storedBytes: Int { 0 }
    var mapped: UnsafeRawBufferPointer? { nil }

    func read(rows: Range<Int>, into destination: UnsafeMutableRawBufferPointer) {
        withFloats(destination) { floats in
            for position in floats.indices { floats[position] = Float(rows.lowerBound * columns + position) }
        }
    }
}
