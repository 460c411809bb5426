import ByteIO
import Foundation
import GGUF

/// Rotary position embedding between the two forms: base, scaling, and the factors that GGUF keeps as tensors.
///
/// Configurations since transformers 5 have one object `rope_parameters`, which may hold one more for each kind of
/// attention; earlier ones have `rope_theta` and `rope_scaling`. Both are read, the earlier form is written: every
/// version of transformers reads it.
enum RopeScaling {
    static let frequenciesName = "rope_freqs.weight"
    static let longName = "rope_factors_long.weight"
    static let shortName = "rope_factors_short.weight"
    private static let defaultOriginalContext = 8192

    // MARK: - Reading a configuration

    /// The fields of RoPE, of one kind of attention where the configuration tells them apart.
    static func parameters(_ config: HuggingFaceConfig, attention kind: String = "full_attention") throws
        -> HuggingFaceConfig
    {
        var fields = try config.object("rope_parameters") ?? config.object("rope_scaling") ?? JSONObject()
        if let inner = fields[kind]?.objectValue {
            fields = inner
        } else if fields["full_attention"] != nil || fields["sliding_attention"] != nil {
            fields = JSONObject()
        }
        return try config.nested(fields)
    }

    /// The base of the angles.
    static func base(_ config: HuggingFaceConfig, fallback: Double = 10000) throws -> Double {
        try parameters(config).double("rope_theta")
            ?? config.double("rope_theta", "rotary_emb_base", "rope_embedding_base", "rotary_base") ?? fallback
    }

    static func type(_ parameters: HuggingFaceConfig) throws -> String {
        let type = try parameters.string("rope_type", "type")?.lowercased() ?? "default"
        return type == "su" ? "longrope" : type
    }

    /// The part of a head that is rotated.
    static func partialFactor(_ config: HuggingFaceConfig, fallback: Double) throws -> Double {
        let value =
            try parameters(config).double("partial_rotary_factor")
            ?? config.double("partial_rotary_factor", "rope_pct", "rotary_pct") ?? fallback
        guard value > 0, value <= 1 else {
            throw ConversionError(
                .malformed, "\"partial_rotary_factor\" is \(value); it must be above 0 and no more than 1",
                path: config.path)
        }
        return value
    }

    // MARK: - To GGUF

    /// Adds base and scaling.
    static func addKeys(
        from config: HuggingFaceConfig, to keys: inout ArchitectureKeys, fallbackBase: Double = 10000,
        allowed: Set<String> = []
    ) throws {
        keys["rope.freq_base"] = .float32(Float(try base(config, fallback: fallbackBase)))
        let parameters = try parameters(config)
        let type = try type(parameters)
        switch type {
        case "default", "none", "mrope":
            return
        case "linear":
            let factor = try config.require(parameters.double("factor"), "rope_scaling.factor")
            keys["rope.scaling.type"] = .text("linear")
            keys["rope.scaling.factor"] = .float32(Float(factor))
        case "yarn":
            let factor = try config.require(parameters.double("factor"), "rope_scaling.factor")
            let original =
                try parameters.int("original_max_position_embeddings")
                ?? config.require(config.int("max_position_embeddings"), "max_position_embeddings")
            keys["rope.scaling.type"] = .text("yarn")
            keys["rope.scaling.factor"] = .float32(Float(factor))
            try keys.count("rope.scaling.original_context_length", original, path: config.path)
            for (key, names) in yarnRows {
                if let value = try parameters.double(names) { keys["rope.scaling.\(key)"] = .float32(Float(value)) }
            }
        case "llama3" where allowed.contains("llama3"), "longrope" where allowed.contains("longrope"):
            return
        default:
            throw config.unsupported(
                "the RoPE scaling \"\(type)\" cannot be expressed for \(keys.name); possible are default, linear, yarn"
                    + allowed.sorted().map { ", \($0)" }.joined())
        }
    }

    private static let yarnRows: [(key: String, names: [String])] = [
        ("yarn_ext_factor", ["extrapolation_factor"]), ("yarn_attn_factor", ["attention_factor", "attn_factor"]),
        ("yarn_beta_fast", ["beta_fast"]), ("yarn_beta_slow", ["beta_slow"]),
    ]

    /// `rope_freqs.weight`: what each pair's frequency is divided by, F32, one for each pair.
    static func llama3Tensors(config: HuggingFaceConfig, metadata: GGUFMetadata) throws -> [DerivedTensor] {
        let parameters = try parameters(config)
        guard try type(parameters) == "llama3" else { return [] }
        let scaling = Llama3Scaling(
            factor: Float(try parameters.double("factor") ?? 8),
            low: Float(try parameters.double("low_freq_factor") ?? 1),
            high: Float(try parameters.double("high_freq_factor") ?? 4),
            originalContext: Float(
                try parameters.int("original_max_position_embeddings") ?? defaultOriginalContext))
        guard scaling.isSensible else {
            throw ConversionError(
                .malformed,
                "\"rope_scaling\" has factors that make no scaling: factor \(scaling.factor), low_freq_factor "
                    + "\(scaling.low), high_freq_factor \(scaling.high)", path: config.path)
        }
        let name = try metadata.architecture()
        let length = try metadata.int("\(name).rope.dimension_count")
        guard length >= 2, length <= 65536, length % 2 == 0 else {
            throw ConversionError(.malformed, "a head of \(length) values cannot be rotated", path: config.path)
        }
        let base = try metadata.float("\(name).rope.freq_base")
        return [DerivedTensor(name: frequenciesName, values: scaling.divisors(base: base, length: length))]
    }

    // MARK: - To config.json

    /// Adds `rope_theta` and, where there is scaling, `rope_scaling`.
    static func addFields(from model: GGUFModelView, to config: inout JSONObject, baseField: String = "rope_theta")
        throws
    {
        let base = try model.float("rope.freq_base") ?? 10000
        config[baseField] = .shortest(base)
        let type = try model.string("rope.scaling.type") ?? "linear"
        let factor = try model.float("rope.scaling.factor") ?? 1
        if type == "yarn" {
            var fields: JSONObject = JSONObject([("rope_type", .string("yarn")), ("factor", .shortest(factor))])
            if let original = try model.int("rope.scaling.original_context_length") {
                fields["original_max_position_embeddings"] = JSONValue(original)
            }
            for (key, names) in yarnRows {
                if let value = try model.float("rope.scaling.\(key)") { fields[names[0]] = .shortest(value) }
            }
            config["rope_scaling"] = .object(fields)
        } else if type == "linear", factor != 1, factor != 0 {
            config["rope_scaling"] = .object(
                JSONObject([("rope_type", .string("linear")), ("factor", .shortest(factor))]))
        } else if let divisors = try model.floats(frequenciesName) {
            guard let scaling = Llama3Scaling(divisors: divisors, base: base) else {
                throw model.unsupported(
                    "\(frequenciesName) holds values that no RoPE scaling of type llama3 gives, so that config.json "
                        + "cannot describe them")
            }
            config["rope_scaling"] = .object(scaling.fields)
        }
    }
}

/// RoPE scaling of type llama3: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
struct Llama3Scaling: Equatable {
    var factor: Float
    var low: Float
    var high: Float
    var originalContext: Float

    var isSensible: Bool {
        factor >= 1 && factor.isFinite && low > 0 && high > low && high.isFinite && originalContext >= 1
    }

    /// What the frequency of each pair is divided by.
    /// - Parameter length: values of a head that are rotated, even.
    func divisors(base: Float, length: Int) -> [Float] {
        (0..<length / 2).map { pair in
            let frequency = 1 / powf(base, Float(2 * pair) / Float(length))
            let wavelength = 2 * Float.pi / frequency
            if wavelength < originalContext / high { return 1 }
            if wavelength > originalContext / low { return factor }
            let smooth = (originalContext / wavelength - low) / (high - low)
            return 1 / ((1 - smooth) / factor + smooth)
        }
    }

    init(factor: Float, low: Float, high: Float, originalContext: Float) {
        self.factor = factor
        self.low = low
        self.high = high
        self.originalContext = originalContext
    }

    /// Finds the parameters that give these divisors; nil when none do.
    ///
    /// The divisors do not change when context, low and high are multiplied by one number, so one of them is free: the
    /// published models' (1, 4, 8192) are tried first, then the line through the interpolated values is solved for a
    /// low of 1, which is every published model's.
    init?(divisors: [Float], base: Float) {
        guard let factor = divisors.max(), factor >= 1, factor.isFinite else { return nil }
        let length = divisors.count * 2
        func fits(_ scaling: Llama3Scaling) -> Bool {
            scaling.isSensible
                && zip(scaling.divisors(base: base, length: length), divisors).allSatisfy {
                    abs($0 - $1) <= 1e-4 * abs($1)
                }
        }
        // The largest divisor is the factor unless no wavelength is that long; the published ones are tried besides.
        for candidate in [factor, 8, 32] {
            let known = Llama3Scaling(factor: candidate, low: 1, high: 4, originalContext: 8192)
            if fits(known) {
                self = known
                return
            }
        }
        // smooth = (context · frequency / 2π − low) / (high − low) is a line over the frequency.
        var points: [(x: Double, y: Double)] = []
        for (pair, divisor) in divisors.enumerated() where divisor > 1.0001 && divisor < factor * 0.9999 {
            let frequency = pow(Double(base), -Double(2 * pair) / Double(length))
            let y = (1 / Double(divisor) - 1 / Double(factor)) / (1 - 1 / Double(factor))
            points.append((frequency / (2 * .pi), y))
        }
        guard let first = points.first, let last = points.last, first.x != last.x else {
            // One interpolated value fixes one number, none fixes none: low and high are taken to be the usual ones.
            let contexts =
                points.first.map { [Float(((3 * $0.y + 1) / $0.x).rounded())] } ?? (4..<24).map { Float(1 << $0) }
            for context in contexts {
                let found = Llama3Scaling(factor: factor, low: 1, high: 4, originalContext: context)
                if fits(found) {
                    self = found
                    return
                }
            }
            return nil
        }
        let slope = (first.y - last.y) / (first.x - last.x)
        let intercept = first.y - slope * first.x
        guard slope > 0, intercept < 0 else { return nil }
        func rounded(_ value: Double, _ grid: Double) -> Float {
            let near = (value / grid).rounded() * grid
            return Float(abs(near - value) < 1e-3 * abs(value) ? near : value)
        }
        let span = -1 / intercept
        let found = Llama3Scaling(
            factor: factor, low: 1, high: rounded(1 + span, 1.0 / 64), originalContext: rounded(slope * span, 1))
        guard fits(found) else { return nil }
        self = found
    }

    var fields: JSONObject {
        JSONObject([
            ("rope_type", .string("llama3")), ("factor", .shortest(factor)), ("low_freq_factor", .shortest(low)),
            ("high_freq_factor", .shortest(high)),
            ("original_max_position_embeddings", JSONValue(Int(originalContext))),
        ])
    }
}
