import Testing

@testable import OCIArtifacts

@Suite struct ByteRangesTests {
    @Test(arguments: [
        ("0-0", 0, 1), ("0-1023", 0, 1024), ("1024-2047", 1024, 1024), ("bytes 5-9/10", 5, 5), ("bytes 5-9/*", 5, 5),
    ])
    func contentRangesAreRead(text: String, first: Int, count: Int) throws {
        let range = try #require(ContentRange(text))
        #expect(range.first == first)
        #expect(range.count == count)
    }

    @Test(arguments: [
        "", "-", "5", "5-", "-5", "9-5", "a-b", "0-99999999999999999999", "0--1", "0-1-2", "bytes=0-5", "+0-5", " 0-5",
    ])
    func othersAreNoContentRange(text: String) {
        #expect(ContentRange(text) == nil)
    }

    @Test(
        arguments: [
            (nil, .whole), ("bytes=0-", .part(0..<1000)), ("bytes=500-", .part(500..<1000)),
            ("bytes=0-0", .part(0..<1)),
            ("bytes=200-5000", .part(200..<1000)), ("bytes=999-999", .part(999..<1000)),
            ("bytes=-10", .part(990..<1000)),
            ("bytes=-5000", .part(0..<1000)), ("bytes=1000-", .unsatisfiable), ("bytes=1000-1001", .unsatisfiable),
            ("bytes=500-0", .unsatisfiable), ("bytes=-0", .unsatisfiable), ("bytes=0-1,5-6", .whole),
            ("lines=1-2", .whole),
            ("bytes=x-y", .whole), ("bytes=-", .whole), ("bytes=0-99999999999999999999", .whole),
        ] as [(String?, RequestedRange)])
    func requestedRangesFollowRFC9110(header: String?, expected: RequestedRange) {
        #expect(RequestedRange(header, size: 1000) == expected)
    }

    @Test func nothingOfAnEmptyBlobCanBeAskedFor() {
        #expect(RequestedRange("bytes=0-", size: 0) == .unsatisfiable)
        #expect(RequestedRange("bytes=-5", size: 0) == .unsatisfiable)
        #expect(RequestedRange(nil, size: 0) == .whole)
    }

    @Test(arguments: [(0, "0-0"), (1, "0-0"), (1024, "0-1023")])
    func uploadsTellTheirLastByte(offset: Int, expected: String) {
        #expect(uploadRange(offset: offset) == expected)
    }
}
