/// Numbers byte strings in the order they come: an interning hash table over one buffer.
///
/// Probing is linear and the hash is seeded afresh in every process, so that no file can choose strings that collide. The
/// seed never shows in any result.
struct ByteStringTable: Sendable {
    private var bytes: [UInt8] = []
    private var starts: [Int] = [0]
    /// `hash's upper half << 32 | number + 1`, 0 where empty; the count is a power of two.
    private var slots: [UInt64]

    private static let seed = UInt64.random(in: .min ... .max)

    init(minimumCapacity: Int) {
        var size = 64
        while size < minimumCapacity * 2 { size *= 2 }
        slots = [UInt64](repeating: 0, count: size)
        starts.reserveCapacity(minimumCapacity + 1)
    }

    var count: Int { starts.count - 1 }
    /// The bytes held, all strings together.
    var byteCount: Int { bytes.count }

    /// The bytes of string `number`.
    subscript(number: Int) -> ArraySlice<UInt8> { bytes[starts[number]..<starts[number + 1]] }

    /// The number of `key`, if it has one.
    @inline(__always)
    func find(_ key: UnsafeBufferPointer<UInt8>) -> Int? {
        let hash = Self.hash(key)
        var index = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while true {
            let slot = slots[index]
            if slot == 0 { return nil }
            if slot >> 32 == hash >> 32 {
                let number = Int(slot & 0xFFFF_FFFF) - 1
                if equals(number, key) { return number }
            }
            index = (index + 1) & (slots.count - 1)
        }
    }

    /// The number of `key`, a new one if it had none.
    mutating func insert(_ key: UnsafeBufferPointer<UInt8>) -> (number: Int, isNew: Bool) {
        let hash = Self.hash(key)
        var index = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[index] != 0 {
            if slots[index] >> 32 == hash >> 32 {
                let number = Int(slots[index] & 0xFFFF_FFFF) - 1
                if equals(number, key) { return (number, false) }
            }
            index = (index + 1) & (slots.count - 1)
        }
        let number = count
        precondition(number < Int(UInt32.max) - 1, "a byte string table holds at most 2^32 - 2 strings")
        bytes.append(contentsOf: key)
        starts.append(bytes.count)
        if (number + 1) * 2 > slots.count {
            grow()
        } else {
            slots[index] = (hash & ~0xFFFF_FFFF) | UInt64(number + 1)
        }
        return (number, true)
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        starts.removeAll(keepingCapacity: true)
        starts.append(0)
        for index in slots.indices { slots[index] = 0 }
    }

    @inline(__always)
    private func equals(_ number: Int, _ key: UnsafeBufferPointer<UInt8>) -> Bool {
        let start = starts[number]
        guard starts[number + 1] - start == key.count else { return false }
        return bytes.withUnsafeBufferPointer { bytes in
            for offset in 0..<key.count where bytes[start + offset] != key[offset] { return false }
            return true
        }
    }

    private mutating func place(_ hash: UInt64, _ number: Int) {
        var index = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[index] != 0 { index = (index + 1) & (slots.count - 1) }
        slots[index] = (hash & ~0xFFFF_FFFF) | UInt64(number + 1)
    }

    private mutating func grow() {
        slots = [UInt64](repeating: 0, count: slots.count * 2)
        for number in 0..<count {
            let hash = self[number].withUnsafeBufferPointer { Self.hash($0) }
            place(hash, number)
        }
    }

    /// Eight bytes at a time: multiply to 128 bits and fold, as wyhash does.
    @inline(__always)
    private static func hash(_ key: UnsafeBufferPointer<UInt8>) -> UInt64 {
        let raw = UnsafeRawBufferPointer(key)
        var state = seed ^ UInt64(truncatingIfNeeded: key.count) &* 0x9E37_79B9_7F4A_7C15
        var offset = 0
        while offset + 8 <= raw.count {
            state = fold(state ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        var tail: UInt64 = 0
        while offset < raw.count {
            tail = tail << 8 | UInt64(raw[offset])
            offset += 1
        }
        return fold(fold(state ^ tail) ^ seed)
    }

    @inline(__always)
    private static func fold(_ value: UInt64) -> UInt64 {
        let product = (value ^ 0x2D35_8DCC_AA6C_78A5).multipliedFullWidth(by: 0x8BB8_4B93_962E_ACC9)
        return product.high ^ product.low
    }
}
