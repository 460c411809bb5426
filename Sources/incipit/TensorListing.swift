import Foundation

/// Tensors as `inspect` lists them, whatever the container.
struct ListedTensor: Encodable {
    let name, type: String
    let dimensions: [Int]
    let offset, bytes: Int
    /// Which file holds it, from 0; nil for a model in one file.
    let part: Int?

    var shape: String { dimensions.isEmpty ? "scalar" : dimensions.map(String.init).joined(separator: "×") }

    /// A table of every tensor, or of the kinds of tensors there are.
    static func table(_ tensors: [ListedTensor], all: Bool) -> String {
        let rows = all ? tensors.map { [$0.name, $0.type, $0.shape, Output.bytes($0.bytes)] } : summary(tensors)
        return Output.table([all ? "tensor" : "tensors", "type", "shape", "size"], rows)
    }

    /// Tensors that differ only in their layer number, as one row.
    private static func summary(_ tensors: [ListedTensor]) -> [[String]] {
        var order: [String] = []
        var groups: [String: (example: ListedTensor, kind: String, count: Int, bytes: Int)] = [:]
        for tensor in tensors {
            let parts = tensor.name.split(separator: ".", omittingEmptySubsequences: false)
            let kind = parts.map { Int($0) == nil ? String($0) : "N" }.joined(separator: ".")
            let shape = tensor.shape
            let key = "\(kind)\u{0}\(tensor.type)\u{0}\(shape)"
            if groups[key] == nil { order.append(key) }
            let known = groups[key] ?? (tensor, kind, 0, 0)
            groups[key] = (known.example, known.kind, known.count + 1, known.bytes + tensor.bytes)
        }
        return order.compactMap { groups[$0] }.map { group in
            [
                group.count > 1 ? "\(group.kind)  (\(group.count) of them)" : group.example.name, group.example.type,
                group.example.shape, Output.bytes(group.bytes),
            ]
        }
    }

    /// 134515008 → "134.5 M".
    static func count(_ value: Int) -> String {
        switch value {
        case 1_000_000_000...: String(format: "%.2f G", Double(value) / 1e9)
        case 1_000_000...: String(format: "%.1f M", Double(value) / 1e6)
        case 1000...: String(format: "%.1f K", Double(value) / 1e3)
        default: "\(value)"
        }
    }
}
