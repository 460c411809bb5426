/// The index map between PEFT's rows of a prefix and per-layer keys and values.
///
/// A row holds one virtual token: `column = ((2 * layer + kind) * keyValueHeadCount + head) * headDimension +
/// dimension`, where kind is 0 for keys and 1 for values. (PEFT: `get_prompt` views the row as layers · 2, heads,
/// dimensions.) The other side is `(layer, head, token, dimension)`, as a KV cache wants it.
public struct PrefixLayout: Hashable, Sendable {
    public let layerCount: Int
    public let keyValueHeadCount: Int
    public let headDimension: Int

    /// Which half of a layer.
    public enum Kind: Int, Sendable, CaseIterable {
        case keys = 0
        case values = 1
    }

    public init(layerCount: Int, keyValueHeadCount: Int, headDimension: Int) {
        self.layerCount = layerCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headDimension = headDimension
    }

    public init(_ shape: ModelShape) {
        self.init(
            layerCount: shape.layerCount, keyValueHeadCount: shape.keyValueHeadCount, headDimension: shape.headDimension
        )
    }

    /// Floats in a row.
    public var columns: Int { layerCount * 2 * keyValueHeadCount * headDimension }

    /// The first of the `headDimension` columns of one head.
    public func column(layer: Int, kind: Kind, head: Int) -> Int {
        ((2 * layer + kind.rawValue) * keyValueHeadCount + head) * headDimension
    }

    /// Takes the keys or the values of all layers out of PEFT rows.
    /// - Parameter rows: `(token, columns)`.
    /// - Returns: `(layer, head, token, dimension)`.
    public func unpack(_ rows: [Float], _ kind: Kind, tokenCount: Int) -> [Float] {
        precondition(rows.count == tokenCount * columns, "the rows have another shape")
        var result = [Float](repeating: 0, count: rows.count / 2)
        forEachHead(kind, tokenCount: tokenCount) { row, packed in
            for d in 0..<headDimension { result[packed + d] = rows[row + d] }
        }
        return result
    }

    /// Builds PEFT rows from keys and values.
    /// - Parameters:
    ///   - keys: `(layer, head, token, dimension)`, HF rotate-half order.
    ///   - values: likewise.
    /// - Returns: `(token, columns)`.
    public func pack(keys: [Float], values: [Float], tokenCount: Int) -> [Float] {
        precondition(
            keys.count == tokenCount * columns / 2 && values.count == keys.count, "keys or values have another shape")
        var rows = [Float](repeating: 0, count: tokenCount * columns)
        for (kind, source) in [(Kind.keys, keys), (.values, values)] {
            forEachHead(kind, tokenCount: tokenCount) { row, packed in
                for d in 0..<headDimension { rows[row + d] = source[packed + d] }
            }
        }
        return rows
    }

    /// Visits each head of each token of each layer with its first index in rows and in the unpacked form.
    private func forEachHead(_ kind: Kind, tokenCount: Int, _ body: (_ row: Int, _ packed: Int) -> Void) {
        var packed = 0
        for layer in 0..<layerCount {
            for head in 0..<keyValueHeadCount {
                let column = column(layer: layer, kind: kind, head: head)
                for token in 0..<tokenCount {
                    body(token * columns + column, packed)
                    packed += headDimension
                }
            }
        }
    }
}

/// The order of dimensions within a head, in which HF's and GGUF's keys of llama-like models differ.
///
/// HF rotates dimension i with i + D/2 (rotate-half). llama.cpp's converter reorders the rows of the query and key
/// weights so that neighbours rotate: `gguf[2i + j] = hf[j * D/2 + i]`. Prompts are stored in HF's order; an engine
/// that runs such a GGUF interleaves the keys when it attaches one. Values are never permuted. Architectures whose
/// GGUF keeps HF's order (Qwen, Gemma, Phi) need none of this.
public enum HeadPermutation {
    /// HF's order to GGUF's, in each run of `headDimension` values.
    public static func interleave(_ heads: [Float], headDimension: Int) -> [Float] {
        permute(heads, headDimension) { i, j, half in (source: j * half + i, destination: 2 * i + j) }
    }

    /// GGUF's order to HF's: the inverse of ``interleave(_:headDimension:)``.
    public static func deinterleave(_ heads: [Float], headDimension: Int) -> [Float] {
        permute(heads, headDimension) { i, j, half in (source: 2 * i + j, destination: j * half + i) }
    }

    private static func permute(
        _ heads: [Float], _ dimension: Int, _ map: (Int, Int, Int) -> (source: Int, destination: Int)
    ) -> [Float] {
        precondition(dimension > 0 && dimension % 2 == 0, "a rotated head has an even number of dimensions")
        precondition(heads.count % dimension == 0, "the values are not whole heads")
        let half = dimension / 2
        var table = [Int](repeating: 0, count: dimension)
        for i in 0..<half {
            for j in 0..<2 {
                let (source, destination) = map(i, j, half)
                table[destination] = source
            }
        }
        var result = [Float](repeating: 0, count: heads.count)
        for start in stride(from: 0, to: heads.count, by: dimension) {
            for d in 0..<dimension { result[start + d] = heads[start + table[d]] }
        }
        return result
    }
}
