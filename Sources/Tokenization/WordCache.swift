/// The ids of pieces met before.
///
/// Bounded: emptied when it holds 32 768 pieces or 1 MiB of text, so it takes 2 MiB at most. Long pieces are not kept.
struct WordCache: Sendable {
    private var pieces = ByteStringTable(minimumCapacity: 1024)
    private var ids: [Int32] = []
    private var ends: [Int] = []

    static let longestPiece = 64
    static let mostPieces = 32_768
    static let mostBytes = 1 << 20

    /// Appends the ids of `piece` if it is known.
    @inline(__always)
    func appendIds(of piece: UnsafeBufferPointer<UInt8>, to result: inout [Int]) -> Bool {
        guard piece.count <= Self.longestPiece, let number = pieces.find(piece) else { return false }
        for index in (number == 0 ? 0 : ends[number - 1])..<ends[number] { result.append(Int(ids[index])) }
        return true
    }

    mutating func insert(_ piece: UnsafeBufferPointer<UInt8>, _ found: ArraySlice<Int>) {
        guard piece.count <= Self.longestPiece else { return }
        if pieces.count >= Self.mostPieces || pieces.byteCount >= Self.mostBytes {
            pieces.removeAll()
            ids.removeAll(keepingCapacity: true)
            ends.removeAll(keepingCapacity: true)
        }
        guard pieces.insert(piece).isNew else { return }
        for id in found { ids.append(Int32(id)) }
        ends.append(ids.count)
    }
}
