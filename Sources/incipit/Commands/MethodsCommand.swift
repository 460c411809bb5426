import ArgumentParser
import PromptTuning

struct MethodsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "methods", abstract: "List the tuning methods and when to choose which.")

    @Flag(help: "Print JSON.") var json = false

    private struct Row: Encodable {
        let name, placement, summary: String
        let defaultLearningRate: Double
    }

    func run() throws {
        let rows = MethodCatalog.methods.map {
            Row(
                name: $0.name, placement: $0.placement.rawValue, summary: $0.summary,
                defaultLearningRate: $0.defaultLearningRate)
        }
        if json { return try Output.json(rows) }
        Output.line(
            Output.table(
                ["method", "enters at", "learning rate", "when"],
                rows.map { [$0.name, $0.placement, "\($0.defaultLearningRate)", $0.summary] }))
    }
}
