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
    let normed = Activations()
    let attended = Activations()
    let feedForward = Activations()

    public init() {}
}
