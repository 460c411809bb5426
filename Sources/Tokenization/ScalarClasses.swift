/// The Unicode classes that pre-tokenizers ask for, as bits.
struct ScalarTraits: OptionSet, Sendable {
    let rawValue: UInt8

    /// `\p{L}`
    static let letter = ScalarTraits(rawValue: 1)
    /// `\p{N}`
    static let number = ScalarTraits(rawValue: 2)
    /// `\s`: Unicode's White_Space
    static let space = ScalarTraits(rawValue: 4)
    /// `\p{M}`
    static let mark = ScalarTraits(rawValue: 8)
    /// `\p{P}`
    static let punctuation = ScalarTraits(rawValue: 16)
    /// `\p{S}`
    static let symbol = ScalarTraits(rawValue: 32)
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
    static let upperish = ScalarTraits(rawValue: 64)
    /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
    static let lowerish = ScalarTraits(rawValue: 128)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(_ scalar: Unicode.Scalar) {
        let properties = scalar.properties
        var traits: ScalarTraits
        switch properties.generalCategory {
        case .uppercaseLetter, .titlecaseLetter: traits = [.letter, .upperish]
        case .lowercaseLetter: traits = [.letter, .lowerish]
        case .modifierLetter, .otherLetter: traits = [.letter, .upperish, .lowerish]
        case .nonspacingMark, .spacingMark, .enclosingMark: traits = [.mark, .upperish, .lowerish]
        case .decimalNumber, .letterNumber, .otherNumber: traits = .number
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            traits = .punctuation
        case .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol: traits = .symbol
        default: traits = []
        }
        if properties.isWhitespace { traits.insert(.space) }
        self = traits
    }
}

/// A table of `ScalarTraits` for the two planes in common use.
///
/// `Unicode.Scalar.Properties` searches compressed tables, some hundred times slower than this. The table takes 128 KiB,
/// is built once on first use (a few milliseconds), never changes and is never freed.
struct ScalarClasses: @unchecked Sendable {
    // Sound: written before `shared` is published, only read afterwards.
    private let table: UnsafePointer<UInt8>
    private static let count: UInt32 = 0x20000

    static let shared = ScalarClasses()

    private init() {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: Int(Self.count))
        for value in 0..<Self.count {
            table[Int(value)] = Unicode.Scalar(value).map { ScalarTraits($0).rawValue } ?? 0
        }
        self.table = UnsafePointer(table)
    }

    @inline(__always)
    func ascii(_ byte: UInt8) -> ScalarTraits { ScalarTraits(rawValue: table[Int(byte)]) }

    @inline(__always)
    func traits(of value: UInt32) -> ScalarTraits {
        if value < Self.count { return ScalarTraits(rawValue: table[Int(value)]) }
        return Unicode.Scalar(value).map { ScalarTraits($0) } ?? []
    }
}
