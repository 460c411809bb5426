import Kernels
import Layers

// Feed-forward networks of `DecoderGraph`, dense and routed, forward and backward.
extension DecoderGraph {
    /// x += scale · norm(ffn(norm(middle))).
    func forwardFeedForward(_ index: Int, count: Int, _ x: UnsafeMutablePointer<Float>) {
        let width = c.hiddenSize
        let layer = model.layers[index]
        let middle = saved[index].middle.pointer
        let normed = scratch.normed.reserve(count * width)
        normalize(middle, layer.feedForwardNorm, count: count, into: normed)
        if layer.experts != nil {
            forwardExperts(index, count: count, normed, x)
            return
        }
        guard let network = layer.feedForward, let matrices = weights[index].feedForward else { return }
        let gateUp = saved[index].gateUp.reserve(count * matrices.inputs.rows)
        observe(index, c.gating == .separate ? [.gate, .up] : [.up], normed, count: count, columns: width)
        forward(
            network, matrices, model.packed[index].feedForward, normed, count: count, gateUp: gateUp, into: normed
        ) { [self] activated in
            observe(index, [.down], activated, count: count, columns: network.innerSize)
        }
        let unnormed = layer.postFeedForwardNorm.map { _ in saved[index].feedForwardBranch.reserve(count * width) }
        forRows(count) { [self] row in
            finishBranch(normed + row * width, layer.postFeedForwardNorm, unnormed: unnormed.map { $0 + row * width })
            VectorMath.add(normed + row * width, into: x + row * width, count: width)
        }
    }

    /// One network over `count` rows. `gateUp` keeps gate and up with their biases; `out` may be the input.
    private func forward(
        _ network: FeedForward, _ matrices: Network, _ packed: DecoderModel.PackedFeedForward?,
        _ input: UnsafePointer<Float>, count: Int, gateUp: UnsafeMutablePointer<Float>,
        into out: UnsafeMutablePointer<Float>, observing: (UnsafePointer<Float>) -> Void = { _ in }
    ) {
        let width = c.hiddenSize, inner = network.innerSize, stride = matrices.inputs.rows
        var jobs: [ProductJob] = []
        if let packed {
            if let gate = packed.gate { jobs.append(ProductJob(gate, into: gateUp, stride: stride)) }
            jobs.append(ProductJob(packed.up, into: gateUp + (stride - inner), stride: stride))
        }
        if !integerProducts(input, count: count, columns: width, jobs) {
            matrices.inputs.forward(
                input, count: count, into: gateUp, yStride: stride, scratch: &scratch.weights, pool: pool)
        }
        let activated = scratch.activated.reserve(count * inner)
        forRows(count) { row in network.activate(gateUp + row * stride, into: activated + row * inner) }
        observing(activated)
        let down = packed.map { [ProductJob($0.down, into: out, stride: width)] } ?? []
        if !integerProducts(activated, count: count, columns: inner, down) {
            matrices.down.forward(
                activated, count: count, into: out, yStride: width, scratch: &scratch.weights, pool: pool)
        }
        if network.down.bias != nil { forRows(count) { row in network.down.addBias(out + row * width) } }
    }

    /// dInput = inputsᵀ(activation'(downᵀ dOut · factor)).
    ///
    /// - Parameters:
    ///   - factors: what the network's outputs were multiplied by, one a row, or nil.
    ///   - dFactors: gets the gradient of each factor.
    private func backward(
        _ network: FeedForward, _ matrices: Network, gateUp: UnsafePointer<Float>, dOut: UnsafePointer<Float>,
        count: Int, factors: UnsafePointer<Float>? = nil, dFactors: UnsafeMutablePointer<Float>? = nil,
        into dInput: UnsafeMutablePointer<Float>
    ) {
        let width = c.hiddenSize, inner = network.innerSize, stride = matrices.inputs.rows
        let dActivated = scratch.activated.reserve(count * inner)
        matrices.down.backward(
            dOut, count: count, dYStride: width, into: dActivated, accumulate: false, integers: gradientIntegers,
            scratch: &scratch.weights,
            pool: pool)
        let dGateUp = scratch.dGateUp.reserve(count * stride)
        forRows(count) { row in
            let dRow = dActivated + row * inner, dInputs = dGateUp + row * stride
            if let factors, let dFactors {
                // dInputs is free yet: the network's activation once more, for ⟨down·a, dOut⟩ = ⟨a, downᵀ·dOut⟩.
                let gate = gateUp + row * stride
                network.activation.forward(
                    gate: gate, up: network.gate == nil ? nil : gate + inner, into: dInputs, count: inner)
                dFactors[row] = VectorMath.dot(dInputs, dRow, count: inner)
                VectorMath.scale(dRow, by: factors[row], count: inner)
            }
            network.activateBackward(gateUp + row * stride, dOut: dRow, into: dInputs)
        }
        matrices.inputs.backward(
            dGateUp, count: count, dYStride: stride, into: dInput, accumulate: false, integers: gradientIntegers,
            scratch: &scratch.weights,
            pool: pool)
    }

    /// From the gradient at the layer's output `dX` to that at the feed-forward's input: added to `dX` where the
    /// feed-forward reads what attention made, left in `scratch.dParallel` where it reads the layer's input.
    func backwardFeedForward(_ index: Int, count: Int, _ dX: UnsafeMutablePointer<Float>) {
        let width = c.hiddenSize
        let layer = model.layers[index]
        var dBranch = UnsafePointer(dX)
        if layer.postFeedForwardNorm != nil || c.residualScale != 1 {
            dBranch = UnsafePointer(
                backwardBranch(
                    dX, layer.postFeedForwardNorm, unnormed: saved[index].feedForwardBranch.pointer, count: count))
        }
        let dNormed = scratch.normed.reserve(count * width)
        if layer.experts != nil {
            backwardExperts(index, count: count, dBranch, into: dNormed)
        } else if let network = layer.feedForward, let matrices = weights[index].feedForward {
            backward(
                network, matrices, gateUp: saved[index].gateUp.pointer, dOut: dBranch, count: count, into: dNormed)
        }
        var target = dX
        if layer.isParallel {
            target = scratch.dParallel.reserve(count * width)
            target.update(repeating: 0, count: count * width)
        }
        backwardNormalization(saved[index].middle.pointer, layer.feedForwardNorm, dNormed, count: count, into: target)
    }

    /// The gradient before the norm and the scale of a branch, in `scratch.dBranch`.
    func backwardBranch(
        _ dX: UnsafePointer<Float>, _ norm: Normalization?, unnormed: UnsafePointer<Float>, count: Int
    ) -> UnsafeMutablePointer<Float> {
        let width = c.hiddenSize, scale = c.residualScale
        let dBranch = scratch.dBranch.reserve(2 * count * width)
        let plain = dBranch + count * width
        forRows(count) { row in
            let line = dBranch + row * width, scaled = norm == nil ? line : plain + row * width
            scaled.update(from: dX + row * width, count: width)
            if scale != 1 { VectorMath.scale(scaled, by: scale, count: width) }
            guard let norm else { return }
            line.update(repeating: 0, count: width)
            norm.backward(unnormed + row * width, dOut: scaled, accumulatingInto: line, columns: width)
        }
        return dBranch
    }

    /// dX += the gradient through a norm, or `dNormed` itself without one.
    func backwardNormalization(
        _ x: UnsafePointer<Float>, _ norm: Normalization?, _ dNormed: UnsafePointer<Float>, count: Int,
        into dX: UnsafeMutablePointer<Float>
    ) {
        let width = c.hiddenSize
        forRows(count) { row in
            let first = row * width
            if let norm {
                norm.backward(x + first, dOut: dNormed + first, accumulatingInto: dX + first, columns: width)
            } else {
                VectorMath.add(dNormed + first, into: dX + first, count: width)
            }
        }
    }

    // MARK: - Experts

    /// x += scale · (Σ weight · expert(h) + share · shared(h)), h the rows of `normed`.
    private func forwardExperts(
        _ index: Int, count: Int, _ normed: UnsafeMutablePointer<Float>, _ x: UnsafeMutablePointer<Float>
    ) {
        guard let settings = c.experts, let layer = model.layers[index].experts, let matrices = weights[index].experts
        else { return }
        let width = c.hiddenSize, scale = c.residualScale
        let packed = model.packed[index].experts
        observe(index, [.router], normed, count: count, columns: width)
        let logits = scratch.router.reserve(count * settings.count)
        let isRouted = integerProducts(
            normed, count: count, columns: width,
            packed.map { [ProductJob($0.router, into: logits, stride: settings.count)] } ?? [])
        if !isRouted {
            matrices.router.forward(
                normed, count: count, into: logits, yStride: settings.count, scratch: &scratch.weights, pool: pool)
        }
        for row in 0..<count { layer.router.addBias(logits + row * settings.count) }
        let routing = ExpertRouting(logits, count: count, settings)
        saved[index].routing = routing
        let pairCount = routing.rows.count, stride = 2 * settings.feedForwardSize
        let gateUp = saved[index].gateUp.reserve(pairCount * stride)
        let inputs = scratch.expertRows.reserve(pairCount * width)
        let out = scratch.expertOut.reserve(max(pairCount, count) * width)
        forRows(pairCount) { pair in
            (inputs + pair * width).update(from: normed + routing.rows[pair] * width, count: width)
        }
        for (expert, network) in layer.experts.enumerated() {
            let pairs = routing.pairs(of: expert)
            if pairs.isEmpty { continue }
            let place = (expert, settings.count)
            observe(
                index, [.expertGates, .expertUps], expert: place, inputs + pairs.lowerBound * width,
                count: pairs.count, columns: width)
            forward(
                network, matrices.experts[expert], packed?.experts[expert], inputs + pairs.lowerBound * width,
                count: pairs.count, gateUp: gateUp + pairs.lowerBound * stride, into: out
            ) { [self] activated in
                observe(
                    index, [.expertDowns], expert: place, activated, count: pairs.count, columns: network.innerSize)
            }
            for (offset, pair) in pairs.enumerated() {
                VectorMath.axpy(
                    routing.weights[pair] * scale, out + offset * width, into: x + routing.rows[pair] * width,
                    count: width)
            }
        }
        guard let shared = layer.shared, let network = matrices.shared, let gate = matrices.sharedRouter else { return }
        let shares = saved[index].sharedShares.reserve(count)
        observe(index, [.sharedRouter, .sharedGate, .sharedUp], normed, count: count, columns: width)
        let isGated = integerProducts(
            normed, count: count, columns: width,
            packed?.sharedRouter.map { [ProductJob($0, into: shares, stride: 1)] } ?? [])
        if !isGated {
            gate.forward(normed, count: count, into: shares, yStride: 1, scratch: &scratch.weights, pool: pool)
        }
        forward(
            shared, network, packed?.shared, normed, count: count,
            gateUp: saved[index].sharedGateUp.reserve(count * network.inputs.rows), into: out
        ) { [self] activated in
            observe(index, [.sharedDown], activated, count: count, columns: shared.innerSize)
        }
        for row in 0..<count {
            shares[row] = ExpertRouting.sigmoid(shares[row])
            VectorMath.axpy(shares[row] * scale, out + row * width, into: x + row * width, count: width)
        }
    }

    /// The gradient at the input of a layer's experts, through the chosen ones, their weights and the router.
    private func backwardExperts(
        _ index: Int, count: Int, _ dOut: UnsafePointer<Float>, into dInput: UnsafeMutablePointer<Float>
    ) {
        guard let settings = c.experts, let layer = model.layers[index].experts, let matrices = weights[index].experts,
            let routing = saved[index].routing
        else { return }
        let width = c.hiddenSize
        let pairCount = routing.rows.count, stride = 2 * settings.feedForwardSize
        let gateUp = saved[index].gateUp.pointer
        let dRows = scratch.expertRows.reserve(pairCount * width)
        let dInputs = scratch.expertOut.reserve(max(pairCount, count) * width)
        forRows(pairCount) { pair in
            (dRows + pair * width).update(from: dOut + routing.rows[pair] * width, count: width)
        }
        let dWeights = scratch.pairGradient.reserve(pairCount + count)
        dInput.update(repeating: 0, count: count * width)
        routing.weights.withUnsafeBufferPointer { factors in
            guard let factors = factors.baseAddress else { return }
            for (expert, network) in layer.experts.enumerated() {
                let pairs = routing.pairs(of: expert)
                if pairs.isEmpty { continue }
                let first = pairs.lowerBound
                backward(
                    network, matrices.experts[expert], gateUp: gateUp + first * stride, dOut: dRows + first * width,
                    count: pairs.count, factors: factors + first, dFactors: dWeights + first, into: dInputs)
                for (offset, pair) in pairs.enumerated() {
                    VectorMath.add(dInputs + offset * width, into: dInput + routing.rows[pair] * width, count: width)
                }
            }
        }
        let dLogits = scratch.router.reserve(count * settings.count)
        routing.backward(dWeights, settings, into: dLogits)
        matrices.router.backward(
            dLogits, count: count, dYStride: settings.count, into: dInput, accumulate: true, integers: gradientIntegers,
            scratch: &scratch.weights, pool: pool)
        guard let shared = layer.shared, let network = matrices.shared, let gate = matrices.sharedRouter else { return }
        let shares = saved[index].sharedShares.pointer
        let dShares = dWeights + pairCount
        backward(
            shared, network, gateUp: saved[index].sharedGateUp.pointer, dOut: dOut, count: count, factors: shares,
            dFactors: dShares, into: dInputs)
        for row in 0..<count {
            VectorMath.add(dInputs + row * width, into: dInput + row * width, count: width)
            dShares[row] *= shares[row] * (1 - shares[row])
        }
        gate.backward(
            dShares, count: count, dYStride: 1, into: dInput, accumulate: true, integers: gradientIntegers,
            scratch: &scratch.weights, pool: pool)
    }
}
