import Foundation
import Kernels
import Layers

/// Which experts compute which rows, and with what weight.
///
/// Pairs of a row and one of its experts are numbered by expert, then row: an expert's pairs are consecutive, so that
/// its rows form one matrix, and the order does not depend on what else is computed beside a row.
struct ExpertRouting {
    /// First pair of each expert; one entry more than there are experts.
    private(set) var starts: [Int]
    /// The row of each pair.
    private(set) var rows: [Int]
    /// The weight of each pair.
    private(set) var weights: [Float]
    /// Softmax of the router over all experts, `(row, expert)`.
    private(set) var probabilities: [Float]

    /// Sums of weights are divided by at least this: the smallest normal F16.
    private static let smallestSum: Float = 6.103515625e-5

    /// - Parameter logits: `(count, experts)`, of the router.
    init(_ logits: UnsafePointer<Float>, count: Int, _ settings: DecoderConfiguration.Experts) {
        let experts = settings.count
        probabilities = Array(UnsafeBufferPointer(start: logits, count: count * experts))
        var chosen: [[(row: Int, weight: Float)]] = Array(repeating: [], count: experts)
        probabilities.withUnsafeMutableBufferPointer { all in
            guard let base = all.baseAddress else { return }
            for row in 0..<count {
                let line = base + row * experts
                VectorMath.softmax(line, count: experts)
                // Largest first, of equals the lower index, as a stable sort does.
                let best = (0..<experts).sorted { line[$0] != line[$1] ? line[$0] > line[$1] : $0 < $1 }
                    .prefix(settings.usedCount)
                let sum = max(best.reduce(0) { $0 + line[$1] }, Self.smallestSum)
                for expert in best {
                    let weight = settings.normalizesWeights ? line[expert] / sum : line[expert]
                    chosen[expert].append((row, weight * settings.weightScale))
                }
            }
        }
        starts = [0]
        rows = []
        weights = []
        for pairs in chosen {
            rows += pairs.map(\.row)
            weights += pairs.map(\.weight)
            starts.append(rows.count)
        }
    }

    /// How much of the shared expert a row gets.
    static func sigmoid(_ x: Float) -> Float { 1 / (1 + exp(-x)) }

    /// The pairs of an expert.
    func pairs(of expert: Int) -> Range<Int> { starts[expert]..<starts[expert + 1] }

    /// From the gradient of each pair's weight to the gradient of the router's logits, `(row, expert)`. Which experts
    /// are chosen is constant.
    func backward(
        _ dWeights: UnsafePointer<Float>, _ settings: DecoderConfiguration.Experts,
        into dLogits: UnsafeMutablePointer<Float>
    ) {
        let experts = settings.count, count = probabilities.count / max(experts, 1)
        dLogits.update(repeating: 0, count: count * experts)
        // First each chosen share times its gradient, and the sums of these.
        var chosenSums = [Float](repeating: 0, count: count)
        for expert in 0..<experts {
            for pair in pairs(of: expert) {
                let row = rows[pair]
                let share =
                    settings.normalizesWeights
                    ? weights[pair] / settings.weightScale : probabilities[row * experts + expert]
                let value = share * dWeights[pair] * settings.weightScale
                dLogits[row * experts + expert] = value
                chosenSums[row] += value
            }
        }
        // A softmax's gradient is p ∘ (d − Σ p·d): over the chosen alone when their weights are normalised, since then
        // the others cancel, else over all.
        for expert in 0..<experts {
            if settings.normalizesWeights {
                for pair in pairs(of: expert) {
                    let row = rows[pair]
                    dLogits[row * experts + expert] -= weights[pair] / settings.weightScale * chosenSums[row]
                }
            } else {
                for row in 0..<count {
                    dLogits[row * experts + expert] -= probabilities[row * experts + expert] * chosenSums[row]
                }
            }
        }
    }
}

extension DecoderModel {
    /// x += Σ weight · expert(h) over each row's experts, plus the shared expert; h are the rows of `workspace.normed`.
    func runExperts(
        _ layer: ExpertLayer, _ packed: PackedExperts, _ x: UnsafeMutablePointer<Float>, rows: Int,
        workspace: InferenceWorkspace
    ) {
        guard let settings = configuration.experts else { return }
        let width = configuration.hiddenSize, scale = configuration.residualScale
        let normed = workspace.normed
        let logits = workspace.router.reserve(rows * settings.count)
        MatrixProduct.run(
            [ProductJob(packed.router, into: logits, stride: settings.count)], normed, tokens: rows, rowByRow: true,
            pool: pool)
        for row in 0..<rows { layer.router.addBias(logits + row * settings.count) }
        let routing = ExpertRouting(logits, count: rows, settings)
        let out = workspace.branch.reserve(rows * width)
        for (expert, network) in layer.experts.enumerated() {
            let pairs = routing.pairs(of: expert)
            if pairs.isEmpty { continue }
            // With one row its experts read the activations as they are.
            var input = normed
            if rows > 1 {
                input = workspace.expertInput
                let floats = normed.floats
                input.set(tokens: pairs.count, columns: width, pool: pool) { index, row in
                    row.update(from: floats + routing.rows[pairs.lowerBound + index] * width, count: width)
                }
            }
            runNetwork(network, packed.experts[expert], nil, input, rows: pairs.count, workspace: workspace)
            MatrixProduct.run(
                [ProductJob(packed.experts[expert].down, into: out, stride: width)], workspace.feedForward,
                tokens: pairs.count, pool: pool)
            for (index, pair) in pairs.enumerated() {
                VectorMath.axpy(
                    routing.weights[pair] * scale, out + index * width, into: x + routing.rows[pair] * width,
                    count: width)
            }
        }
        guard let shared = layer.shared, let network = packed.shared, let gate = packed.sharedRouter else { return }
        MatrixProduct.run(
            [ProductJob(gate, into: logits, stride: 1)], normed, tokens: rows, rowByRow: true, pool: pool)
        runNetwork(shared, network, nil, normed, rows: rows, workspace: workspace)
        MatrixProduct.run(
            [ProductJob(network.down, into: out, stride: width)], workspace.feedForward, tokens: rows, pool: pool)
        for row in 0..<rows {
            VectorMath.axpy(
                ExpertRouting.sigmoid(logits[row]) * scale, out + row * width, into: x + row * width, count: width)
        }
    }
}
