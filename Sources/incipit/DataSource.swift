import Foundation
import PromptTuning

/// Finds a data set by path or by name.
///
/// A name without a slash is looked up as `NAME.jsonl` in the folders of `INCIPIT_DATA` (separated by colons), then in
/// `$INCIPIT_HOME/data`.
enum DataSource {
    static func path(for name: String, home: Home) throws -> String {
        let manager = FileManager.default
        if manager.fileExists(atPath: name) { return name }
        var tried = [name]
        if !name.contains("/") {
            let folders = (ProcessInfo.processInfo.environment["INCIPIT_DATA"] ?? "").split(separator: ":").map(
                String.init)
            for folder in folders + [home.data + "/data"] {
                for candidate in ["\(folder)/\(name).jsonl", "\(folder)/\(name)"] {
                    if manager.fileExists(atPath: candidate) { return candidate }
                    tried.append(candidate)
                }
            }
        }
        throw CommandFailure(.notFound, "there is no data set “\(name)”; looked for \(tried.joined(separator: ", "))")
    }
}
