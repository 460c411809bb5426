import CKernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// How many processors this process may really use.
public enum CPUTopology {
    /// The number of processors in the affinity mask, lowered to the cgroup's quota rounded up; at least 1.
    ///
    /// A container with `--cpus=1.5` on a 64-core host gets 2. Read afresh at each call (a few microseconds).
    public static var usableCoreCount: Int {
        var count = affinityCount
        if let quota = cgroupQuota { count = min(count, Int(max(1, quota).rounded(.up))) }
        return max(1, count)
    }

    private static var affinityCount: Int {
        let count = Int(ck_affinity_count())
        if count > 0 { return count }
        return max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// Processors' worth of time that the process's cgroup, or any parent of it, grants; nil when unlimited.
    private static var cgroupQuota: Double? {
        var quotas: [Double] = []
        // Version 2: one line "0::/path"; every level from there to the root may hold a limit.
        for line in (readText("/proc/self/cgroup") ?? "").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            if parts[0] == "0" {
                quotas += levels(String(parts[2])).compactMap { version2Quota("/sys/fs/cgroup\($0)/cpu.max") }
            } else if parts[1].split(separator: ",").contains("cpu") {
                quotas += levels(String(parts[2])).compactMap { version1Quota("/sys/fs/cgroup/cpu\($0)") }
            }
        }
        return quotas.min()
    }

    /// "/a/b" as "/a/b", "/a" and "".
    private static func levels(_ path: String) -> [String] {
        var names = path.split(separator: "/").map(String.init)
        var result: [String] = []
        while !names.isEmpty {
            result.append("/" + names.joined(separator: "/"))
            names.removeLast()
        }
        return result + [""]
    }

    /// "max 100000" or "150000 100000".
    static func version2Quota(text: String) -> Double? {
        let fields = text.split { $0 == " " || $0 == "\n" }
        guard fields.count >= 2, let quota = Double(fields[0]), let period = Double(fields[1]) else { return nil }
        return quota > 0 && period > 0 ? quota / period : nil
    }

    private static func version2Quota(_ path: String) -> Double? { readText(path).flatMap(version2Quota(text:)) }

    private static func version1Quota(_ folder: String) -> Double? {
        guard let quota = readText(folder + "/cpu.cfs_quota_us"), let period = readText(folder + "/cpu.cfs_period_us")
        else { return nil }
        return version2Quota(text: quota + " " + period)
    }

    /// The first 16 KiB of a small system file, or nil.
    private static func readText(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 16384)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
