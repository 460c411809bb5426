import ByteIO
import Foundation

/// The digests of a model's tensors, kept beside it to tell later whether anything changed.
///
/// A JSON file: `format` ("incipit-digests"), `version` (1), and `tensors`, each with `name`, `type`, `shape` (ggml's
/// order) and `digest`. F16, BF16 and F32 of the same numbers have the same digest, so a record also fits a conversion
/// between them that lost nothing.
public struct DigestRecord: Sendable, Equatable {
    public struct Tensor: Sendable, Equatable {
        public let name, type, shape, digest: String
    }

    private static let format = "incipit-digests"
    public let tensors: [Tensor]
    /// Where it was read from.
    public let path: String?

    public init(_ scans: [TensorScan]) {
        tensors = scans.map {
            Tensor(
                name: $0.name, type: TensorDigests.canonicalType($0.type),
                shape: TensorDigests.dimensionText($0.dimensions), digest: $0.digest)
        }
        path = nil
    }

    /// - Throws: ``ConversionError`` or ``ByteIO/ByteIOError`` when the file is no record.
    public init(path: String) throws {
        func refuse(_ text: String) -> ConversionError { ConversionError(.malformed, text, path: path) }
        let file = try MappedFile(path: path)
        guard file.count <= 1 << 28 else { throw refuse("this is too large for a record of digests") }
        let json = try JSONValue.parse(file.copyBytes(), path: path)
        guard json["format"]?.stringValue == Self.format else {
            throw refuse("this is no record of digests; `incipit verify MODEL --write-record FILE` makes one")
        }
        guard json["version"]?.intValue == 1 else { throw refuse("this record is of a version that is not known here") }
        guard let rows = json["tensors"]?.arrayValue else { throw refuse("the record has no tensors") }
        tensors = try rows.enumerated().map { number, row in
            guard let name = row["name"]?.stringValue, let type = row["type"]?.stringValue,
                let shape = row["shape"]?.stringValue, let digest = row["digest"]?.stringValue
            else { throw refuse("tensor \(number) of the record lacks name, type, shape or digest") }
            return Tensor(name: name, type: type, shape: shape, digest: digest)
        }
        self.path = path
    }

    /// - Throws: ``ByteIO/ByteIOError`` when the file exists or cannot be written.
    public func write(to path: String) throws {
        let rows = tensors.map { tensor -> JSONValue in
            [
                "name": .string(tensor.name), "type": .string(tensor.type), "shape": .string(tensor.shape),
                "digest": .string(tensor.digest),
            ]
        }
        let json: JSONValue = ["format": .string(Self.format), "version": 1, "tensors": .array(rows)]
        try AtomicFile.write(to: path, existing: .refuse) { file in try file.write(json.prettyBytes() + [10]) }
    }

    /// What differs between the record and a model.
    func compare(with scans: [TensorScan]) -> [Finding] {
        let now = Dictionary(DigestRecord(scans).tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let then = Dictionary(tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var findings: [Finding] = []
        for tensor in tensors {
            guard let present = now[tensor.name] else {
                findings.append(.error(tensor.name, "the tensor is recorded but not there"))
                continue
            }
            if present.type != tensor.type || present.shape != tensor.shape {
                findings.append(
                    .error(
                        tensor.name,
                        "it is \(present.type) of \(present.shape) now; \(tensor.type) of \(tensor.shape) is recorded"))
            } else if present.digest != tensor.digest {
                findings.append(
                    .error(tensor.name, "its content changed: \(present.digest), recorded is \(tensor.digest)"))
            }
        }
        for scan in scans where then[scan.name] == nil {
            findings.append(.error(scan.name, "the tensor is there but not recorded"))
        }
        return findings
    }
}
