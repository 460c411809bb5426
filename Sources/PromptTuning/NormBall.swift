/// Keeps what is trained near where it began: projected gradient descent, as in context-aware prompt tuning
/// (arXiv 2410.17222). Vectors that stay on the scale of the vocabulary survive storage in half precision.
public enum NormBall {
    /// Pulls each vector that is too far away back onto its ball.
    ///
    /// - Parameters:
    ///   - centre: where the parameters began.
    ///   - radius: of the ball, as a fraction of the length of the vector at its centre; a zero vector takes the mean
    ///     length of all vectors.
    ///   - width: floats of a vector.
    public static func project(_ parameters: inout [Float], around centre: [Float], radius: Double, width: Int) {
        precondition(parameters.count == centre.count && width > 0 && parameters.count % width == 0)
        func length(_ start: Int) -> Double {
            var sum = 0.0
            for index in start..<start + width { sum += Double(centre[index]) * Double(centre[index]) }
            return sum.squareRoot()
        }
        let starts = stride(from: 0, to: parameters.count, by: width)
        let lengths = starts.map(length)
        let mean = lengths.reduce(0, +) / Double(max(lengths.count, 1))
        for (start, own) in zip(starts, lengths) {
            var sum = 0.0
            for index in start..<start + width {
                let change = Double(parameters[index]) - Double(centre[index])
                sum += change * change
            }
            let limit = radius * (own > 0 ? own : mean)
            let distance = sum.squareRoot()
            guard distance > limit else { continue }
            let factor = Float(limit / distance)
            for index in start..<start + width {
                parameters[index] = centre[index] + factor * (parameters[index] - centre[index])
            }
        }
    }
}
