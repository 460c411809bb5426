import ArgumentParser
import ByteIO
import Conversion
import Foundation
import GGUF

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Look through a model: structure, hyperparameters, tokenizer, and every value of every tensor.",
        discussion: """
            Reads the whole model once, on all cores. Finds files that are cut short or overlap, NaN and infinity (also in \
            the scales of quantized blocks), shapes that contradict the hyperparameters, tokenizers that cannot work. Exits \
            with 0 when there is no error, with 65 when there is; warnings alone do not count.

              incipit verify model.gguf
              incipit verify model.gguf --fingerprint sha256:5f0c…         is it the model it should be
              incipit verify model.gguf --write-record model.digests       a digest of every tensor, to keep
              incipit verify model.gguf --record model.digests             what changed since

            A record says per tensor what changed. It also fits a conversion of the model between F32, F16 and BF16 that \
            lost nothing.
            """)

    @Argument(help: "GGUF file or Hugging Face folder.", completion: .file()) var model: String
    @Option(help: "The base fingerprint the model must have, sha256:….") var fingerprint: String?
    @Option(help: "Compare the digests of all tensors with this record.", completion: .file()) var record: String?
    @Option(help: "Write such a record; a file that exists is not replaced.", completion: .file())
    var writeRecord: String?
    @Flag(help: "Print the digest of each tensor.") var digests = false
    @Flag(help: "Print JSON.") var json = false

    private struct Report: Encodable {
        struct Item: Encodable { let severity, subject, message: String }
        struct Tensor: Encodable { let name, type, digest: String }
        let path: String
        let ok: Bool
        let errors, warnings, tensorCount, bytes: Int
        let seconds: Double
        let fingerprint: String?
        let findings: [Item]
        let tensors: [Tensor]?
    }

    func validate() throws {
        guard let fingerprint else { return }
        let digits = fingerprint.dropFirst("sha256:".count)
        guard fingerprint.hasPrefix("sha256:"), digits.count == 64, digits.allSatisfy(\.isHexDigit) else {
            throw ValidationError("--fingerprint is sha256: and 64 hex digits, as `incipit fingerprint` prints it.")
        }
    }

    func run() throws {
        let known = try record.map { try DigestRecord(path: $0) }
        let source: any ModelSource
        do {
            source = try ModelSourceOpening.open(model)
        } catch let error as GGUFError {
            // What cannot be opened is the first thing to verify.
            return try finish([.error("", error.message)], nil, nil, seconds: 0)
        }
        Interrupt.listen()
        let progress = ByteProgress("verifying")
        let result: ModelVerification
        do {
            result = try ModelVerification(of: source, record: known) { progress.continues($0, of: $1) }
        } catch let error as ByteIOError where error.code == .cancelled {
            progress.finish()
            throw CommandFailure(.interrupted, "interrupted; the model was not read to its end")
        }
        var findings = result.findings
        var actual: String?
        if let fingerprint {
            do {
                let found = try ModelFingerprint.compute(of: source, cacheFolder: nil).base.fingerprint
                actual = found
                if found != fingerprint.lowercased() {
                    findings.insert(
                        .error("fingerprint", "the fingerprint is \(found), not \(fingerprint): this is another model"),
                        at: 0)
                }
            } catch let error as ConversionError {
                findings.insert(.error("fingerprint", error.message), at: 0)
            }
        }
        let seconds = progress.finish()
        if let writeRecord { try DigestRecord(result.tensors).write(to: writeRecord) }
        try finish(findings, result, actual, seconds: seconds)
    }

    private func finish(
        _ findings: [Finding], _ result: ModelVerification?, _ actual: String?, seconds: Double
    ) throws {
        let errors = findings.count { $0.severity == .error }
        if json {
            try Output.json(
                Report(
                    path: model, ok: errors == 0, errors: errors, warnings: findings.count - errors,
                    tensorCount: result?.tensors.count ?? 0, bytes: result?.byteCount ?? 0, seconds: seconds,
                    fingerprint: actual,
                    findings: findings.map {
                        .init(severity: $0.severity.rawValue, subject: $0.subject, message: $0.message)
                    },
                    tensors: digests
                        ? result?.tensors.map { .init(name: $0.name, type: $0.type.name, digest: $0.digest) } : nil))
        } else {
            for finding in findings {
                let subject = finding.subject.isEmpty ? "" : finding.subject + ": "
                Output.line("\(finding.severity.rawValue): \(subject)\(finding.message)")
            }
            if digests {
                for tensor in result?.tensors ?? [] { Output.line("\(tensor.digest)  \(tensor.name)") }
            }
            let verdict = errors == 0 ? "no errors" : errors == 1 ? "1 error" : "\(errors) errors"
            let warnings = findings.count - errors
            let read = result.map { ", \($0.tensors.count) tensors, \(Output.bytes($0.byteCount)) read" } ?? ""
            Output.line(
                "\(model): \(verdict)\(warnings == 0 ? "" : warnings == 1 ? ", 1 warning" : ", \(warnings) warnings")\(read)"
            )
        }
        if errors > 0 { throw ExitCode(ExitStatus.data.rawValue) }
    }
}
