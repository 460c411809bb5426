import Kernels
import Layers

/// The scratch memory of one forward pass at a time: grows to the largest batch it has seen and is then reused, so that
/// generating a token allocates nothing.
public final class InferenceWorkspace: @unchecked Sendable {
    // Sendable: one session owns a workspace and runs one forward pass at a time.
    var hidden = GrowableBuffer()
    var queries = GrowableBuffer()
    var keys = GrowableBuffer()
    var values = GrowableBuffer()
    var gate = GrowableBuffer()
    var up = GrowableBuffer()
    var logits = GrowableBuffer()
    /// What a branch adds to the residual stream, where it cannot be added by the product itself.
    var branch = GrowableBuffer()
    /// Attention's branch of a parallel layer.
    var waiting = GrowableBuffer()
    var router = GrowableBuffer()
    /// What adapters make of activations.
    var reduced = GrowableBuffer()
    let reducedInput = Activations()
    let normed = Activations()
    let attended = Activations()
    let feedForward = Activations()
    let expertInput = Activations()

    public init() {}
}
