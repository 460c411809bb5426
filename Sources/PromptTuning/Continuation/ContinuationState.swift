import ByteIO
import Foundation
import Safetensors

/// What a finished run leaves behind on this machine so that it can be taken up later: parameters, moments of the
/// optimizer, settings, and a sample of what was learned. It never leaves with a pushed prompt: it holds training data.
///
/// A folder of `state.safetensors` and `reservoir.jsonl`.
public struct ContinuationState: Sendable {
    /// Rows kept for replay, and canary rows kept for the gate.
    public static let replayCapacity = 1024
    public static let canaryCapacity = 256

    /// As the optimizer sees them.
    public var parameters: [Float]
    public var optimizer: OptimizerState
    public var configuration: TuningConfiguration
    /// Steps over all runs so far.
    public var steps: Int
    public var replay: Reservoir
    public var canary: Reservoir

    public init(
        parameters: [Float], optimizer: OptimizerState, configuration: TuningConfiguration, steps: Int,
        replay: Reservoir, canary: Reservoir
    ) {
        self.parameters = parameters
        self.optimizer = optimizer
        self.configuration = configuration
        self.steps = steps
        self.replay = replay
        self.canary = canary
    }

    /// Writes both files into `folder`, which is made when missing.
    public func write(to folder: String) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var lines: [UInt8] = []
        for (split, reservoir) in [(DatasetSplit.train, replay), (.dev, canary)] {
            for row in reservoir.rows {
                let line: JSONValue = [
                    "input": .string(row.input), "split": .string(split.rawValue), "target": .string(row.target),
                ]
                lines += line.canonicalBytes() + [0x0A]
            }
        }
        try AtomicFile.write(lines, to: folder + "/reservoir.jsonl")
        var writer = SafetensorsWriter(metadata: [
            (key: "canary_seen", value: String(canary.seen)),
            (key: "configuration", value: try configuration.canonicalText()),
            (key: "optimizer", value: optimizer.optimizer), (key: "optimizer_step", value: String(optimizer.step)),
            (key: "replay_seen", value: String(replay.seen)), (key: "schema", value: "1"),
            (key: "steps", value: String(steps)),
        ])
        try writer.add(name: "parameters", shape: [parameters.count], floats: parameters)
        for (index, moment) in optimizer.moments.enumerated() {
            try writer.add(name: "moment.\(index)", shape: [moment.count], floats: moment)
        }
        // Last: a folder with this file is complete.
        try writer.write(to: folder + "/state.safetensors")
    }

    /// Reads what `write` wrote.
    /// - Throws: `TuningError.invalidCheckpoint` when the files do not fit together.
    public init(folder: String) throws {
        let path = folder + "/state.safetensors"
        func fail(_ message: String) -> TuningError {
            TuningError(code: .invalidCheckpoint, message: message, file: path)
        }
        let file = try SafetensorsFile(path: path)
        let metadata = Dictionary(
            (file.metadata ?? []).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        guard metadata["schema"] == "1", let text = metadata["configuration"],
            let configuration = try? TuningConfiguration(json: Data(text.utf8)),
            let step = metadata["optimizer_step"].flatMap(Int.init), let steps = metadata["steps"].flatMap(Int.init),
            let replaySeen = metadata["replay_seen"].flatMap(Int.init),
            let canarySeen = metadata["canary_seen"].flatMap(Int.init),
            let stored = file.tensor(named: "parameters")
        else { throw fail("this is no training state of this version of Incipit") }
        let parameters = try file.floats(of: stored)
        let moments = try file.tensors.filter { $0.name.hasPrefix("moment.") }.sorted { $0.name < $1.name }.map {
            try file.floats(of: $0)
        }
        guard moments.allSatisfy({ $0.count == parameters.count }) else {
            throw fail("the optimizer's moments are not as many as the parameters")
        }
        self.parameters = parameters
        optimizer = OptimizerState(optimizer: metadata["optimizer"] ?? "", step: step, moments: moments)
        self.configuration = configuration
        self.steps = steps
        let rowsPath = folder + "/reservoir.jsonl"
        let size = try FileManager.default.attributesOfItem(atPath: rowsPath)[.size] as? Int ?? 0
        let rows = size == 0 ? Dataset() : try Dataset(path: rowsPath)
        guard rows[.train].count <= min(Self.replayCapacity, replaySeen),
            rows[.dev].count <= min(Self.canaryCapacity, canarySeen)
        else { throw fail("there are more rows beside it than it knows of") }
        replay = Reservoir(capacity: Self.replayCapacity, seen: replaySeen, rows: rows[.train])
        canary = Reservoir(capacity: Self.canaryCapacity, seen: canarySeen, rows: rows[.dev])
    }
}
