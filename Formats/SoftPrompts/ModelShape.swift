import ByteIO

/// The widths of a model that decide whether a prompt fits it.
public struct ModelShape: Hashable, Sendable {
    public var layerCount: Int
    /// Width of the residual stream and of a token embedding.
    public var hiddenSize: Int
    /// Query heads.
    public var headCount: Int
    public var keyValueHeadCount: Int
    public var headDimension: Int

    public init(layerCount: Int, hiddenSize: Int, headCount: Int, keyValueHeadCount: Int, headDimension: Int) {
        self.layerCount = layerCount
        self.hiddenSize = hiddenSize
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headDimension = headDimension
    }

    /// Largest value of any member; far above every model, far below overflow.
    static let limit = 1 << 24

    /// - Throws: ``SoftPromptError`` when a member is not positive, absurd, or the head counts do not divide.
    public func validate() throws(SoftPromptError) {
        for (name, value) in members where value < 1 || value > Self.limit {
            throw SoftPromptError(.invalidPrompt, "\(name) is \(value); 1 to \(Self.limit) is possible")
        }
        guard headCount % keyValueHeadCount == 0 else {
            throw SoftPromptError(
                .invalidPrompt, "\(headCount) heads cannot share \(keyValueHeadCount) key-value heads evenly")
        }
    }

    private var members: [(String, Int)] {
        [
            ("headDimension", headDimension), ("heads", headCount), ("hiddenSize", hiddenSize),
            ("keyValueHeads", keyValueHeadCount), ("layers", layerCount),
        ]
    }

    var json: JSONValue { .object(JSONObject(members.map { ($0.0, JSONValue($0.1)) })) }

    init(json: JSONValue) throws(SoftPromptError) {
        func member(_ name: String) throws(SoftPromptError) -> Int {
            guard let value = json[name]?.intValue else {
                throw SoftPromptError(.invalidConfiguration, "the model shape has no \"\(name)\" that is an integer")
            }
            return value
        }
        self.init(
            layerCount: try member("layers"), hiddenSize: try member("hiddenSize"), headCount: try member("heads"),
            keyValueHeadCount: try member("keyValueHeads"), headDimension: try member("headDimension"))
        try validate()
    }

    /// The widths in words.
    public var text: String {
        "\(layerCount) layers, hidden size \(hiddenSize), \(keyValueHeadCount) key-value heads of \(headDimension)"
    }
}
