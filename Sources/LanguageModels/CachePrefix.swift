import SoftPrompts

// A prefix-tuned prompt is stored in PEFT's layout with Hugging Face's order of dimensions, and used in the layout of a
// cache with the model's own order (soft prompt artifact contract).
extension DecoderShape {
    /// Floats of a virtual token that enters at `placement`.
    public func valuesPerVirtualToken(_ placement: SoftPrompt.Placement) -> Int {
        switch placement {
        case .inputEmbeddings: hiddenSize
        case .keysAndValues: keyValueElementsPerToken
        case .adaptionPrompt: AdaptionLayout(promptShape).columns
        }
    }

    /// Stored values as a cache takes them: `(layer, key|value, head, token, headDimension)`.
    ///
    /// - Parameter values: `(tokens, layerCount · 2 · keyValueHeadCount · headDimension)`.
    public func cachePrefix(fromStored values: [Float], tokens: Int) -> [Float] {
        let layout = PrefixLayout(promptShape)
        var keys = layout.unpack(values, .keys, tokenCount: tokens)
        if interleavedRotary { keys = HeadPermutation.interleave(keys, headDimension: headDimension) }
        let plain = layout.unpack(values, .values, tokenCount: tokens)
        let plane = keyValueHeadCount * tokens * headDimension
        var result: [Float] = []
        result.reserveCapacity(values.count)
        for layer in 0..<layerCount {
            result += keys[layer * plane..<(layer + 1) * plane]
            result += plain[layer * plane..<(layer + 1) * plane]
        }
        return result
    }

    /// The way back from a cache's prefix to stored values.
    public func storedPrefix(fromCache prefix: [Float], tokens: Int) -> [Float] {
        let plane = keyValueHeadCount * tokens * headDimension
        var keys: [Float] = []
        var values: [Float] = []
        for layer in 0..<layerCount {
            keys += prefix[2 * layer * plane..<(2 * layer + 1) * plane]
            values += prefix[(2 * layer + 1) * plane..<(2 * layer + 2) * plane]
        }
        if interleavedRotary { keys = HeadPermutation.deinterleave(keys, headDimension: headDimension) }
        return PrefixLayout(promptShape).pack(keys: keys, values: values, tokenCount: tokens)
    }
}
