/// Is shown what enters a model's matrix products, as an importance matrix or a study of activations needs it.
public protocol ActivationObserver: AnyObject {
    /// Called before a product, on the thread that runs the model.
    /// - Parameters:
    ///   - tensors: GGUF's names of the weights that this input meets; queries, keys and values share one.
    ///   - rows: `(count, columns)` floats, row-major; valid during the call.
    func observe(_ tensors: [String], _ rows: UnsafePointer<Float>, count: Int, columns: Int)
}

/// A differentiable model that can be watched. Without an observer nothing is spent on it.
public protocol ObservableModel: DifferentiableModel {
    var activationObserver: (any ActivationObserver)? { get set }
}
