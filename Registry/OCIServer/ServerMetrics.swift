import HTTPTypes
import PromptRegistry
import Synchronization

/// What a server has done, for Prometheus: counters, a histogram of latencies, and the store's figures.
final class ServerMetrics: Sendable {
    /// Upper bounds of the latency buckets, in seconds.
    static let bounds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private struct Key: Hashable {
        let method: String
        let endpoint: String
        let status: Int
    }

    private struct Histogram {
        var counts = [Int](repeating: 0, count: ServerMetrics.bounds.count + 1)
        var sum = 0.0
    }

    private struct State {
        var requests: [Key: Int] = [:]
        var latencies: [String: Histogram] = [:]
        var failedLogins = 0
        var bytesReceived = 0
        var inFlight = 0
    }

    private let state = Mutex(State())

    func begin() { state.withLock { $0.inFlight += 1 } }

    /// - Parameter endpoint: one of a few names, never text of the client's.
    func end(method: HTTPRequest.Method, endpoint: String, status: Int, seconds: Double) {
        let known: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        let key = Key(
            method: known.contains(method.rawValue) ? method.rawValue : "other", endpoint: endpoint, status: status)
        state.withLock { state in
            state.inFlight -= 1
            state.requests[key, default: 0] += 1
            var histogram = state.latencies[endpoint] ?? Histogram()
            histogram.counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
            histogram.sum += seconds
            state.latencies[endpoint] = histogram
        }
    }

    func countFailedLogin() { state.withLock { $0.failedLogins += 1 } }

    func countReceived(_ bytes: Int) { state.withLock { $0.bytesReceived += bytes } }

    var requestsInFlight: Int { state.withLock { $0.inFlight } }

    /// The text exposition format, version 0.0.4.
    func exposition(uploadsUnderWay: Int, store: StoreStatistics?) -> String {
        let state = state.withLock { $0 }
        var lines: [String] = []
        func family(_ name: String, _ type: String, _ help: String) {
            lines.append("# HELP \(name) \(help)")
            lines.append("# TYPE \(name) \(type)")
        }
        func gauge(_ name: String, _ help: String, _ value: Int, type: String = "gauge") {
            family(name, type, help)
            lines.append("\(name) \(value)")
        }
        family("incipit_http_requests_total", "counter", "Requests answered, by method, endpoint and status.")
        let keys = state.requests.keys.sorted {
            ($0.endpoint, $0.method, $0.status) < ($1.endpoint, $1.method, $1.status)
        }
        for key in keys {
            lines.append(
                "incipit_http_requests_total{method=\"\(key.method)\",endpoint=\"\(key.endpoint)\",status=\"\(key.status)\"} "
                    + "\(state.requests[key] ?? 0)")
        }
        family("incipit_http_request_seconds", "histogram", "Seconds until the head of the answer, by endpoint.")
        for (endpoint, histogram) in state.latencies.sorted(by: { $0.key < $1.key }) {
            var total = 0
            for (index, count) in histogram.counts.enumerated() {
                total += count
                let bound = index < Self.bounds.count ? "\(Self.bounds[index])" : "+Inf"
                lines.append("incipit_http_request_seconds_bucket{endpoint=\"\(endpoint)\",le=\"\(bound)\"} \(total)")
            }
            lines.append("incipit_http_request_seconds_sum{endpoint=\"\(endpoint)\"} \(histogram.sum)")
            lines.append("incipit_http_request_seconds_count{endpoint=\"\(endpoint)\"} \(total)")
        }
        gauge("incipit_http_requests_in_flight", "Requests being answered.", state.inFlight)
        gauge("incipit_uploads_in_flight", "Request bodies being received.", uploadsUnderWay)
        gauge(
            "incipit_received_bytes_total", "Bytes of blobs received.", state.bytesReceived, type: "counter")
        gauge(
            "incipit_failed_logins_total", "Requests with wrong credentials.", state.failedLogins, type: "counter")
        if let store {
            gauge("incipit_repositories", "Repositories in the store.", store.repositories)
            gauge("incipit_manifests", "Manifests in the store.", store.manifests)
            gauge("incipit_tags", "Tags in the store.", store.tags)
            gauge("incipit_blobs", "Different blobs in the store.", store.blobs)
            gauge("incipit_blob_bytes", "Bytes of all blobs, uncompressed.", store.blobBytes)
            gauge("incipit_stored_bytes", "Bytes of all blobs as they are stored.", store.storedBytes)
            gauge("incipit_open_uploads", "Uploads that have begun and not ended.", store.openUploads)
            gauge(
                "incipit_deleted_manifests", "Deleted manifests that can be had back.", store.deletedManifests)
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
