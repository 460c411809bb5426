import Tokenization

/// One step of a sampler chain: changes logits, removes tokens, or draws.
///
/// To add one, write a file with a conformer and its `SamplerKind`, and a line in `SamplerCatalog.all`.
public protocol SamplingStep: Sendable {
    /// Whether the likeliest token always stays the likeliest, so that a greedy choice need not run the step.
    var keepsLikeliest: Bool { get }
    /// Works on what earlier steps left. Leaves at least one token.
    mutating func apply(_ candidates: inout Candidates, _ random: inout RandomGenerator)
    /// Learns of a token of the text: of the prompt, or the one that was drawn.
    mutating func accept(_ token: Int)
}

extension SamplingStep {
    public mutating func accept(_ token: Int) {}
}

/// A kind of sampler: its name, what it does, and how settings become a step.
public struct SamplerKind: Sendable {
    /// As `--samplers` and `SamplerSettings.order` spell it; the names are llama.cpp's.
    public let name: String
    /// Other spellings.
    public let aliases: [String]
    /// What it computes, in a line.
    public let formula: String
    /// Where it was published.
    public let source: String
    /// The step for these settings; nil when they leave it off.
    ///
    /// Throws `SamplerSettingsError` when something it needs is missing.
    let make: @Sendable (SamplerSettings, (any Tokenizer)?) throws(SamplerSettingsError) -> (any SamplingStep)?

    init(
        _ name: String, aliases: [String] = [], formula: String, source: String,
        make:
            @escaping @Sendable (SamplerSettings, (any Tokenizer)?) throws(SamplerSettingsError) ->
            (any SamplingStep)?
    ) {
        self.name = name
        self.aliases = aliases
        self.formula = formula
        self.source = source
        self.make = make
    }
}

/// The samplers that exist: one line each, in the order in which they run unless told otherwise (llama.cpp's).
public enum SamplerCatalog {
    public static let all: [SamplerKind] = [
        Penalties.kind, DontRepeatYourself.kind, TopNSigma.kind, TopK.kind, Typical.kind, TopP.kind, MinP.kind,
        ExcludeTopChoices.kind, Temperature.kind,
    ]

    /// The names in the standard order.
    public static let standardOrder = all.map(\.name)

    /// The kind of this name or alias; `-` and `_` are the same, case does not matter.
    public static func kind(named name: String) -> SamplerKind? {
        let wanted = name.lowercased().replacing("-", with: "_")
        return all.first { $0.name == wanted || $0.aliases.contains(wanted) }
    }

    /// A text of names separated by `;` as a list of names; an empty text means none but the draw.
    ///
    /// - Throws: `SamplerSettingsError` for a name that is unknown or given twice.
    public static func order(_ text: String) throws(SamplerSettingsError) -> [String] {
        var result: [String] = []
        for part in text.split(whereSeparator: { $0 == ";" || $0 == "," }) {
            let name = String(part).trimmingBlanks
            guard let kind = kind(named: name) else {
                throw SamplerSettingsError(
                    setting: "order",
                    message: "there is no sampler '\(name)'; there are " + standardOrder.joined(separator: ", "))
            }
            guard !result.contains(kind.name) else {
                throw SamplerSettingsError(setting: "order", message: "the sampler \(kind.name) is named twice")
            }
            result.append(kind.name)
        }
        return result
    }
}

extension String {
    fileprivate var trimmingBlanks: String {
        var part = Substring(self)
        while part.first == " " { part.removeFirst() }
        while part.last == " " { part.removeLast() }
        return String(part)
    }
}
