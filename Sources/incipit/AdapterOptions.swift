import ArgumentParser
import Conversion

/// LoRA adapters, each with a scale.
struct AdapterOptions: ParsableArguments {
    @Option(
        name: .customLong("lora"),
        help: ArgumentHelp(
            "LoRA adapter: a GGUF file or a PEFT folder, applied SCALE times (default 1); may be given several times.",
            valueName: "path[:scale]"), completion: .file())
    var adapters: [String] = []

    /// Opens the adapters and checks them against the model they are for.
    ///
    /// - Throws: `ConversionError` when one belongs to another model or is damaged.
    func open(for base: any ModelSource) throws -> [ScaledAdapter] {
        try adapters.map { text in
            let (path, scale) = Self.split(text)
            guard scale.isFinite else {
                throw CommandFailure(.usage, "--lora \(text): the scale must be a finite number")
            }
            return ScaledAdapter(try LowRankAdapter(path: path, base: base), scale: scale)
        }
    }

    /// What follows the last colon is the scale, if it is a number.
    private static func split(_ text: String) -> (path: String, scale: Float) {
        guard let colon = text.lastIndex(of: ":"), colon != text.startIndex,
            let scale = Float(text[text.index(after: colon)...])
        else { return (text, 1) }
        return (String(text[..<colon]), scale)
    }
}
