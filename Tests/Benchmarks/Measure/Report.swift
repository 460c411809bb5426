import Foundation
import LanguageModels

/// What a measurement prints: one JSON object on one line, or a line per value for people.
enum Report {
    static func print(_ fields: [(name: String, value: Any)], json: Bool) throws {
        guard json else {
            for (name, value) in fields { Swift.print("\(name): \(value)") }
            return
        }
        let object = Dictionary(uniqueKeysWithValues: fields.map { ($0.name, $0.value) })
        let data = try JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
        Swift.print(String(decoding: data, as: UTF8.self))
    }

    /// The process's peak resident set in MiB, as Python's `ru_maxrss // 1024` gives it.
    static var peakMemoryMegabytes: Int { SystemMemory.peakResident >> 20 }

    /// `value` with `places` decimal places.
    static func rounded(_ value: Double, _ places: Int) -> NSDecimalNumber {
        guard value.isFinite else { return .notANumber }
        return NSDecimalNumber(string: String(format: "%.\(places)f", value))
    }
}

extension Array where Element == Double {
    /// The middle value; the mean of the two in the middle for an even count.
    var median: Double {
        let sorted = self.sorted()
        guard !sorted.isEmpty else { return .nan }
        return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
    }
}

/// Seconds that `body` takes.
func seconds(_ body: () throws -> Void) rethrows -> Double {
    let clock = ContinuousClock()
    return try clock.measure(body).seconds
}
