import Foundation
import PromptRegistry
import Synchronization

/// A folder that goes away with the value.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "incipit-registry-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The registry inside, opened anew: as another process would.
    func open(_ change: (inout EmbeddedStore.Options) -> Void = { _ in }) throws -> EmbeddedStore {
        var options = EmbeddedStore.Options()
        options.user = "tester"
        change(&options)
        return try EmbeddedStore(path: path + "/registry", options: options)
    }

    func files(_ folder: String) -> [String] {
        let root = path + "/registry/" + folder
        let all = (try? FileManager.default.subpathsOfDirectory(atPath: root)) ?? []
        return all.filter { name in
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: root + "/" + name, isDirectory: &isFolder)
                && !isFolder.boolValue
        }.map { root + "/" + $0 }
    }
}

/// A clock that tests turn.
final class TestClock: Sendable {
    private let time = Mutex(Date())
    var now: Date { time.withLock { $0 } }
    func advance(hours: Double) { time.withLock { $0 += hours * 3600 } }
}
