import Evaluation
import PromptTuning

/// The rows of a labelled data set that a command scores, and the answers there are to choose from.
struct LabelledRows {
    let dataset: Dataset
    let rows: [Example]
    /// Empty where the targets are too many to be labels: answers are then generated.
    let labels: [String]

    /// - Parameters:
    ///   - data: a file, or a name found in `INCIPIT_DATA`.
    ///   - limit: take this many rows only.
    /// - Throws: `CommandFailure` where there is no such file, or no row in that split.
    init(_ data: String, split: DatasetSplit, limit: Int?, home: Home) throws {
        dataset = try Dataset(path: try DataSource.path(for: data, home: home))
        labels = dataset.labels
        let all = dataset[split]
        rows = limit.map { Array(all.prefix($0)) } ?? all
        guard !rows.isEmpty else {
            throw CommandFailure(.data, "\(data) has no rows in its \(split.rawValue) split")
        }
    }
}
