import ByteIO
import Safetensors

/// Our configuration document: everything about a prompt but its values.
///
///     {"base": {"architecture", "embedding", "fingerprint", "name", "source"?, "tokenizer", "weights"},
///      "method": "prefix-tuning",
///      "prompt": {"columns", "dtype", "dtypes"?, "embeddingSpace", "keyLayout"?, "model": {widths}, "placement",
///      "virtualTokens"}, "schemaVersion": 1,
///      "training": {…}}
///
/// `dtype` is `MIXED` when parts have different types; `dtypes` then lists them.
///
/// Unknown members are ignored, so that later versions may add to a schema; a different `schemaVersion` is refused.
public struct SoftPromptConfiguration: Sendable, Equatable {
    public static let schemaVersion = 1
    /// The order of dimensions in keys: HF's, rotated with RoPE.
    static let keyLayout = "rotate-half, post-RoPE"
    /// Largest document, in bytes; far above any training record.
    static let sizeLimit = 64 << 20

    public var placement: SoftPrompt.Placement
    public var virtualTokenCount: Int
    public var encoding: PromptEncoding
    public var shape: ModelShape
    public var base: BaseFingerprint
    public var baseName: String
    public var baseSource: String?
    public var method: String
    public var embeddingSpace: SoftPrompt.EmbeddingSpace
    public var training: [String: JSONValue]

    /// Floats of a virtual token.
    public var columns: Int { SoftPrompt.columns(placement, shape) }

    public init(_ prompt: SoftPrompt, encoding: PromptEncoding) {
        placement = prompt.placement
        virtualTokenCount = prompt.virtualTokenCount
        self.encoding = encoding
        shape = prompt.shape
        base = prompt.base
        baseName = prompt.baseName
        baseSource = prompt.baseSource
        method = prompt.method
        embeddingSpace = prompt.embeddingSpace
        training = prompt.training
    }

    /// The prompt with these values.
    public func prompt(values: [Float]) throws(SoftPromptError) -> SoftPrompt {
        try SoftPrompt(
            placement: placement, virtualTokenCount: virtualTokenCount, values: values, shape: shape, base: base,
            baseName: baseName, baseSource: baseSource, method: method, embeddingSpace: embeddingSpace,
            training: training)
    }

    // MARK: - JSON

    public var json: JSONValue {
        var base = self.base.json.objectValue ?? JSONObject()
        base["name"] = .string(baseName)
        base["source"] = baseSource.map { .string($0) }
        var prompt: JSONObject = JSONObject([
            ("placement", .string(placement.rawValue)), ("virtualTokens", JSONValue(virtualTokenCount)),
            ("columns", JSONValue(columns)), ("dtype", .string(encoding.name)), ("model", shape.json),
            ("embeddingSpace", .string(embeddingSpace.rawValue)),
        ])
        if encoding.uniformType == nil { prompt["dtypes"] = .array(encoding.types.map { .string($0.name) }) }
        if placement == .keysAndValues { prompt["keyLayout"] = .string(Self.keyLayout) }
        return [
            "schemaVersion": JSONValue(Self.schemaVersion), "base": .object(base), "prompt": .object(prompt),
            "method": .string(method),
            "training": .object(
                JSONObject(training.sorted { ExactString($0.key) < ExactString($1.key) }.map { ($0.key, $0.value) })),
        ]
    }

    /// Reads and validates a document.
    /// - Parameter path: names it in errors.
    public init(bytes: [UInt8], path: String = "the prompt's configuration") throws(SoftPromptError) {
        func refuse(_ reason: String, _ code: SoftPromptError.Code = .invalidConfiguration) -> SoftPromptError {
            SoftPromptError(code, reason, path: path)
        }
        guard bytes.count <= Self.sizeLimit else {
            throw refuse("the configuration has \(bytes.count) bytes (limit \(Self.sizeLimit))")
        }
        let root: JSONValue
        do { root = try JSONValue.parse(bytes) } catch { throw refuse("\(error)") }
        guard let version = root["schemaVersion"]?.intValue else {
            throw refuse("this is no soft prompt configuration: \"schemaVersion\" is missing")
        }
        guard version == Self.schemaVersion else {
            throw refuse(
                "the configuration has schema version \(version); this program reads \(Self.schemaVersion)",
                .unsupported)
        }
        guard let prompt = root["prompt"], let base = root["base"] else {
            throw refuse("the configuration lacks \"prompt\" or \"base\"")
        }
        guard let placementName = prompt["placement"]?.stringValue,
            let placement = SoftPrompt.Placement(rawValue: placementName)
        else {
            let known = SoftPrompt.Placement.allCases.map(\.rawValue).joined(separator: " and ")
            throw refuse("the placement is not one of \(known)", .unsupported)
        }
        guard let tokens = prompt["virtualTokens"]?.intValue, let columns = prompt["columns"]?.intValue else {
            throw refuse("\"virtualTokens\" or \"columns\" is missing or no integer")
        }
        func storageType(_ value: JSONValue?) -> SafetensorsType? {
            value?.stringValue.flatMap { SafetensorsType(name: $0) }.flatMap {
                SoftPromptFile.types(for: placement).contains($0) ? $0 : nil
            }
        }
        let encoding: PromptEncoding
        if prompt["dtype"]?.stringValue == PromptEncoding.mixedName {
            let types = (prompt["dtypes"]?.arrayValue ?? []).map(storageType)
            encoding = PromptEncoding(parts: types.compactMap { $0 })
            guard encoding.uniformType == nil, encoding.types.count == types.count else {
                throw refuse("\"dtypes\" must list a type out of F32, F16, BF16 and I8 for each part", .unsupported)
            }
        } else {
            guard let type = storageType(prompt["dtype"]) else {
                throw refuse("\"dtype\" is not one of F32, F16, BF16, I8 and MIXED", .unsupported)
            }
            encoding = PromptEncoding(type)
        }
        if placement == .keysAndValues, let layout = prompt["keyLayout"], layout != .string(Self.keyLayout) {
            throw refuse("the keys are in a layout this program does not know", .unsupported)
        }
        let space = prompt["embeddingSpace"]?.stringValue ?? SoftPrompt.EmbeddingSpace.postScale.rawValue
        guard let embeddingSpace = SoftPrompt.EmbeddingSpace(rawValue: space) else {
            throw refuse("the embedding space \(space.quotedForMessage) is unknown", .unsupported)
        }
        guard let method = root["method"]?.stringValue, !method.isEmpty else { throw refuse("\"method\" is missing") }
        guard let baseName = base["name"]?.stringValue else { throw refuse("the base has no name") }
        var training: [String: JSONValue] = [:]
        if let record = root["training"], !record.isNull {
            guard let object = record.objectValue else { throw refuse("\"training\" is \(record.kind)") }
            for member in object.members { training[member.key] = member.value }
        }
        do {
            self.shape = try ModelShape(json: prompt["model"] ?? .null)
            self.base = try BaseFingerprint(json: base)
            _ = try SoftPrompt.valueCount(placement, tokens, shape)
        } catch { throw refuse(error.message, error.code) }
        self.placement = placement
        virtualTokenCount = tokens
        self.encoding = encoding
        self.baseName = baseName
        baseSource = base["source"]?.stringValue
        if let baseSource, !BaseFingerprint.isDigest(baseSource) {
            throw refuse("the base's source is \(baseSource.quotedForMessage), which is no digest", .invalidDigest)
        }
        self.method = method
        self.embeddingSpace = embeddingSpace
        self.training = training
        guard encoding.uniformType != nil || encoding.types.count == PromptPart.count(placement, shape) else {
            throw refuse("\"dtypes\" lists \(encoding.types.count) types, which is not one for each part")
        }
        guard columns == self.columns else {
            throw refuse("\"columns\" is \(columns) but the model's widths give \(self.columns)")
        }
    }
}
