import Kernels
import Limits

/// What the machine can do at most, for the benchmarks that ask how much of it the engine uses.
enum LimitsMeasurement {
    static let usage = "[--threads N] [--megabytes 1024] [--json]"

    static func run(_ words: [String]) throws {
        let arguments = try Arguments(
            words, positional: [], options: ["--threads", "--megabytes"], flags: ["--json"])
        let threads = try arguments.int("--threads", default: CPUTopology.usableCoreCount)
        let megabytes = try arguments.int("--megabytes", default: 1024)
        try Report.print(
            [
                ("threads", threads),
                ("int8Gops", Report.rounded(limits_int8_gops(Int32(threads)), 1)),
                (
                    "readGigabytesPerSecond",
                    Report.rounded(limits_read_gigabytes(Int32(threads), UInt(megabytes) << 20), 2)
                ),
            ], json: arguments.has("--json"))
    }
}
