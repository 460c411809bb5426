import Foundation

/// How much memory this process may still take.
public enum SystemMemory {
    /// Bytes available: the kernel's estimate, or what the control group leaves if that is less.
    public static var available: Int {
        var result = meminfo("MemAvailable:") ?? Int(ProcessInfo.processInfo.physicalMemory)
        if let limit = number(in: "/sys/fs/cgroup/memory.max"), let used = number(in: "/sys/fs/cgroup/memory.current") {
            result = min(result, max(0, limit - used))
        }
        return result
    }

    /// The process's largest resident set so far, in bytes (`VmHWM`).
    public static var peakResident: Int { field("VmHWM:", in: "/proc/self/status") ?? 0 }

    private static func meminfo(_ name: String) -> Int? { field(name, in: "/proc/meminfo") }

    /// A line of the form `name   123 kB`.
    private static func field(_ name: String, in path: String) -> Int? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix(name) {
            return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
        }
        return nil
    }

    private static func number(in path: String) -> Int? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        return Int(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
