import Foundation
import GGUF
import LanguageModels
import TensorTypes

/// The llama architecture written the plain way: one sequence at a time, every token computed, `Double` throughout, no
/// cleverness. Slow, and the measure of everything that is fast.
public struct NaiveLlama {
    struct Layer {
        var attentionNorm, queries, keys, values, attentionOutput, feedForwardNorm, gate, up, down: [Double]
    }

    public let layerCount, hiddenSize, feedForwardSize, headCount, keyValueHeadCount, headDimension: Int
    public let vocabularySize: Int
    let ropeBase: Double
    let epsilon: Double
    let embedding: [Double]
    let output: [Double]
    let outputNorm: [Double]
    let layers: [Layer]

    /// The virtual tokens a sequence starts with; laid out as `PromptView` says.
    public enum Prompt {
        case none
        case embeddings([Double], count: Int)
        case keysAndValues([Double], count: Int)
        case adaptionPrompt([Double], count: Int)

        var count: Int {
            switch self {
            case .none, .adaptionPrompt: 0
            case .embeddings(_, let count), .keysAndValues(_, let count): count
            }
        }
    }

    public init(_ file: GGUFFile) throws {
        func number(_ key: String) throws -> Int { Int(try file.metadata.intIfPresent("llama." + key) ?? 0) }
        func tensor(_ name: String) -> [Double] {
            guard let info = file.tensor(named: name) else { return [] }
            var floats = [Float](repeating: 0, count: info.elementCount)
            floats.withUnsafeMutableBufferPointer { info.type.decode(file.bytes(of: info), into: $0) }
            return floats.map(Double.init)
        }
        layerCount = try number("block_count")
        hiddenSize = try number("embedding_length")
        feedForwardSize = try number("feed_forward_length")
        headCount = try number("attention.head_count")
        keyValueHeadCount = try number("attention.head_count_kv")
        headDimension = hiddenSize / headCount
        ropeBase = Double(try file.metadata.floatIfPresent("llama.rope.freq_base") ?? 10000)
        epsilon = Double(try file.metadata.floatIfPresent("llama.attention.layer_norm_rms_epsilon") ?? 1e-5)
        embedding = tensor("token_embd.weight")
        let separate = tensor("output.weight")
        output = separate.isEmpty ? embedding : separate
        outputNorm = tensor("output_norm.weight")
        vocabularySize = embedding.count / hiddenSize
        layers = (0..<layerCount).map { index in
            func part(_ name: String) -> [Double] { tensor("blk.\(index).\(name).weight") }
            return Layer(
                attentionNorm: part("attn_norm"), queries: part("attn_q"), keys: part("attn_k"),
                values: part("attn_v"), attentionOutput: part("attn_output"), feedForwardNorm: part("ffn_norm"),
                gate: part("ffn_gate"), up: part("ffn_up"), down: part("ffn_down"))
        }
    }

    /// Logits after every token, virtual ones at the input included.
    public func logits(_ tokens: [Int], prompt: Prompt = .none) -> [[Double]] {
        var rows: [[Double]] = []
        var firstPosition = 0
        switch prompt {
        case .none: break
        case .embeddings(let values, let count):
            rows = (0..<count).map { Array(values[$0 * hiddenSize..<($0 + 1) * hiddenSize]) }
        case .keysAndValues(_, let count): firstPosition = count
        case .adaptionPrompt: break
        }
        rows += tokens.map { Array(embedding[$0 * hiddenSize..<($0 + 1) * hiddenSize]) }
        for (index, layer) in layers.enumerated() {
            let normed = rows.map { norm($0, layer.attentionNorm) }
            let queries = normed.enumerated().map { rotate(times(layer.queries, $1), position: firstPosition + $0) }
            var keys = normed.enumerated().map { rotate(times(layer.keys, $1), position: firstPosition + $0) }
            var values = normed.map { times(layer.values, $0) }
            if case .keysAndValues(let stored, let count) = prompt {
                keys = prefixRows(stored, layer: index, plane: 0, count: count) + keys
                values = prefixRows(stored, layer: index, plane: 1, count: count) + values
            }
            for row in rows.indices {
                let seen = firstPosition + row + 1
                var mixed = attend(queries[row], keys.prefix(seen), values.prefix(seen))
                if case .adaptionPrompt(let stored, let count) = prompt {
                    let starts = (0..<count).map { ($0 * layers.count + index) * (hiddenSize + 1) }
                    let own = starts.map { Array(stored[$0..<$0 + hiddenSize]) }
                    let added = attend(
                        queries[row], own.map { times(layer.keys, $0) }[...], own.map { times(layer.values, $0) }[...])
                    mixed = sum(mixed, added.map { stored[starts[0] + hiddenSize] * $0 })
                }
                rows[row] = sum(rows[row], times(layer.attentionOutput, mixed))
                let inner = norm(rows[row], layer.feedForwardNorm)
                let gate = times(layer.gate, inner), up = times(layer.up, inner)
                let activated = zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 }
                rows[row] = sum(rows[row], times(layer.down, activated))
            }
        }
        return rows.map { times(output, norm($0, outputNorm)) }
    }

    /// Mean cross-entropy over all target tokens of a batch, each example computed on its own.
    public func loss(_ batch: TrainingBatch, prompt: Prompt = .none) -> Double {
        var total = 0.0
        var count = 0
        for example in batch.examples {
            let rows = logits(Array(example.tokens.dropLast()), prompt: prompt)
            var virtualRows = 0
            if case .embeddings(_, let count) = prompt { virtualRows = count }
            for index in example.targetStart..<example.tokens.count {
                let row = virtualRows + index - 1
                guard row >= 0 else { continue }
                let largest = rows[row].max() ?? 0
                let logSum = largest + log(rows[row].reduce(0) { $0 + exp($1 - largest) })
                total += logSum - rows[row][example.tokens[index]]
                count += 1
            }
        }
        return total / Double(count)
    }

    // MARK: - Parts

    private func prefixRows(_ stored: [Double], layer: Int, plane: Int, count: Int) -> [[Double]] {
        (0..<count).map { token in
            (0..<keyValueHeadCount).flatMap { head in
                let start = ((((2 * layer + plane) * keyValueHeadCount) + head) * count + token) * headDimension
                return stored[start..<start + headDimension]
            }
        }
    }

    private func attend(_ query: [Double], _ keys: ArraySlice<[Double]>, _ values: ArraySlice<[Double]>) -> [Double] {
        var result: [Double] = []
        for head in 0..<headCount {
            let shared = head / (headCount / keyValueHeadCount) * headDimension
            let own = head * headDimension
            let scores = keys.map { key in
                (0..<headDimension).reduce(0) { $0 + query[own + $1] * key[shared + $1] }
                    / Double(headDimension).squareRoot()
            }
            let largest = scores.max() ?? 0
            let weights = scores.map { exp($0 - largest) }
            let total = weights.reduce(0, +)
            for element in 0..<headDimension {
                result.append(zip(weights, values).reduce(0) { $0 + $1.0 * $1.1[shared + element] } / total)
            }
        }
        return result
    }

    private func rotate(_ row: [Double], position: Int) -> [Double] {
        var row = row
        for head in 0..<row.count / headDimension {
            for pair in 0..<headDimension / 2 {
                let angle = Double(position) * pow(ropeBase, -2 * Double(pair) / Double(headDimension))
                let index = head * headDimension + 2 * pair
                let (a, b) = (row[index], row[index + 1])
                row[index] = a * cos(angle) - b * sin(angle)
                row[index + 1] = a * sin(angle) + b * cos(angle)
            }
        }
        return row
    }

    private func norm(_ row: [Double], _ weight: [Double]) -> [Double] {
        let scale = 1 / (row.reduce(0) { $0 + $1 * $1 } / Double(row.count) + epsilon).squareRoot()
        return zip(row, weight).map { $0 * scale * $1 }
    }

    private func times(_ matrix: [Double], _ row: [Double]) -> [Double] {
        matrix.withUnsafeBufferPointer { matrix in
            (0..<matrix.count / row.count).map { output in
                var total = 0.0
                for (column, value) in row.enumerated() { total += matrix[output * row.count + column] * value }
                return total
            }
        }
    }

    private func sum(_ a: [Double], _ b: [Double]) -> [Double] { zip(a, b).map { $0 + $1 } }
}
