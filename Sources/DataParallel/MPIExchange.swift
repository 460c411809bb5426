#if MPI
    import CMPI
    import PromptTuning

    /// `GradientExchange` over MPI's world communicator.
    ///
    /// A process that ends without `finish` (an error, a signal) makes `mpirun` end the others: nobody waits for ever.
    final class MPIExchange: GradientExchange {
        let rank: Int
        let size: Int

        /// - Throws: `TuningError.invalidSetting` when MPI cannot start.
        init() throws {
            var rank: Int32 = 0, size: Int32 = 0
            guard cmpi_init() == 0, cmpi_rank(&rank) == 0, cmpi_size(&size) == 0, size > 0 else {
                throw TuningError(code: .invalidSetting, message: "MPI could not be started")
            }
            self.rank = Int(rank)
            self.size = Int(size)
        }

        /// MPI counts in 32 bits: longer messages go in pieces.
        private static let piece = 1 << 28

        func gather(_ bytes: [UInt8]) throws -> [[UInt8]] {
            var result = [[UInt8]](repeating: [], count: size)
            for index in result.indices { result[index].reserveCapacity(bytes.count) }
            for start in stride(from: 0, to: bytes.count, by: Self.piece) {
                let own = Array(bytes[start..<min(start + Self.piece, bytes.count)])
                var all = [UInt8](repeating: 0, count: own.count * size)
                guard cmpi_allgather(own, &all, Int32(own.count)) == 0 else { throw Self.failure("gathering") }
                for index in result.indices { result[index] += all[index * own.count..<(index + 1) * own.count] }
            }
            return result
        }

        func broadcast(_ bytes: [UInt8]) throws -> [UInt8] {
            var count = UInt64(bytes.count)
            guard cmpi_broadcast(&count, 8) == 0 else { throw Self.failure("sending") }
            var result = rank == 0 ? bytes : [UInt8](repeating: 0, count: Int(count))
            for start in stride(from: 0, to: result.count, by: Self.piece) {
                let size = min(Self.piece, result.count - start)
                let status = result.withUnsafeMutableBytes { raw in
                    raw.baseAddress.map { cmpi_broadcast($0 + start, Int32(size)) } ?? 0
                }
                guard status == 0 else { throw Self.failure("sending") }
            }
            return result
        }

        static func finish() { _ = cmpi_finalize() }

        private static func failure(_ what: String) -> TuningError {
            TuningError(code: .invalidSetting, message: "MPI failed while \(what); see what mpirun says")
        }
    }
#endif
