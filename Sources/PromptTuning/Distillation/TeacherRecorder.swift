import Foundation
import LanguageModels
import Tokenization

/// Records a teacher's expectations over many sequences, portion by portion on disk: a run that is killed goes on with the
/// portion it was at, and a repeated run reads them all.
public struct TeacherRecorder {
    /// What a sequence begins with, and how it goes on.
    public struct Job: Sendable, Equatable {
        /// Tokens, without the one that begins sequences.
        public var input: [Int]
        public var continuation: Teacher.Continuation

        public init(input: [Int], continuation: Teacher.Continuation) {
            self.input = input
            self.continuation = continuation
        }
    }

    /// Where portions are kept; nil keeps none.
    public var folder: String?
    /// What decides the result besides the jobs: base, text, settings.
    public var identity: String
    public var inputWeight: Float = 0.1
    public var seed: UInt64 = 0
    /// Sequences of a portion.
    public var portion = 32

    public init(folder: String?, identity: String) {
        self.folder = folder
        self.identity = identity
    }

    /// - Parameters:
    ///   - teacher: asked for only when something is not recorded yet.
    ///   - shouldStop: asked between sequences; stopping throws `CancellationError`, what was recorded is kept.
    ///   - progress: called with the number of sequences done.
    public func record(
        _ jobs: [Job], teacher makeTeacher: () throws -> Teacher, shouldStop: () -> Bool = { false },
        progress: (Int) -> Void = { _ in }
    ) throws -> TeacherRecording {
        if let folder { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }
        var teacher: Teacher?
        var result: [TeacherRecording.Sequence] = []
        for start in stride(from: 0, to: jobs.count, by: portion) {
            let part = jobs[start..<min(start + portion, jobs.count)]
            let path = folder.map { "\($0)/\(String(format: "%06d", start / portion)).safetensors" }
            let identity = "\(self.identity) \(seed) \(inputWeight) \(Self.text(part))"
            if let path, let known = TeacherRecording.read(from: path, identity: identity) {
                result += known.sequences
                progress(start + part.count)
                continue
            }
            let ready = try teacher ?? makeTeacher()
            teacher = ready
            var sequences: [TeacherRecording.Sequence] = []
            for (offset, job) in part.enumerated() {
                if shouldStop() { throw CancellationError() }
                var draw = SplitMix64(seed: seed, stream: UInt64(start + offset))
                if let sequence = try ready.record(
                    job.input, inputWeight: inputWeight, continuation: job.continuation, draw: &draw)
                {
                    sequences.append(sequence)
                }
                progress(start + offset + 1)
            }
            if let path { try TeacherRecording(sequences).write(to: path, identity: identity) }
            result += sequences
        }
        return TeacherRecording(result)
    }

    /// Jobs as text, for comparing.
    private static func text(_ jobs: ArraySlice<Job>) -> String {
        jobs.map { job in
            "\(job.input.map(String.init).joined(separator: ","))/\(job.continuation.tokens)/"
                + "\(job.continuation.temperature)/\(job.continuation.endsAtLine)"
        }.joined(separator: ";")
    }
}

/// Sequences that a model makes up itself where nobody gives inputs: it goes on behind the text in question, now and then
/// after a nudge that turns it to questions about the text or its use (self-study, Cartridges, arXiv 2506.06266).
public enum SelfStudy {
    /// What stands between the text and what the model makes up.
    static let nudges = ["", "\n\n", "\n\nFor example:", "\n\nQuestion:", "\n\nIn summary,", "\n\nUser:"]

    /// Jobs for `count` sequences of `tokens` sampled tokens each.
    ///
    /// Half of them go on directly behind the text, which is what makes a solved example lead to another.
    public static func jobs(count: Int, tokens: Int, temperature: Double, tokenizer: any Tokenizer) -> [TeacherRecorder
        .Job]
    {
        (0..<count).map { index in
            let nudge = index % 2 == 0 ? "" : nudges[(index / 2) % nudges.count]
            return TeacherRecorder.Job(
                input: tokenizer.encode(nudge, parseSpecial: false, addSpecial: false),
                continuation: .init(tokens: tokens, temperature: temperature))
        }
    }
}
