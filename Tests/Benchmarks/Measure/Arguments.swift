/// Why a measurement cannot be made, in one sentence.
struct MeasureError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// The words after the subcommand: positional ones in order, and `--name value` pairs.
struct Arguments {
    let positional: [String]
    private let options: [String: String]
    private let flags: Set<String>

    /// - Parameters:
    ///   - positional: the names of the words that must be there, for the error.
    ///   - options: options that take a value.
    ///   - flags: options that take none.
    /// - Throws: `MeasureError` for an unknown option, a missing value or the wrong number of words.
    init(
        _ words: some Sequence<String>, positional names: [String], options known: Set<String>,
        flags knownFlags: Set<String>
    ) throws {
        var positional: [String] = []
        var options: [String: String] = [:]
        var flags: Set<String> = []
        var iterator = words.makeIterator()
        while let word = iterator.next() {
            if knownFlags.contains(word) {
                flags.insert(word)
            } else if known.contains(word) {
                guard let value = iterator.next() else { throw MeasureError("\(word) needs a value") }
                options[word] = value
            } else if word.hasPrefix("--") {
                let all = known.union(knownFlags).sorted().joined(separator: ", ")
                throw MeasureError("there is no option \(word); those there are: \(all)")
            } else {
                positional.append(word)
            }
        }
        guard positional.count == names.count else {
            throw MeasureError("expected \(names.joined(separator: " ")), got \(positional.count) words")
        }
        self.positional = positional
        self.options = options
        self.flags = flags
    }

    func has(_ flag: String) -> Bool { flags.contains(flag) }

    func string(_ option: String) -> String? { options[option] }

    /// - Throws: `MeasureError` when the option is missing.
    func required(_ option: String) throws -> String {
        guard let value = options[option] else { throw MeasureError("\(option) is needed") }
        return value
    }

    /// A whole number of at least `minimum`.
    func int(_ option: String, default value: Int, minimum: Int = 1) throws -> Int {
        guard let text = options[option] else { return value }
        guard let number = Int(text), number >= minimum else {
            throw MeasureError("\(option) must be a whole number of at least \(minimum), not “\(text)”")
        }
        return number
    }

    func double(_ option: String, default value: Double) throws -> Double {
        guard let text = options[option] else { return value }
        guard let number = Double(text), number.isFinite else {
            throw MeasureError("\(option) must be a number, not “\(text)”")
        }
        return number
    }
}
