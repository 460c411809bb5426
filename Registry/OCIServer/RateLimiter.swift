import Synchronization

/// A token bucket for each key (an address, a principal): so many events a second, and a burst of them at once.
///
/// Memory is bounded: with too many keys, full buckets (which are as good as absent ones) are forgotten, and if that
/// does not help, all are.
final class RateLimiter: Sendable {
    private struct Bucket {
        var tokens: Double
        var updated: ContinuousClock.Instant
    }

    private static let maximumKeys = 10_000
    private let buckets = Mutex<[String: Bucket]>([:])
    private let rate: Double
    private let burst: Double

    /// - Parameters:
    ///   - rate: events a second in the long run; above 0.
    ///   - burst: events at once after a pause; 1 or more.
    init(rate: Double, burst: Double) {
        self.rate = max(rate, 1e-6)
        self.burst = max(burst, 1)
    }

    /// Takes one event. Answers nil when it may happen, else the seconds after which it may.
    func take(_ key: String, now: ContinuousClock.Instant = .now) -> Int? {
        buckets.withLock { buckets in
            var bucket = refilled(buckets[key], now)
            if bucket.tokens >= 1 {
                bucket.tokens -= 1
                store(bucket, key, in: &buckets, now)
                return nil
            }
            store(bucket, key, in: &buckets, now)
            return max(1, Int(((1 - bucket.tokens) / rate).rounded(.up)))
        }
    }

    private func refilled(_ bucket: Bucket?, _ now: ContinuousClock.Instant) -> Bucket {
        guard let bucket else { return Bucket(tokens: burst, updated: now) }
        let passed = (now - bucket.updated) / .seconds(1)
        return Bucket(tokens: min(burst, bucket.tokens + max(0, passed) * rate), updated: now)
    }

    private func store(
        _ bucket: Bucket, _ key: String, in buckets: inout [String: Bucket], _ now: ContinuousClock.Instant
    ) {
        if buckets[key] == nil, buckets.count >= Self.maximumKeys {
            buckets = buckets.filter { refilled($0.value, now).tokens < burst }
            if buckets.count >= Self.maximumKeys { buckets = [:] }
        }
        buckets[key] = bucket
    }
}
