import Foundation
import Logging
import OCIArtifacts

/// Logs one JSON object a line on standard error: `{"at":…,"level":…,"message":…}` and the metadata beside them.
///
/// Values are strings, escaped as JSON wants it: a client cannot forge a line by what it sends.
public struct JSONLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel = Logger.Level.info
    private let write: @Sendable ([UInt8]) -> Void

    /// - Parameter write: takes a whole line; by default it goes to standard error.
    public init(write: @escaping @Sendable ([UInt8]) -> Void = { FileHandle.standardError.write(Data($0)) }) {
        self.write = write
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var members: [String: JSONNode] = [:]
        for (key, value) in metadata.merging(event.metadata ?? [:], uniquingKeysWith: { $1 }) {
            members[key] = .string("\(value)")
        }
        members["at"] = .string(Date().formatted(.iso8601.time(includingFractionalSeconds: true)))
        members["level"] = .string(event.level.rawValue)
        members["message"] = .string(event.message.description)
        write(JSONNode.object(members).canonical + [UInt8(ascii: "\n")])
    }
}
