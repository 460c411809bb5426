/// A set of byte strings, each with a number, to be matched against a text from left to right.
///
/// Children are found through one hash table over (node, byte), seeded per process as `ByteStringTable` is, so that a
/// node takes the same small space whether it has one child or 256.
struct ByteTrie: Sendable {
    /// `node << 8 | byte` + 1 in the upper part, 0 where empty.
    private var keys: [UInt64]
    private var children: [Int32]
    private var values: [Int32] = [-1]
    private var used = 0

    private static let seed = UInt64.random(in: .min ... .max)

    init() {
        keys = [UInt64](repeating: 0, count: 64)
        children = [Int32](repeating: -1, count: 64)
    }

    var isEmpty: Bool { used == 0 && values[0] < 0 }

    static let root: Int32 = 0

    /// Gives `key` a number; the first of two stays, unless `replacing`.
    mutating func insert(_ key: some Sequence<UInt8>, _ value: Int32, replacing: Bool = false) {
        var node = Self.root
        for byte in key {
            if let next = child(of: node, byte) {
                node = next
                continue
            }
            let next = Int32(values.count)
            values.append(-1)
            if (used + 1) * 2 > keys.count { grow() }
            place(Self.key(node, byte), next)
            used += 1
            node = next
        }
        if replacing || values[Int(node)] < 0 { values[Int(node)] = value }
    }

    /// The number of the string that ends at `node`, or -1.
    @inline(__always)
    func value(at node: Int32) -> Int32 { values[Int(node)] }

    @inline(__always)
    func child(of node: Int32, _ byte: UInt8) -> Int32? {
        let key = Self.key(node, byte)
        var index = Self.hash(key) & (keys.count - 1)
        while keys[index] != 0 {
            if keys[index] == key { return children[index] }
            index = (index + 1) & (keys.count - 1)
        }
        return nil
    }

    private mutating func place(_ key: UInt64, _ child: Int32) {
        var index = Self.hash(key) & (keys.count - 1)
        while keys[index] != 0 { index = (index + 1) & (keys.count - 1) }
        keys[index] = key
        children[index] = child
    }

    private mutating func grow() {
        let old = (keys, children)
        keys = [UInt64](repeating: 0, count: old.0.count * 2)
        children = [Int32](repeating: -1, count: old.0.count * 2)
        for (key, child) in zip(old.0, old.1) where key != 0 { place(key, child) }
    }

    @inline(__always)
    private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 {
        (UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte)) &+ 1
    }

    @inline(__always)
    private static func hash(_ key: UInt64) -> Int {
        let product = (key ^ seed).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return Int(truncatingIfNeeded: product.high ^ product.low)
    }
}
