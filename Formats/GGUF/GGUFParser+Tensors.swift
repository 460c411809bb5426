import ByteIO
import TensorTypes

/// The descriptions of tensors, and where their data must lie.
extension GGUFParser {
    struct Description {
        var name: String
        var type: TensorType
        var dimensions: [Int]
        var elementCount: Int
        var byteCount: Int
        /// From the start of the data.
        var offset: UInt64
        /// Where the description itself starts in the file.
        var start: Int
    }

    mutating func parseDescriptions(_ count: Int) throws(GGUFError) -> [Description] {
        var descriptions: [Description] = []
        descriptions.reserveCapacity(count)
        header.index.reserveCapacity(count)
        for number in 0..<count {
            let description = try parseDescription(number)
            guard header.index.updateValue(number, forKey: ExactString(description.name)) == nil else {
                throw tensorFailure(description.name, "occurs twice", at: description.start)
            }
            descriptions.append(description)
        }
        return descriptions
    }

    private mutating func parseDescription(_ number: Int) throws(GGUFError) -> Description {
        let start = reader.offset
        let raw = try string("name of tensor \(number + 1)")
        guard raw.count <= GGUFLimits.tensorNameLength else {
            throw failure(
                .badTensor,
                "tensor \(number + 1) has a name of \(raw.count) bytes (limit \(GGUFLimits.tensorNameLength))",
                at: start)
        }
        guard let name = String(validating: raw, as: UTF8.self) else {
            throw failure(.badTensor, "the name of tensor \(number + 1) is not valid UTF-8", at: start)
        }
        let dimensionCount = try integer(UInt32.self, "the dimension count of tensor \(name.quotedForMessage)")
        guard dimensionCount <= GGUFLimits.dimensions else {
            throw tensorFailure(
                name, "has \(dimensionCount) dimensions; at most \(GGUFLimits.dimensions) are possible",
                at: reader.offset - 4)
        }
        var dimensions: [Int] = []
        var elementCount = 1
        for _ in 0..<dimensionCount {
            let position = reader.offset
            let value = try word("a dimension of tensor \(name.quotedForMessage)")
            guard let dimension = Int(exactly: value), dimension >= 1 else {
                throw tensorFailure(name, "has a dimension of \(Int64(bitPattern: value))", at: position)
            }
            let (product, overflow) = elementCount.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw tensorFailure(name, "has more elements than 64 bits can count", at: position) }
            elementCount = product
            dimensions.append(dimension)
        }
        let typeStart = reader.offset
        let type = try tensorType(
            integer(UInt32.self, "the type of tensor \(name.quotedForMessage)"), tensor: name, at: typeStart)
        let row = dimensions.first ?? 1
        guard !header.isBigEndian || ByteSwapping(type: type) != nil else {
            throw tensorFailure(
                name,
                "has the type \(type.name) in a big-endian file, and how its blocks lie there is not known; "
                    + "use a little-endian file", at: typeStart)
        }
        guard row % type.blockSize == 0 else {
            throw tensorFailure(
                name, "has rows of \(row) values, which are not whole \(type.name) blocks of \(type.blockSize)",
                at: typeStart)
        }
        guard let byteCount = type.byteCount(elements: elementCount) else {
            throw tensorFailure(name, "has more bytes than 64 bits can count", at: typeStart)
        }
        let offset = try integer(UInt64.self, "the offset of tensor \(name.quotedForMessage)")
        return Description(
            name: name, type: type, dimensions: dimensions, elementCount: elementCount, byteCount: byteCount,
            offset: offset, start: start)
    }

    private func tensorType(_ number: UInt32, tensor: String, at offset: Int) throws(GGUFError) -> TensorType {
        if let type = TensorType(id: number) { return type }
        var error: GGUFError
        if let name = TensorType.removedName(id: number) {
            error = failure(
                .unknownTensorType,
                "tensor \(tensor.quotedForMessage) has the type \(name), which ggml has removed; "
                    + "re-quantize the model from its original", at: offset)
        } else {
            error = failure(
                .unknownTensorType,
                "tensor \(tensor.quotedForMessage) has the unknown type \(number); "
                    + "the file is damaged or newer than this program", at: offset)
        }
        error.tensor = tensor
        throw error
    }

    /// Turns offsets into places in the file, and checks that they are in it and apart from each other.
    mutating func place(_ descriptions: [Description]) throws(GGUFError) {
        let alignment = header.alignment
        header.headerEnd = reader.offset
        // The header lies within the file, so adding a bounded alignment cannot overflow.
        let dataOffset = (reader.offset + alignment - 1) / alignment * alignment
        header.dataOffset = dataOffset
        header.tensors.reserveCapacity(descriptions.count)
        for description in descriptions {
            let name = description.name
            guard description.offset % UInt64(alignment) == 0 else {
                throw tensorFailure(
                    name,
                    "starts at offset \(description.offset), which is not a multiple of the alignment \(alignment)",
                    at: description.start)
            }
            guard let offset = Int(exactly: description.offset), dataOffset <= file.count,
                offset <= file.count - dataOffset, description.byteCount <= file.count - dataOffset - offset
            else {
                throw GGUFError(
                    .truncated,
                    "tensor \(name.quotedForMessage) needs \(description.byteCount) bytes from offset "
                        + "\(description.offset) of the data, which starts at byte \(dataOffset), but the file has only "
                        + "\(file.count) bytes; it is damaged or was not downloaded completely", path: file.path,
                    offset: description.start, tensor: name)
            }
            header.tensors.append(
                TensorInfo(
                    name: name, type: description.type, dimensions: description.dimensions,
                    fileOffset: dataOffset + offset, byteCount: description.byteCount,
                    elementCount: description.elementCount, part: part))
        }
        try checkLayout(descriptions)
    }

    private mutating func checkLayout(_ descriptions: [Description]) throws(GGUFError) {
        let tensors = header.tensors
        let alignment = header.alignment
        let order = tensors.indices.sorted {
            (tensors[$0].fileOffset, tensors[$0].byteCount, $0) < (tensors[$1].fileOffset, tensors[$1].byteCount, $1)
        }
        if order != Array(tensors.indices) {
            header.warnings.append(
                "tensors are not listed in the order of their data; other programs may refuse the file")
        }
        var end = header.dataOffset
        var paddedEnd = header.dataOffset
        var holes = 0
        for (position, number) in order.enumerated() {
            let tensor = tensors[number]
            guard tensor.fileOffset >= end else {
                let other = tensors[order[position - 1]].name
                throw tensorFailure(
                    tensor.name, "overlaps the data of tensor \(other.quotedForMessage)",
                    at: descriptions[number].start)
            }
            if tensor.fileOffset != paddedEnd { holes += 1 }
            end = tensor.fileOffset + tensor.byteCount
            // Compared as a remainder so that nothing is added near the top of the range.
            let rest = end % alignment
            paddedEnd = rest == 0 ? end : end + (alignment - rest)
        }
        if holes > 0 {
            header.warnings.append(
                "there \(holes == 1 ? "is a hole" : "are \(holes) holes") in the tensor data; other programs may refuse the file"
            )
        }
        header.dataEnd = paddedEnd
        try checkEnd()
    }

    /// What follows the last tensor.
    private mutating func checkEnd() throws(GGUFError) {
        let end = header.dataEnd
        if end <= file.count - 4, file.unsafeBytes[end..<end + 4].elementsEqual(GGUFLimits.magic) {
            guard header.split == nil else {
                throw failure(
                    .brokenSplit,
                    "another GGUF file follows within this one: parts of a split model were joined byte by byte, "
                        + "which loses all but the first; get the parts again and use incipit merge", at: end)
            }
            header.warnings.append("another GGUF file follows from byte \(end) on and is ignored")
        } else if header.tensors.isEmpty {
            return
        } else if file.count < end {
            header.warnings.append("the padding after the last tensor is missing")
        } else if file.count > end {
            header.warnings.append("\(file.count - end) bytes follow the last tensor and are ignored")
        }
    }
}
