import ArgumentParser
import Foundation
import LanguageModels
import OCIArtifacts
import PromptTuning
import SoftPrompts

/// Settings of multitask prompt tuning, where each data set is a task of its own.
struct MultitaskOptions: ParsableArguments {
    @Option(help: "Rank of each task's matrix.") var taskRank: Int?
    @Option(
        help:
            "Folder to write the shared prompt and all tasks' matrices to: --from-tasks and PEFT (MULTITASK_PROMPT_TUNING) take it.",
        completion: .directory)
    var exportTasks: String?
    @Option(
        help: "Begin with the shared prompt of this folder and the mean of its tasks' matrices.", completion: .directory
    )
    var fromTasks: String?
    @Option(help: "With --from-tasks: begin with this task's matrix, counted from 0, not the mean of all.")
    var fromTask: Int?

    func validate() throws {
        if let taskRank, !(1...256).contains(taskRank) {
            throw ValidationError("--task-rank must be 1…256, not \(taskRank).")
        }
        if let fromTask, fromTasks == nil || fromTask < 0 {
            throw ValidationError("--from-task \(fromTask) says which task of --from-tasks FOLDER, from 0.")
        }
    }

    /// Whether any of it was asked for.
    var isUsed: Bool { taskRank != nil || exportTasks != nil || fromTasks != nil }

    /// The start that a folder holds: its shared prompt with one task's matrices, or the mean of all.
    func start(folder: String, shape: DecoderShape, tokens: Int?) throws -> TuningStart {
        let stored = try MultitaskPrompt(folder: folder)
        guard stored.width == shape.hiddenSize else {
            throw CommandFailure(
                .data,
                "\(folder) has vectors of \(stored.width) values and this model takes \(shape.hiddenSize): it was learned "
                    + "on another base")
        }
        if let tokens, tokens != stored.tokenCount {
            throw CommandFailure(
                .usage, "\(folder) has \(stored.tokenCount) virtual tokens; leave out --tokens or make it that")
        }
        if let taskRank, taskRank != stored.rank {
            throw CommandFailure(
                .usage, "the matrices of \(folder) have rank \(stored.rank); leave out --task-rank or make it that")
        }
        if let fromTask, fromTask >= stored.taskCount {
            throw CommandFailure(.usage, "\(folder) has tasks 0 to \(stored.taskCount - 1), no task \(fromTask)")
        }
        let source = fromTask.map { stored.only(task: $0) } ?? stored.average
        let digest = try TuningMaterial.digest(ofFile: folder + "/" + SoftPromptFile.tensorFileName)
        return TuningStart(
            origin: .tasks(digest: digest + (fromTask.map { " task \($0)" } ?? "")), tokens: stored.tokenCount,
            values: source.values(ofTask: 0), source: source)
    }

    /// Writes what was learned, where that was asked for.
    func export(_ parameters: [Float], _ tasks: TaskFactors, baseName: String, shape: DecoderShape) throws {
        guard let exportTasks else { return }
        try Home.makeFolder(exportTasks)
        try tasks.multitaskPrompt(parameters).write(
            toFolder: exportTasks, baseName: baseName, shape: shape.promptShape)
    }

    /// A prompt's name for each data file: NAME alone for one, NAME/FILE for several.
    static func names(_ name: RepositoryName, files: [String]) throws -> [RepositoryName] {
        if files.count == 1 { return [name] }
        var used: Set<String> = []
        return try files.map { path in
            let stem = ((path as NSString).lastPathComponent as NSString).deletingPathExtension.lowercased()
            var part = String(stem.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
            part = part.split(separator: "-").joined(separator: "-")
            if part.isEmpty { part = "task" }
            let plain = part
            var number = 2
            while !used.insert(part).inserted {
                part = "\(plain)-\(number)"
                number += 1
            }
            return try PromptStore.name("\(name)/\(part)")
        }
    }
}
