/// Processes that train one prompt together: each computes some of a step's batches, and all see every gradient.
///
/// All of them run the same program on the same data and call these functions in the same order. Sums are formed by the
/// callers, in the order of the ranks, so that every process, and one process alone, gets the same bits.
public protocol GradientExchange: AnyObject {
    /// This process's number, from 0; process 0 evaluates, keeps checkpoints and stores.
    var rank: Int { get }
    /// How many there are, at least 1.
    var size: Int { get }

    /// Gives every process what each has, in the order of the ranks.
    ///
    /// - Parameter bytes: as many in each process.
    func gather(_ bytes: [UInt8]) throws -> [[UInt8]]

    /// Gives every process the bytes of process 0; those of the others do not matter.
    func broadcast(_ bytes: [UInt8]) throws -> [UInt8]
}

extension GradientExchange {
    /// Whether this process evaluates, keeps checkpoints and stores.
    public var isFirst: Bool { rank == 0 }

    /// What each process has of some numbers, with one more, in the order of the ranks.
    func gather(_ values: [Float], loss: Double) throws -> [(values: [Float], loss: Double)] {
        let own = values.withUnsafeBytes { Array($0) } + withUnsafeBytes(of: loss.bitPattern) { Array($0) }
        return try gather(own).map { bytes in
            guard bytes.count == own.count else {
                throw TuningError(
                    code: .invalidSetting,
                    message:
                        "the processes do not train the same prompt: one has \(own.count) bytes of gradient, another "
                        + "\(bytes.count)")
            }
            return bytes.withUnsafeBytes { raw in
                let size = values.count * MemoryLayout<Float>.stride
                let floats = (0..<values.count).map {
                    raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Float>.stride, as: Float.self)
                }
                return (
                    floats, Double(bitPattern: raw.loadUnaligned(fromByteOffset: size, as: UInt64.self))
                )
            }
        }
    }

    /// Whether any process says so.
    func anyone(_ flag: Bool) throws -> Bool { try gather([flag ? 1 : 0]).contains { $0.first == 1 } }

    /// The numbers of process 0.
    func broadcast(_ values: [Float]) throws -> [Float] {
        let bytes = try broadcast(values.withUnsafeBytes { Array($0) })
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / MemoryLayout<Float>.stride).map {
                raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Float>.stride, as: Float.self)
            }
        }
    }

    /// The score that process 0 computes.
    func broadcast(_ score: () throws -> DevScore) throws -> DevScore {
        var bytes: [UInt8] = []
        if isFirst {
            let own = try score()
            for value in [own.loss, own.accuracy ?? .nan] {
                bytes += withUnsafeBytes(of: value.bitPattern) { Array($0) }
            }
        }
        let found = try broadcast(bytes)
        guard found.count == 16 else {
            throw TuningError(code: .invalidSetting, message: "process 0 sent no score; the processes differ")
        }
        let numbers = found.withUnsafeBytes { raw in
            [0, 8].map { Double(bitPattern: raw.loadUnaligned(fromByteOffset: $0, as: UInt64.self)) }
        }
        return DevScore(loss: numbers[0], accuracy: numbers[1].isNaN ? nil : numbers[1])
    }

    /// - Throws: `TuningError.invalidSetting` when the processes were not started on the same run.
    func check(_ identity: [String: String]) throws {
        // FNV-1a: enough to tell different runs apart; nobody forges a start.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for (key, value) in identity.sorted(by: { $0.key < $1.key }) {
            for byte in "\(key)=\(value)\n".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        }
        let all = try gather(withUnsafeBytes(of: hash) { Array($0) })
        if let other = all.firstIndex(where: { $0 != all[0] }) {
            throw TuningError(
                code: .invalidSetting,
                message:
                    "process \(other) was not started on the same run as process 0: base, data and settings must be "
                    + "the same everywhere")
        }
    }
}
