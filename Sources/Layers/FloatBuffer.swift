/// A fixed-length, 64-byte aligned run of `Float`s that this object owns.
///
/// Activations, gradients and scratch space live here: kernels want plain pointers, and `Array` would copy on write and
/// check bounds in the inner loop. The memory is zeroed once, at creation, and freed in `deinit`.
public final class FloatBuffer: @unchecked Sendable {
    // Sendable is sound because the object itself never changes; who writes through `pointer` and when is the caller's
    // contract, exactly as for the worker threads of `ThreadPool.parallelFor`.

    /// Number of elements.
    public let count: Int
    /// The first element; valid while this object lives.
    public let pointer: UnsafeMutablePointer<Float>

    /// Allocates `count` zeros. At least one element is allocated, so `pointer` is always valid.
    public init(count: Int) {
        precondition(count >= 0, "a buffer cannot have \(count) elements")
        let bytes = max(count, 1) * MemoryLayout<Float>.stride
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        self.count = count
        pointer = raw.bindMemory(to: Float.self, capacity: max(count, 1))
        pointer.initialize(repeating: 0, count: max(count, 1))
    }

    /// A copy of `values`.
    public convenience init(_ values: [Float]) {
        self.init(count: values.count)
        for (index, value) in values.enumerated() { pointer[index] = value }
    }

    deinit {
        UnsafeMutableRawPointer(pointer).deallocate()
    }

    /// Sets every element to zero.
    public func clear() {
        pointer.update(repeating: 0, count: count)
    }

    /// The elements as an array, for results that leave the numerical core.
    public var array: [Float] {
        Array(UnsafeBufferPointer(start: pointer, count: count))
    }
}

/// A buffer that only grows: reused across steps whose sizes differ.
public struct GrowableBuffer {
    private var buffer = FloatBuffer(count: 0)

    public init() {}

    /// Memory for at least `count` elements; contents are unspecified after growth.
    public mutating func reserve(_ count: Int) -> UnsafeMutablePointer<Float> {
        if buffer.count < count { buffer = FloatBuffer(count: count) }
        return buffer.pointer
    }

    /// The current memory.
    public var pointer: UnsafeMutablePointer<Float> { buffer.pointer }
}
