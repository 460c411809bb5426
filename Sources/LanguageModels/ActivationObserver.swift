/// Is shown what enters a model's matrix products, as an importance matrix or a study of activations needs it.
public protocol ActivationObserver: AnyObject {
    /// Called before a product, on the thread that runs the model.
    /// - Parameters:
    ///   - tensors: GGUF's names of the weights that this input meets; queries, keys and values share one.
    ///   - matrix: which of the weight's matrices, and how many it has: an expert of a stack, else the only one.
    ///   - rows: `(count, columns)` floats, row-major; valid during the call.
    func observe(
        _ tensors: [String], matrix: (index: Int, count: Int), _ rows: UnsafePointer<Float>, count: Int, columns: Int)
}

extension ActivationObserver {
    /// The input of weights that are one matrix each.
    func observe(_ tensors: [String], _ rows: UnsafePointer<Float>, count: Int, columns: Int) {
        observe(tensors, matrix: (0, 1), rows, count: count, columns: columns)
    }
}

/// A differentiable model that can be watched. Without an observer nothing is spent on it.
public protocol ObservableModel: DifferentiableModel {
    var activationObserver: (any ActivationObserver)? { get set }
}
