import ArgumentParser
import Conversion
import Foundation
import GGUF

struct FingerprintCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fingerprint", abstract: "Compute a model's base fingerprint: what its soft prompts are keyed by.",
        discussion: """
            The same numbers give the same fingerprint, whatever the container: a Hugging Face folder, its shards in any \
            number, and a GGUF file made from it without loss are equal; tensor order, alignment and display metadata do \
            not enter. The result is cached by path, size and modification time.
            """)

    @Argument(help: "GGUF file or Hugging Face folder.", completion: .file()) var model: String
    @Flag(help: "Compute it anew, even if it is cached.") var noCache = false
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let source = try ModelSourceOpening.open(model)
        let progress = ByteProgress("hashing")
        let result = try ModelFingerprint.compute(
            of: source, cacheFolder: noCache ? nil : Home().cache + "/fingerprints"
        ) { _ = progress.continues($0, of: $1) }
        progress.finish()
        if json { return try Output.json(result.base) }
        Output.line(result.base.fingerprint)
        Output.line("  weights       \(result.base.weights)")
        Output.line("  embedding     \(result.base.embedding)")
        Output.line("  tokenizer     \(result.base.tokenizer)")
        Output.line("  architecture  \(result.base.architecture)")
        if let source = result.source { Output.line("  made from     \(source)") }
    }
}
